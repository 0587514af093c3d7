//! Bodies to tensors and outputs to bodies, beside the ways one would write first with serde_json:
//! a tree of `Value`s, and types that derive `Deserialize`.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run stops")]
#![expect(clippy::cast_possible_truncation, reason = "singles are what the values become")]

use std::{collections::HashMap, hint::black_box, sync::Arc};

use bytes::Bytes;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use onnxd::{
    model::{
        manifest::Manifest,
        name::ModelVersion,
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature, TensorSpec},
    },
    protocol::oip_rest,
    protocol::{
        native::{decode::decode, encode::Encoder, envelope::Form},
        oip::inputs::Target,
    },
    request::{InferRequest, InferResponse, InputTensor},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};
use serde::Deserialize;
use serde_json::{Value, json};

const IMAGE: [usize; 4] = [1, 3, 224, 224];
const TIME: jiff::Timestamp = jiff::Timestamp::constant(1_795_150_800, 123_000_000);

fn spec(name: &str, data_type: DataType, dims: &[i64]) -> TensorSpec {
    let dims = dims.iter().map(|size| usize::try_from(*size).map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
    TensorSpec { name: name.into(), data_type, dims: Some(dims) }
}

fn schema(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>, manifest: &str) -> Schema {
    let outputs = outputs.into_iter().map(|tensor| OutputSpec { tensor, map_keys: None }).collect();
    let manifest = Manifest::parse(manifest).expect("a manifest");
    Schema::new(Signature { inputs, outputs }, &manifest, &OnnxFile::default()).expect("a schema")
}

/// A model of rows of `width` features, named `feature_0`, `feature_1`, … .
fn rows(width: i64) -> Schema {
    let names: Vec<_> = (0..width).map(|column| format!("\"feature_{column}\"")).collect();
    let manifest = format!("features.names = [{}]", names.join(","));
    schema(vec![spec("X", DataType::Fp32, &[-1, width])], vec![spec("y", DataType::Fp32, &[-1, 1])], &manifest)
}

/// Numbers as data has them: a few digits before the point and after it. The same ones each time.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    (0..count)
        .map(|_| (next() % 1_000_000) as f32 / [10.0, 1_000.0, 10_000.0, 100_000.0][(next() & 3) as usize])
        .collect()
}

/// Numbers as pixels scaled to 0..1 are: all the digits that a single has.
fn pixels() -> Vec<f32> {
    let values = numbers(IMAGE.iter().product());
    values.into_iter().map(|value| (value * 7.0).rem_euclid(256.0).floor() / 255.0).collect()
}

fn nested(values: &[f32], dims: &[usize]) -> Value {
    match dims {
        [_] => values.iter().map(|value| json!(value)).collect(),
        [size, inner @ ..] => values.chunks(values.len() / size).map(|chunk| nested(chunk, inner)).collect(),
        [] => Value::Null,
    }
}

/// Writes as Python's `json.dumps` does: `[0.1, 0.2]`, with the digits of `digits`.
fn text(values: &[f32], dims: &[usize], digits: Digits) -> String {
    let elements: Vec<_> = match dims {
        [_] => values.iter().map(|value| digits.write(*value)).collect(),
        [size, inner @ ..] => values.chunks(values.len() / size).map(|chunk| text(chunk, inner, digits)).collect(),
        [] => Vec::new(),
    };
    format!("[{}]", elements.join(", "))
}

/// How singles are written by those who send them.
#[derive(Clone, Copy)]
enum Digits {
    /// As measured, or as a single needs: `0.1`.
    Few,
    /// As a double needs that was a single once, which is what `numpy` makes of them: `0.10000000149011612`.
    Many,
}

impl Digits {
    fn write(self, value: f32) -> String {
        match self {
            Self::Few => json!(value.to_string().parse::<f64>().expect("a number")).to_string(),
            Self::Many => json!(f64::from(value)).to_string(),
        }
    }
}

fn flatten(value: &Value, values: &mut Vec<f32>) {
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| flatten(element, values)),
        number => values.push(number.as_f64().expect("a number") as f32),
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn bench<R>(group: &mut Group<'_>, name: &str, mut run: impl FnMut() -> R) {
    group.bench_function(name, |bencher| bencher.iter(&mut run));
}

#[derive(Deserialize)]
struct OneRow {
    features: Vec<f32>,
}

#[derive(Deserialize)]
struct ManyRows {
    features: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct NamedRow {
    features: HashMap<String, f32>,
}

#[derive(Deserialize)]
struct Inputs {
    inputs: HashMap<String, Vec<Vec<Vec<Vec<f32>>>>>,
}

/// What a handler that derives would do next: the same named tensor that onnxd's decoder makes.
fn request(values: Vec<f32>, dims: &[usize]) -> InferRequest {
    let tensor = Tensor::from_vec(Shape::new(dims), values).expect("a tensor");
    InferRequest { inputs: [InputTensor { name: "X".into(), tensor }].into_iter().collect() }
}

/// Decodes a body of the Open Inference Protocol: JSON, and the bytes after it.
fn open_inference(schema: &Schema, json: &Bytes, binary: &Bytes) -> InferRequest {
    let target = Target { name: "model", signature: &schema.signature };
    oip_rest::decode::decode(target, black_box(json), black_box(binary).clone(), true).expect("a request").0
}

/// Writes such a body's JSON for one FP32 input; `data` is `"data":[…]`, or the parameters.
fn open_inference_body(name: &str, shape: &[usize], data: &str) -> Bytes {
    format!(r#"{{"inputs":[{{"name":"{name}","shape":{shape:?},"datatype":"FP32",{data}}}]}}"#).into()
}

fn decode_one_row(criterion: &mut Criterion) {
    let iris = rows(4);
    let body = br#"{"features":[5.1,3.5,1.4,0.2]}"#.to_vec();
    let mut group = group(criterion, "decode/4 floats", body.len());
    bench(&mut group, "onnxd", || decode(&iris, black_box(&body)).expect("rows"));
    let json = open_inference_body("X", &[1, 4], r#""data":[5.1,3.5,1.4,0.2]"#);
    bench(&mut group, "onnxd, open inference", || open_inference(&iris, &json, &Bytes::new()));
    let json = open_inference_body("X", &[1, 4], r#""parameters":{"binary_data_size":16}"#);
    let row: Bytes = bytemuck::cast_slice::<f32, u8>(&[5.1, 3.5, 1.4, 0.2]).to_vec().into();
    bench(&mut group, "onnxd, open inference by bytes", || open_inference(&iris, &json, &row));
    bench(&mut group, "value tree", || {
        let tree: Value = serde_json::from_slice(black_box(&body)).expect("json");
        let mut values = Vec::new();
        flatten(&tree["features"], &mut values);
        values
    });
    bench(&mut group, "derived", || serde_json::from_slice::<OneRow>(black_box(&body)).expect("json").features);
    bench(&mut group, "derived, to a request", || {
        let row = serde_json::from_slice::<OneRow>(black_box(&body)).expect("json");
        request(row.features, &[1, 4])
    });
    group.finish();
}

fn decode_named_row(criterion: &mut Criterion) {
    let wide = rows(30);
    let names: Vec<_> = (0..30).map(|column| format!("feature_{column}")).collect();
    let members: Vec<_> = names.iter().zip(numbers(30)).map(|(name, value)| format!("{name:?}: {value}")).collect();
    let body = format!(r#"{{"features": {{{}}}}}"#, members.join(", ")).into_bytes();
    let mut group = group(criterion, "decode/30 named", body.len());
    bench(&mut group, "onnxd", || decode(&wide, black_box(&body)).expect("rows"));
    bench(&mut group, "value tree", || {
        let tree: Value = serde_json::from_slice(black_box(&body)).expect("json");
        let value = |name: &String| tree["features"][name].as_f64().expect("a number") as f32;
        names.iter().map(value).collect::<Vec<f32>>()
    });
    bench(&mut group, "derived", || {
        let row = serde_json::from_slice::<NamedRow>(black_box(&body)).expect("json").features;
        names.iter().map(|name| row[name]).collect::<Vec<f32>>()
    });
    group.finish();
}

fn decode_many_rows(criterion: &mut Criterion) {
    let wide = rows(30);
    let values = numbers(30_000);
    let body = format!(r#"{{"features": {}}}"#, text(&values, &[1_000, 30], Digits::Few)).into_bytes();
    let mut group = group(criterion, "decode/1000 x 30", body.len());
    bench(&mut group, "onnxd", || decode(&wide, black_box(&body)).expect("rows"));
    bench(&mut group, "value tree", || {
        let tree: Value = serde_json::from_slice(black_box(&body)).expect("json");
        let mut values = Vec::new();
        flatten(&tree["features"], &mut values);
        values
    });
    bench(&mut group, "derived", || {
        serde_json::from_slice::<ManyRows>(black_box(&body)).expect("json").features.concat()
    });
    group.finish();
}

fn decode_image(criterion: &mut Criterion) {
    let image = schema(
        vec![spec("image", DataType::Fp32, &[-1, 3, 224, 224])],
        vec![spec("y", DataType::Fp32, &[-1, 1_000])],
        "",
    );
    for (name, digits) in [("decode/1x3x224x224", Digits::Few), ("decode/1x3x224x224 of numpy", Digits::Many)] {
        let body = format!(r#"{{"inputs": {{"image": {}}}}}"#, text(&pixels(), &IMAGE, digits)).into_bytes();
        let mut group = group(criterion, name, body.len());
        group.sample_size(20);
        bench(&mut group, "onnxd", || decode(&image, black_box(&body)).expect("a tensor"));
        let flat = text(&pixels(), &[IMAGE.iter().product()], digits);
        let json = open_inference_body("image", &IMAGE, &format!(r#""data":{flat}"#));
        bench(&mut group, "onnxd, open inference", || open_inference(&image, &json, &Bytes::new()));
        let bytes: Bytes = [&[0_u8][..], bytemuck::cast_slice(&pixels())].concat().into();
        let size = format!(r#""parameters":{{"binary_data_size":{}}}"#, bytes.len() - 1);
        let json = open_inference_body("image", &IMAGE, &size);
        bench(&mut group, "onnxd, open inference by bytes, copied", || {
            open_inference(&image, &json, &bytes.slice(1..))
        });
        bench(&mut group, "value tree", || {
            let tree: Value = serde_json::from_slice(black_box(&body)).expect("json");
            let mut values = Vec::new();
            flatten(&tree["inputs"]["image"], &mut values);
            values
        });
        bench(&mut group, "derived", || {
            let inputs = serde_json::from_slice::<Inputs>(black_box(&body)).expect("json").inputs;
            let rows = inputs["image"].iter().flatten().flatten();
            rows.flatten().copied().collect::<Vec<f32>>()
        });
        // What no reader can beat: every byte of the body looked at once, and every value written.
        bench(&mut group, "read and write memory", || {
            let sum = black_box(&body).iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            (sum, vec![f32::from(sum); IMAGE.iter().product()])
        });
        group.finish();
    }
}

fn encode(criterion: &mut Criterion) {
    let classifier = Arc::new(schema(
        vec![spec("X", DataType::Fp32, &[-1, 4])],
        vec![spec("label", DataType::Int64, &[-1]), spec("probabilities", DataType::Fp32, &[-1, 3])],
        r#"classes.names = ["setosa", "versicolor", "virginica"]"#,
    ));
    let encoder = encoder(&classifier, "iris");
    for (name, rows, form) in [("encode/iris", 1, Form::One), ("encode/1000 rows", 1_000, Form::Many)] {
        let labels: Vec<i64> = (0..rows).map(|row| row % 3).collect();
        let rows = labels.len();
        let probabilities: Vec<f32> = numbers(rows * 3).into_iter().map(f32::fract).collect();
        let outputs = [
            Tensor::from_vec(Shape::new(&[rows]), labels).expect("labels"),
            Tensor::from_vec(Shape::new(&[rows, 3]), probabilities).expect("probabilities"),
        ];
        let response = InferResponse { outputs: outputs.into_iter().collect() };
        let body = encoder.encode(&response, form, TIME).expect("a body");
        let mut group = group(criterion, name, body.len());
        bench(&mut group, "onnxd", || encoder.encode(black_box(&response), form, TIME).expect("a body"));
        bench(&mut group, "value tree", || tree_of_predictions(black_box(&response), form));
        group.finish();
    }

    let raw = Arc::new(schema(Vec::new(), vec![spec("image", DataType::Fp32, &[-1, 3, 224, 224])], ""));
    let encoder = self::encoder(&raw, "image");
    let image = Tensor::from_vec(Shape::new(&IMAGE), pixels()).expect("an image");
    let response = InferResponse { outputs: [image].into_iter().collect() };
    let body = encoder.encode(&response, Form::Many, TIME).expect("a body");
    let mut group = group(criterion, "encode/1x3x224x224", body.len());
    group.sample_size(20);
    bench(&mut group, "onnxd", || encoder.encode(black_box(&response), Form::Many, TIME).expect("a body"));
    bench(&mut group, "value tree", || {
        let tensor = &black_box(&response).outputs[0];
        let image = nested(tensor.as_slice().expect("singles"), tensor.shape());
        let tree =
            json!({"model": "image", "model_version": "1", "prediction_time": time(), "outputs": {"image": image}});
        serde_json::to_vec(&tree).expect("json")
    });
    group.finish();
}

fn tree_of_predictions(response: &InferResponse, form: Form) -> Vec<u8> {
    let labels: &[i64] = response.outputs[0].as_slice().expect("labels");
    let probabilities: &[f32] = response.outputs[1].as_slice().expect("probabilities");
    let names = ["setosa", "versicolor", "virginica"];
    let prediction = |row: usize| {
        let index = usize::try_from(labels[row]).expect("a class");
        let of_row = &probabilities[row * 3..][..3];
        json!({
            "prediction": labels[row], "prediction_index": index, "predicted_class_name": names[index],
            "probabilities": {names[0]: of_row[0], names[1]: of_row[1], names[2]: of_row[2]}
        })
    };
    let mut tree = match form {
        Form::One => prediction(0),
        Form::Many => json!({"predictions": (0..labels.len()).map(prediction).collect::<Vec<_>>()}),
    };
    tree["model"] = json!("iris");
    tree["model_version"] = json!("1");
    tree["prediction_time"] = json!(time());
    serde_json::to_vec(&tree).expect("json")
}

fn time() -> String {
    format!("{TIME:.3}")
}

fn encoder(schema: &Arc<Schema>, name: &str) -> Encoder {
    Encoder::new(schema.clone(), &name.parse().expect("a name"), ModelVersion::ONE)
}

fn group<'a>(criterion: &'a mut Criterion, name: &str, bytes: usize) -> Group<'a> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes as u64));
    group
}

criterion_group!(benches, decode_one_row, decode_named_row, decode_many_rows, decode_image, encode);
criterion_main!(benches);
