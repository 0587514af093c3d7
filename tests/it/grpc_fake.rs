//! Calls of a model whose runs do as a test tells them.

use std::time::Duration;

use onnxd::protocol::proto::{
    inference::{InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor},
    onnxd_v1::{PredictRequest, PredictResponse, Value, value::Kind},
};
use tokio::task::JoinSet;
use tonic::{Response, Status};

use crate::grpc_client::{Client, PREDICT, within};

/// Calls that are under way.
pub type Calls = JoinSet<Result<Response<PredictResponse>, Status>>;

/// A request of one row.
pub fn row() -> PredictRequest {
    let value = |number| Value { kind: Some(Kind::Number(number)) };
    let named = [("a".to_owned(), value(1.5)), ("b".to_owned(), value(2.0))].into();
    PredictRequest { named, ..Default::default() }
}

/// A request of one row in the Open Inference Protocol; its answer is `value`.
pub fn tensors(id: &str, value: f32) -> ModelInferRequest {
    let input = |name: &str| InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![1, 1],
        contents: Some(InferTensorContents { fp32_contents: vec![value], ..Default::default() }),
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "fake".to_owned(),
        id: id.to_owned(),
        inputs: vec![input("a"), input("b")],
        ..Default::default()
    }
}

/// Asks for the row's prediction within `time`, without waiting for the answer.
pub fn start_within(calls: &mut Calls, client: &Client, time: Duration) {
    let client = client.clone();
    calls.spawn(async move { client.call(PREDICT, within(row(), time)).await });
}
