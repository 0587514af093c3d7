//! One request by every protocol: bit-equal tensors, whatever the element type, the shape and the values.

use std::collections::HashMap;

use bytes::Bytes;
use fastrand::Rng;
use half::{bf16, f16};
use onnxd::{
    protocol::proto::inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor,
    },
    tensor::data_type::DataType,
};
use reqwest::Method;
use serde_json::Value;

use crate::{
    grpc_client::{Client, MODEL_INFER},
    harness::TestServer,
    identity::serve_identity,
};

/// How many requests each element type is tried with.
const REQUESTS: usize = 12;
/// Characters that some writer of JSON or of C strings has tripped over.
const CHARACTERS: [char; 8] = ['a', '"', '\\', '\0', '\n', 'é', '\u{2028}', '😀'];

/// A tensor as bytes, which is what is compared, and as the tokens that JSON has for its elements.
struct Case {
    data_type: DataType,
    shape: Vec<usize>,
    tokens: Vec<String>,
    raw: Vec<u8>,
}

impl Case {
    fn random(data_type: DataType, rng: &mut Rng) -> Self {
        let shape: Vec<usize> = (0..2 + rng.usize(..3)).map(|_| rng.usize(1..4)).collect();
        let elements = (0..shape.iter().product()).map(|_| element(data_type, rng));
        let (tokens, raw): (Vec<_>, Vec<_>) = elements.unzip();
        Self { data_type, shape, tokens, raw: raw.concat() }
    }

    /// Writes the elements as lists in lists.
    fn nested(&self) -> String {
        let mut level = self.tokens.clone();
        for size in self.shape.iter().rev() {
            level = level.chunks(*size).map(|items| format!("[{}]", items.join(","))).collect();
        }
        level.concat()
    }

    fn open_inference(&self, input: &str, parameters: &str) -> String {
        let Self { data_type, shape, .. } = self;
        format!(r#"{{"inputs":[{{"name":"x","shape":{shape:?},"datatype":"{data_type}",{input}}}]{parameters}}}"#)
    }

    /// Returns the bytes of an answer in JSON.
    fn raw_of(&self, answer: &Value) -> Vec<u8> {
        match answer {
            Value::Array(items) => items.iter().flat_map(|item| self.raw_of(item)).collect(),
            element => bytes_of(self.data_type, element),
        }
    }
}

/// Makes an element: its token, and its bytes. Numbers are finite, since only some protocols can say others.
fn element(data_type: DataType, rng: &mut Rng) -> (String, Vec<u8>) {
    macro_rules! number {
        ($type:ty, $is_fine:expr) => {
            loop {
                let mut bytes = [0; size_of::<$type>()];
                rng.fill(&mut bytes);
                let value = <$type>::from_le_bytes(bytes);
                if $is_fine(value) {
                    break (value.to_string(), bytes.to_vec());
                }
            }
        };
    }
    match data_type {
        DataType::Bool => {
            let value = rng.bool();
            (value.to_string(), vec![u8::from(value)])
        }
        DataType::Uint8 => number!(u8, |_| true),
        DataType::Uint16 => number!(u16, |_| true),
        DataType::Uint32 => number!(u32, |_| true),
        DataType::Uint64 => number!(u64, |_| true),
        DataType::Int8 => number!(i8, |_| true),
        DataType::Int16 => number!(i16, |_| true),
        DataType::Int32 => number!(i32, |_| true),
        DataType::Int64 => number!(i64, |_| true),
        DataType::Fp16 => number!(f16, f16::is_finite),
        DataType::Bf16 => number!(bf16, bf16::is_finite),
        DataType::Fp32 => number!(f32, f32::is_finite),
        DataType::Fp64 => number!(f64, f64::is_finite),
        DataType::Bytes => {
            let text: String = (0..rng.usize(..6)).map(|_| CHARACTERS[rng.usize(..CHARACTERS.len())]).collect();
            let length = u32::try_from(text.len()).unwrap();
            (serde_json::to_string(&text).unwrap(), [&length.to_le_bytes(), text.as_bytes()].concat())
        }
    }
}

fn bytes_of(data_type: DataType, element: &Value) -> Vec<u8> {
    let text = || element.to_string();
    macro_rules! number {
        ($type:ty) => {
            text().parse::<$type>().unwrap().to_le_bytes().to_vec()
        };
    }
    match data_type {
        DataType::Bool => vec![u8::from(element.as_bool().unwrap())],
        DataType::Uint8 => number!(u8),
        DataType::Uint16 => number!(u16),
        DataType::Uint32 => number!(u32),
        DataType::Uint64 => number!(u64),
        DataType::Int8 => number!(i8),
        DataType::Int16 => number!(i16),
        DataType::Int32 => number!(i32),
        DataType::Int64 => number!(i64),
        DataType::Fp16 => f16::from_f64(text().parse().unwrap()).to_le_bytes().to_vec(),
        DataType::Bf16 => bf16::from_f64(text().parse().unwrap()).to_le_bytes().to_vec(),
        DataType::Fp32 => number!(f32),
        DataType::Fp64 => number!(f64),
        DataType::Bytes => {
            let text = element.as_str().unwrap();
            [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat()
        }
    }
}

/// Returns the contents of typed gRPC messages; `None` for a type that they have no field for.
fn contents(case: &Case) -> Option<InferTensorContents> {
    fn all<T: std::str::FromStr<Err: std::fmt::Debug>>(case: &Case) -> Vec<T> {
        case.tokens.iter().map(|token| token.parse().unwrap()).collect()
    }
    let mut contents = InferTensorContents::default();
    match case.data_type {
        DataType::Bool => contents.bool_contents = all(case),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => contents.int_contents = all(case),
        DataType::Int64 => contents.int64_contents = all(case),
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => contents.uint_contents = all(case),
        DataType::Uint64 => contents.uint64_contents = all(case),
        DataType::Fp32 => contents.fp32_contents = all(case),
        DataType::Fp64 => contents.fp64_contents = all(case),
        DataType::Bytes => {
            let text = |token: &String| Bytes::from(serde_json::from_str::<String>(token).unwrap());
            contents.bytes_contents = case.tokens.iter().map(text).collect();
        }
        DataType::Fp16 | DataType::Bf16 => return None,
    }
    Some(contents)
}

async fn by_grpc(client: &Client, case: &Case, contents: Option<InferTensorContents>) -> Vec<u8> {
    let shape = case.shape.iter().map(|size| i64::try_from(*size).unwrap()).collect();
    let raw_input_contents = if contents.is_some() { vec![] } else { vec![Bytes::copy_from_slice(&case.raw)] };
    let (name, datatype) = ("x".to_owned(), case.data_type.name().to_owned());
    let input = InferInputTensor { name, datatype, shape, parameters: HashMap::new(), contents };
    let model_name = "identity".to_owned();
    let request = ModelInferRequest { model_name, inputs: vec![input], raw_input_contents, ..Default::default() };
    let answer: ModelInferResponse = client.ask(MODEL_INFER, request).await;
    answer.raw_output_contents[0].to_vec()
}

async fn by_bytes_after_json(server: &TestServer, case: &Case) -> Vec<u8> {
    let size = format!(r#""parameters":{{"binary_data_size":{}}}"#, case.raw.len());
    let json = case.open_inference(&size, r#","parameters":{"binary_data_output":true}"#);
    let header = "inference-header-content-length";
    let request = server.request(Method::POST, "/v2/models/identity/infer").header(header, json.len());
    let answer = request.body([json.as_bytes(), &case.raw].concat()).send().await.unwrap();
    let length: usize = answer.headers()[header].to_str().unwrap().parse().unwrap();
    answer.bytes().await.unwrap()[length..].to_vec()
}

/// Sends a case by every protocol and returns what came back, with the protocol's name.
async fn by_every_protocol(server: &TestServer, client: &Client, case: &Case) -> Vec<(&'static str, Vec<u8>)> {
    let nested = case.nested();
    let (by_name, bare) = (format!(r#"{{"inputs":{{"x":{nested}}}}}"#), format!(r#"{{"inputs":{nested}}}"#));
    let flat = case.open_inference(&format!(r#""data":[{}]"#, case.tokens.join(",")), "");
    let mut answers = vec![
        ("gRPC, raw", by_grpc(client, case, None).await),
        ("the Open Inference Protocol with bytes", by_bytes_after_json(server, case).await),
    ];
    if let Some(contents) = contents(case) {
        answers.push(("gRPC, typed", by_grpc(client, case, Some(contents)).await));
    }
    for (protocol, path, body, place) in [
        ("native", "/predict", &by_name, "/outputs/y"),
        ("the Open Inference Protocol", "/v2/models/identity/infer", &flat, "/outputs/0/data"),
        ("TensorFlow Serving", "/v1/models/identity:predict", &bare, "/outputs"),
        ("MLflow", "/invocations", &by_name, "/predictions/y"),
    ] {
        // MLflow insists on the content type.
        let request = server.request(Method::POST, path).header("content-type", "application/json").body(body.clone());
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let values = answer.pointer(place).unwrap_or_else(|| panic!("{protocol} answers {answer}"));
        answers.push((protocol, case.raw_of(values)));
    }
    answers
}

#[tokio::test]
async fn one_request_by_every_protocol_gives_the_same_bits() {
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    for data_type in DataType::ALL {
        let cases: Vec<_> = (0..REQUESTS).map(|_| Case::random(data_type, &mut rng)).collect();
        for rank in 2..5 {
            let server = serve_identity(data_type, &vec![-1; rank]).await;
            let client = Client::of(&server).await;
            for case in cases.iter().filter(|case| case.shape.len() == rank) {
                for (protocol, raw) in by_every_protocol(&server, &client, case).await {
                    let shape = &case.shape;
                    assert_eq!(raw, case.raw, "{protocol}: {data_type} {shape:?} {:?}, seed {seed}", case.tokens);
                }
            }
        }
    }
}
