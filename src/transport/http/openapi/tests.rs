//! Holds the schemas against the decoder: what one takes, the other takes.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use utoipa::openapi::{Ref, schema::ComponentsBuilder};

use crate::{
    model::{
        manifest::Manifest,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature, TensorSpec},
    },
    protocol::native::decode::decode,
    tensor::data_type::DataType,
    transport::http::openapi::{
        parts::{Part, component_key},
        request,
    },
};

const DYNAMIC: Option<usize> = None;

fn spec(name: &str, data_type: DataType, dims: &[Option<usize>]) -> TensorSpec {
    let dims = dims.iter().map(|size| size.map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
    TensorSpec { name: name.into(), data_type, dims: Some(dims) }
}

fn schema(inputs: Vec<TensorSpec>, features: &[&str]) -> Schema {
    let outputs = vec![OutputSpec { tensor: spec("y", DataType::Fp32, &[DYNAMIC]), map_keys: None }];
    let mut manifest = Manifest::default();
    if !features.is_empty() {
        manifest.features.names = Some(features.iter().map(|name| (*name).to_owned()).collect());
    }
    Schema::new(Signature { inputs, outputs }, &manifest, &OnnxFile::default()).unwrap()
}

/// Makes a validator of the bodies of this model.
fn validator(schema: &Schema) -> jsonschema::Validator {
    let body = request::body(schema, &Ref::from_schema_name("Row"));
    let row = request::row_by_name(schema);
    let components =
        ComponentsBuilder::new().schema("Body", body).schemas_from_iter(row.map(|row| ("Row", row))).build();
    let document = json!({"$ref": "#/components/schemas/Body", "components": components});
    jsonschema::draft202012::new(&document).unwrap()
}

/// Checks that both the schema and the decoder take the good bodies and refuse the bad ones.
#[track_caller]
fn agree(schema: &Schema, good: &[Value], bad: &[Value]) {
    let validator = validator(schema);
    for body in good {
        assert!(decode(schema, body.to_string().as_bytes()).is_ok(), "the decoder refuses {body}");
        assert!(validator.is_valid(body), "the schema refuses {body}");
    }
    for body in bad {
        assert!(decode(schema, body.to_string().as_bytes()).is_err(), "the decoder takes {body}");
        assert!(!validator.is_valid(body), "the schema takes {body}");
    }
}

#[test]
fn a_matrix_with_names_takes_rows_in_every_form() {
    let schema = schema(vec![spec("x", DataType::Fp32, &[DYNAMIC, Some(2)])], &["a", "b"]);
    agree(
        &schema,
        &[
            json!({"a": 1, "b": 2.5}),
            json!({"b": null, "a": 1}),
            json!({"features": [1, 2]}),
            json!({"features": [[1, 2], [3, 4]]}),
            json!({"features": {"a": 1, "b": 2}}),
            json!({"features": [{"a": 1, "b": 2}, [3, null]]}),
            json!({"instances": [[1, 2], {"a": 3, "b": 4}]}),
            json!({"inputs": {"x": [[1, 2]]}}),
        ],
        &[
            json!({}),
            json!([1, 2]),
            json!({"a": 1}),
            json!({"a": 1, "b": 2, "c": 3}),
            json!({"a": "1", "b": 2}),
            json!({"a": true, "b": 2}),
            json!({"features": 1}),
            json!({"features": [1, 2, 3]}),
            json!({"features": [[1, 2], [3]]}),
            json!({"features": {"a": 1}}),
            json!({"features": [1, 2], "x": 1}),
            json!({"instances": []}),
            json!({"instances": [1, 2]}),
            json!({"instances": {"a": 1, "b": 2}}),
            json!({"inputs": {"x": [1, 2]}}),
            json!({"inputs": {"x": [[1, 2, 3]]}}),
            json!({"inputs": {"x": [[1, 2]], "y": 1}}),
            json!({"inputs": {}}),
        ],
    );
}

#[test]
fn a_matrix_without_names_takes_positional_rows_only() {
    let schema = schema(vec![spec("x", DataType::Fp64, &[DYNAMIC, Some(2)])], &[]);
    agree(
        &schema,
        &[json!({"features": [1, 2]}), json!({"features": [[1, 2]]}), json!({"instances": [[1, 2]]})],
        &[json!({"a": 1, "b": 2}), json!({"features": {"a": 1, "b": 2}}), json!({"instances": [{"x": 1}]})],
    );
}

#[test]
fn columns_take_rows_by_name_only_unless_there_is_one() {
    let several = schema(
        vec![spec("zone", DataType::Int64, &[DYNAMIC, Some(1)]), spec("distance", DataType::Fp32, &[DYNAMIC, Some(1)])],
        &[],
    );
    agree(
        &several,
        &[
            json!({"zone": 1, "distance": null}),
            json!({"features": [{"zone": 1, "distance": 2.5}]}),
            json!({"inputs": {"zone": [[1]], "distance": [[2.5]]}}),
        ],
        &[
            json!({"features": [1, 2.5]}),
            json!({"instances": [[1, 2.5]]}),
            json!({"zone": 1.5, "distance": 2}),
            json!({"zone": null, "distance": 2}),
            json!({"inputs": {"zone": [[1]]}}),
        ],
    );
    let one = schema(vec![spec("text", DataType::Bytes, &[DYNAMIC, Some(1)])], &[]);
    agree(
        &one,
        &[
            json!({"text": "a"}),
            json!({"features": ["a"]}),
            json!({"features": [["a"], ["b"]]}),
            json!({"instances": ["a", ["b"], {"text": "c"}]}),
        ],
        &[json!({"features": "a"}), json!({"features": ["a", "b"]}), json!({"text": 1}), json!({"text": null})],
    );
}

#[test]
fn a_fixed_number_of_rows_rules_out_other_forms() {
    let two = schema(vec![spec("x", DataType::Fp32, &[Some(2), Some(1)])], &["a"]);
    agree(
        &two,
        &[
            json!({"features": [[1], [2]]}),
            json!({"instances": [{"a": 1}, {"a": 2}]}),
            json!({"inputs": {"x": [[1], [2]]}}),
        ],
        &[json!({"a": 1}), json!({"features": [1]}), json!({"features": [[1]]}), json!({"instances": [[1], [2], [3]]})],
    );
    let one = schema(vec![spec("x", DataType::Fp32, &[Some(1), Some(2)])], &[]);
    agree(
        &one,
        &[json!({"features": [1, 2]}), json!({"features": [[1, 2]]})],
        &[json!({"features": [[1, 2], [3, 4]]})],
    );
}

#[test]
fn other_inputs_are_taken_as_tensors_only() {
    let image = schema(vec![spec("image", DataType::Uint8, &[DYNAMIC, Some(1), Some(2)])], &[]);
    agree(
        &image,
        &[json!({"inputs": {"image": [[[0, 255]]]}}), json!({"inputs": {"image": [[[1.0, 2]], [[3, 4]]]}})],
        &[
            json!({"features": [0, 255]}),
            json!({"instances": [[[0, 255]]]}),
            json!({"inputs": {"image": [[[0, 256]]]}}),
            json!({"inputs": {"image": [[[0, -1]]]}}),
            json!({"inputs": {"image": [[0, 255]]}}),
            json!({"inputs": {"image": [[[0]]]}}),
        ],
    );
    let scalar = schema(vec![spec("flag", DataType::Bool, &[])], &[]);
    agree(
        &scalar,
        &[json!({"inputs": {"flag": true}})],
        &[json!({"inputs": {"flag": 1}}), json!({"inputs": {"flag": [true]}})],
    );
}

#[test]
fn every_integer_type_has_its_own_range() {
    let ranges = [
        (DataType::Int8, json!(-128), json!(127), json!(128)),
        (DataType::Uint16, json!(0), json!(65535), json!(-1)),
        (DataType::Int32, json!(i32::MIN), json!(i32::MAX), json!(2_147_483_648_u64)),
        (DataType::Uint32, json!(0), json!(u32::MAX), json!(4_294_967_296_u64)),
        (DataType::Int64, json!(i64::MIN), json!(i64::MAX), json!(9_223_372_036_854_775_808_u64)),
        (DataType::Uint64, json!(0), json!(u64::MAX), json!(-1)),
    ];
    for (data_type, least, most, beyond) in ranges {
        let schema = schema(vec![spec("x", data_type, &[DYNAMIC, Some(1)])], &[]);
        agree(&schema, &[json!({"x": least}), json!({"x": most})], &[json!({"x": beyond}), json!({"x": 0.5})]);
    }
}

#[test]
fn a_large_tensor_is_described_without_its_sizes() {
    let schema = schema(vec![spec("image", DataType::Fp32, &[Some(1), Some(3), Some(224), Some(224)])], &[]);
    let body = serde_json::to_string(&request::body(&schema, &Ref::from_schema_name("Row"))).unwrap();
    assert!(!body.contains("minItems") && body.contains("FP32 [1, 3, 224, 224]"), "{body}");
}

#[test]
fn an_input_of_unknown_rank_may_be_anything() {
    let unknown = TensorSpec { name: "x".into(), data_type: DataType::Fp32, dims: None };
    agree(
        &schema(vec![unknown], &[]),
        &[json!({"inputs": {"x": 1}}), json!({"inputs": {"x": [[1, 2]]}})],
        &[json!({"inputs": {"y": 1}}), json!({"x": 1})],
    );
}

#[test]
fn no_two_components_have_the_same_key() {
    let names = ["a", "a.Request", "a.Request.2", "a.2", "2"].map(|name| name.parse().unwrap());
    let versions = [None, "2".parse().ok(), "3".parse().ok()];
    let parts = [Part::Request, Part::Row, Part::Response, Part::Prediction];
    let mut keys = BTreeSet::new();
    for name in &names {
        for version in versions {
            for part in parts {
                let key = component_key(part, name, version);
                assert!(keys.insert(key.clone()), "{key} is there twice");
            }
        }
    }
}
