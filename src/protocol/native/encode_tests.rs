//! The rules of encoding, one by one.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};
use serde_json::{Value, json};

use crate::{
    error::{ErrorKind, Result},
    model::{
        manifest::Manifest,
        name::ModelVersion,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{ClassLabel, Dim, OutputSpec, Signature, TensorSpec},
    },
    protocol::native::{encode::Encoder, envelope::Form},
    request::InferResponse,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

fn encoder(outputs: &[(&str, DataType, &[i64])], manifest: &str, labels: Option<Vec<ClassLabel>>) -> Encoder {
    let outputs = outputs.iter().map(|(name, data_type, dims)| {
        let dims = dims.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
        let tensor = TensorSpec { name: (*name).into(), data_type: *data_type, dims: Some(dims) };
        OutputSpec { tensor, map_keys: None }
    });
    let dims = Some(vec![Dim::Dynamic(None), Dim::Fixed(4)]);
    let input = TensorSpec { name: "features".into(), data_type: DataType::Fp32, dims };
    let signature = Signature { inputs: vec![input], outputs: outputs.collect() };
    let class_labels = labels.map(|labels| ("label".to_owned(), labels)).into_iter().collect();
    let file = OnnxFile { class_labels, ..OnnxFile::default() };
    let schema = Schema::new(signature, &Manifest::parse(manifest).unwrap(), &file).unwrap();
    Encoder::new(Arc::new(schema), &"iris".parse().unwrap(), ModelVersion::ONE)
}

fn encode(encoder: &Encoder, outputs: impl IntoIterator<Item = Tensor>, form: Form) -> Result<String> {
    let time = "2026-11-20T05:00:00.123Z".parse().unwrap();
    let response = InferResponse { outputs: outputs.into_iter().collect() };
    encoder.encode(&response, form, time).map(|body| String::from_utf8(body).unwrap())
}

fn floats(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_vec(Shape::new(dims), values.to_vec()).unwrap()
}

fn integers(dims: &[usize], values: &[i64]) -> Tensor {
    Tensor::from_vec(Shape::new(dims), values.to_vec()).unwrap()
}

fn texts(dims: &[usize], values: &[&'static str]) -> Tensor {
    Tensor::from_strings(Shape::new(dims), values.iter().map(|text| Bytes::from_static(text.as_bytes())).collect())
        .unwrap()
}

/// The predictions of an answer of rows.
fn predictions(encoder: &Encoder, outputs: impl IntoIterator<Item = Tensor>) -> Value {
    let body = encode(encoder, outputs, Form::Many).unwrap();
    serde_json::from_str::<Value>(&body).unwrap()["predictions"].take()
}

const LABEL: (&str, DataType, &[i64]) = ("label", DataType::Int64, &[-1]);
const PROBABILITIES: (&str, DataType, &[i64]) = ("probabilities", DataType::Fp32, &[-1, 3]);
const NAMES: &str = r#"classes.names = ["setosa", "versicolor", "virginica"]"#;

#[test]
fn an_answer_is_as_the_contract_shows_it() {
    let encoder = encoder(&[LABEL, PROBABILITIES], NAMES, None);
    let outputs = || [integers(&[1], &[0]), floats(&[1, 3], &[0.98, 0.02, 1.1e-7])];
    let head = r#"{"model":"iris","model_version":"1","prediction_time":"2026-11-20T05:00:00.123Z","#;
    let prediction = r#""prediction":0,"prediction_index":0,"predicted_class_name":"setosa","probabilities":{"setosa":0.98,"versicolor":0.02,"virginica":1.1e-7}"#;
    assert_eq!(encode(&encoder, outputs(), Form::One).unwrap(), format!("{head}{prediction}}}"));
    assert_eq!(
        encode(&encoder, outputs(), Form::Many).unwrap(),
        format!(r#"{head}"predictions":[{{{prediction}}}]}}"#)
    );
    let whole_second = encoder.encode(
        &InferResponse { outputs: outputs().into_iter().collect() },
        Form::One,
        jiff::Timestamp::UNIX_EPOCH,
    );
    assert!(String::from_utf8(whole_second.unwrap()).unwrap().contains(r#""1970-01-01T00:00:00.000Z""#));
}

#[test]
fn labels_are_the_models_own() {
    let labels = vec![ClassLabel::Integer(10), ClassLabel::Integer(20), ClassLabel::Integer(30)];
    let graph = encoder(&[LABEL, PROBABILITIES], NAMES, Some(labels));
    let got = predictions(&graph, [integers(&[2, 1], &[30, 10]), floats(&[2, 3], &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0])]);
    assert_eq!(got[0]["prediction"], 30);
    assert_eq!((&got[0]["prediction_index"], &got[0]["predicted_class_name"]), (&json!(2), &json!("virginica")));
    assert_eq!((&got[1]["prediction"], &got[1]["prediction_index"]), (&json!(10), &json!(0)));

    let by_text = encoder(&[("label", DataType::Bytes, &[-1]), PROBABILITIES], NAMES, None);
    let got = predictions(&by_text, [texts(&[1], &["versicolor"]), floats(&[1, 3], &[0.0, 1.0, 0.0])]);
    assert_eq!((&got[0]["prediction"], &got[0]["prediction_index"]), (&json!("versicolor"), &json!(1)));

    let alone = encoder(&[LABEL], "", None);
    assert_eq!(predictions(&alone, [integers(&[1], &[7])]), json!([{"prediction": 7, "predicted_class_name": "7"}]));
    let quoted = encoder(&[("label", DataType::Bytes, &[-1])], "", None);
    assert_eq!(
        predictions(&quoted, [texts(&[1], &["a \"b\"\n"])]),
        json!([{"prediction": "a \"b\"\n", "predicted_class_name": "a \"b\"\n"}])
    );
    let boolean = encoder(&[("label", DataType::Bool, &[-1])], "", None);
    let yes = Tensor::from_bools(Shape::new(&[1]), vec![true]).unwrap();
    assert_eq!(predictions(&boolean, [yes]), json!([{"prediction": true, "predicted_class_name": "true"}]));
}

#[test]
fn without_a_label_the_largest_probability_decides() {
    let encoder = encoder(&[PROBABILITIES], NAMES, None);
    let rows = floats(&[3, 3], &[0.1, 0.7, 0.2, f32::NAN, 0.1, 0.2, f32::NAN, f32::NAN, f32::NAN]);
    let got = predictions(&encoder, [rows]);
    assert_eq!((&got[0]["prediction"], &got[0]["predicted_class_name"]), (&json!(1), &json!("versicolor")));
    assert_eq!((&got[1]["prediction_index"], &got[1]["probabilities"]["setosa"]), (&json!(2), &Value::Null));
    assert_eq!((&got[2]["prediction"], got[2].get("prediction_index")), (&Value::Null, None));
}

#[test]
fn unknown_classes_are_numbered_and_an_unknown_label_keeps_its_own_name() {
    let encoder = encoder(&[LABEL, ("probabilities", DataType::Fp64, &[-1, -1])], "", None);
    let probabilities = || Tensor::from_vec(Shape::new(&[1, 2]), vec![0.1_f64, 0.9]).unwrap();
    for label in [5, 0] {
        let got = predictions(&encoder, [integers(&[1], &[label]), probabilities()]);
        let expected = json!([{
            "prediction": label,
            "prediction_index": 1,
            "predicted_class_name": label.to_string(),
            "probabilities": {"0": 0.1, "1": 0.9},
        }]);
        assert_eq!(got, expected);
    }
}

#[test]
fn a_label_whose_place_the_graph_does_not_tell_is_placed_by_the_probabilities() {
    let encoder = encoder(&[LABEL, PROBABILITIES], NAMES, None);
    let got = predictions(&encoder, [integers(&[1], &[1]), floats(&[1, 3], &[0.9, 0.1, 0.0])]);
    assert_eq!((&got[0]["prediction"], &got[0]["predicted_class_name"]), (&json!(1), &json!("setosa")));
}

#[test]
fn probabilities_that_are_not_one_a_class_are_numbered() {
    let pairs = [("label", DataType::Int64, &[-1][..]), ("probabilities", DataType::Fp32, &[-1, -1])];
    let labels = [0, 1, 2, 3].map(ClassLabel::Integer).to_vec();
    let encoder = encoder(&pairs, "", Some(labels));
    let got = predictions(&encoder, [integers(&[1], &[2]), floats(&[1, 6], &[0.0; 6])]);
    assert_eq!(got[0]["prediction_index"], 2);
    assert_eq!(got[0]["probabilities"].as_object().unwrap().len(), 6);
}

#[test]
fn what_a_classifier_gives_beside_is_answered_as_it_is() {
    let encoder = encoder(&[LABEL, ("scores", DataType::Fp32, &[-1, 1])], "", None);
    let body = encode(&encoder, [integers(&[1], &[-1]), floats(&[1, 1], &[-0.5])], Form::One).unwrap();
    assert!(body.ends_with(r#","prediction":-1,"predicted_class_name":"-1","outputs":{"scores":[[-0.5]]}}"#), "{body}");
    let logits = super::encode_tests::encoder(&[("logits", DataType::Fp32, &[-1, 3])], NAMES, None);
    let body = encode(&logits, [floats(&[1, 3], &[-5.0, 50.0, 0.0])], Form::One).unwrap();
    assert!(
        body.ends_with(
            r#","prediction":1,"prediction_index":1,"predicted_class_name":"versicolor","outputs":{"logits":[[-5.0,50.0,0.0]]}}"#
        ),
        "{body}"
    );
}

#[test]
fn a_regression_is_answered_under_its_name_too() {
    let value = ("value", DataType::Fp32, &[-1, 1][..]);
    let named = encoder(&[value], r#"output.prediction_name = "duration""#, None);
    let body = encode(&named, [floats(&[1, 1], &[13.5])], Form::One).unwrap();
    assert!(body.ends_with(r#","prediction":13.5,"duration":13.5}"#), "{body}");
    assert_eq!(
        predictions(&encoder(&[value], "", None), [floats(&[2, 1], &[1.0, f32::INFINITY])]),
        json!([{"prediction": 1.0}, {"prediction": null}])
    );
}

#[test]
fn other_models_answer_their_outputs() {
    let types = [
        ("a", DataType::Fp16, &[-1, 2][..]),
        ("b", DataType::Bf16, &[]),
        ("c", DataType::Bool, &[-1]),
        ("d", DataType::Uint64, &[-1, -1]),
        ("e", DataType::Bytes, &[1, 1, 1]),
    ];
    let outputs = [
        Tensor::from_vec(Shape::new(&[2, 2]), vec![f16::ONE, f16::NAN, f16::NEG_INFINITY, f16::MAX]).unwrap(),
        Tensor::from_vec(Shape::new(&[]), vec![bf16::NEG_ONE]).unwrap(),
        Tensor::from_bools(Shape::new(&[2]), vec![true, false]).unwrap(),
        Tensor::from_vec(Shape::new(&[2, 0]), Vec::<u64>::new()).unwrap(),
        texts(&[1, 1, 1], &["é\u{1}"]),
    ];
    let body = encode(&encoder(&types, "", None), outputs, Form::Many).unwrap();
    let expected =
        r#","outputs":{"a":[[1.0,null],[null,65504.0]],"b":-1.0,"c":[true,false],"d":[[],[]],"e":[[["é\u0001"]]]}}"#;
    assert!(body.ends_with(expected), "{body}");
}

#[test]
fn floats_have_the_fewest_digits_that_read_back() {
    let raw = encoder(&[("y", DataType::Fp32, &[-1, -1, -1])], "", None);
    let values = [0.1, 1.0, -0.0, 1e-7, 16_777_216.0, f32::MAX, f32::from_bits(1)];
    let body = encode(&raw, [floats(&[1, 1, 7], &values)], Form::Many).unwrap();
    assert!(body.ends_with("[[[0.1,1.0,-0.0,1e-7,16777216.0,3.4028235e+38,1e-45]]]}}"), "{body}");
}

#[test]
fn outputs_that_do_not_fit_each_other_are_our_fault() {
    let classifier = encoder(&[LABEL, PROBABILITIES], NAMES, None);
    let regression = encoder(&[("value", DataType::Fp32, &[-1, 1])], "", None);
    let raw = encoder(&[("y", DataType::Fp32, &[-1, -1, -1])], "", None);
    let faults = [
        encode(&classifier, [integers(&[1], &[0]), floats(&[2, 3], &[0.0; 6])], Form::Many),
        encode(&classifier, [integers(&[2], &[0, 1]), floats(&[2, 3], &[0.0; 6])], Form::One),
        encode(&classifier, [integers(&[1], &[0])], Form::One),
        encode(&regression, [floats(&[2, 2], &[0.0; 4])], Form::Many),
        encode(&raw, [], Form::Many),
    ];
    for fault in faults {
        let error = fault.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Internal, "internal error"));
        assert!(error.to_string().contains("expected"), "{error}");
    }
}

#[test]
fn strings_that_are_not_utf8_cannot_be_answered() {
    let bad = || Tensor::from_strings(Shape::new(&[1]), vec![Bytes::from_static(b"a\xff")]).unwrap();
    let raw = encoder(&[("y", DataType::Bytes, &[-1]), ("z", DataType::Bytes, &[-1])], "", None);
    let error = encode(&raw, [texts(&[1], &["a"]), bad()], Form::Many).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().starts_with(r#"output "z": expected a string that is UTF-8"#), "{error}");
    let label = encoder(&[("label", DataType::Bytes, &[-1])], "", None);
    let error = encode(&label, [bad()], Form::One).unwrap_err();
    assert!(error.message().starts_with(r#"output "label": expected a string that is UTF-8"#), "{error}");
}
