//! Models of every kind: rows in a matrix, rows in columns, images, any shape, every width of element.

use std::sync::LazyLock;

use onnxd::{
    model::{
        manifest::Manifest,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature, TensorSpec},
    },
    protocol::oip::inputs::Target,
    tensor::data_type::DataType,
};

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(schemas);

/// Returns the model that this byte picks.
pub fn model(byte: u8) -> &'static Schema {
    &SCHEMAS[usize::from(byte) % SCHEMAS.len()]
}

/// Returns a model as the Open Inference Protocol is told of it.
pub fn target(schema: &Schema) -> Target<'_> {
    Target { name: "m", signature: &schema.signature }
}

fn schemas() -> Vec<Schema> {
    use DataType::{Bf16, Bool, Bytes, Fp16, Fp32, Fp64, Int8, Int64, Uint64};
    let any_shape = |data_type| TensorSpec { name: "x".into(), data_type, dims: None };
    let iris = r#"features.names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]"#;
    vec![
        schema(vec![spec("X", Fp32, &[-1, 4])], iris),
        schema(
            vec![
                spec("PULocationID", Int64, &[-1, 1]),
                spec("trip_distance", Fp32, &[-1, 1]),
                spec("note", Bytes, &[-1]),
                spec("night", Bool, &[-1, 1]),
            ],
            "",
        ),
        schema(vec![spec("image", Fp32, &[-1, 1, 8, 8])], ""),
        schema(vec![any_shape(Fp32)], ""),
        schema(vec![spec("X", Fp32, &[2, 3])], ""),
        schema(vec![spec("text", Bytes, &[-1, 1])], ""),
        schema(vec![spec("X", Fp16, &[-1, -1])], ""),
        schema(vec![spec("X", Bf16, &[-1, 2])], r#"features.names = ["features", 'a"\']"#),
        schema(vec![any_shape(Bytes), spec("y", Uint64, &[]), spec("z", Int8, &[-1, 0, 2])], ""),
        schema(vec![any_shape(Fp64)], ""),
    ]
}

/// A declared value; -1 is a dynamic dimension.
fn spec(name: &str, data_type: DataType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
    TensorSpec { name: name.into(), data_type, dims: Some(dims) }
}

fn schema(inputs: Vec<TensorSpec>, manifest: &str) -> Schema {
    let outputs = vec![OutputSpec { tensor: spec("y", DataType::Fp32, &[-1, 1]), map_keys: None }];
    let manifest = Manifest::parse(manifest).expect("a manifest");
    Schema::new(Signature { inputs, outputs }, &manifest, &OnnxFile::default()).expect("a schema")
}
