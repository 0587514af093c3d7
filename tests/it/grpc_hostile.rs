//! Bytes made to harm that say they are messages: each gets a code and a reason, and the next call is answered.

use onnxd::protocol::proto::{
    inference::{
        ModelInferRequest,
        model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    },
    onnxd_v1::{PredictRequest, PredictResponse, Value, value::Kind},
};
use prost::Message as _;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::{
    grpc_client::{Client, MODEL_INFER, PREDICT, iris_request, le_bytes, post_raw},
    harness::TestServer,
};

/// Puts the length before bytes that may be no message.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("it is small");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Sends bytes that must not be answered, and a request that must; returns what the bytes are told.
async fn refuse(server: &TestServer, path: &str, message: &[u8]) -> (Code, String) {
    let (code, text) = post_raw(server.grpc_address.unwrap(), path, &[], framed(message)).await;
    assert!(!text.is_empty() && text.len() < 500, "{text}");
    Client::of(server).await.infer(iris_request()).await;
    (code, text)
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let server = TestServer::serving("iris").await;
    let groups = b"\x7b".repeat(1_000_000);
    let closed_groups = [b"\x7b".repeat(100_000), b"\x7c".repeat(100_000)].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "varint"),
        (b"\x0a\xff\xff\xff\xff\x0f", "buffer underflow"),
        (b"\x0a\x04iri", "buffer underflow"),
        (b"\x0a\x02\xff\xfe", "UTF-8"),
        (b"\x12\x02\xff\xfe", "UTF-8"),
        (b"\x08\x01", "wire type"),
        (b"\x7c", "end group"),
        (&groups, "recursion limit"),
        (&closed_groups, "recursion limit"),
    ];
    for path in [MODEL_INFER, PREDICT] {
        for (message, words) in cases {
            let (code, text) = refuse(&server, path, message).await;
            assert_eq!(code, Code::InvalidArgument, "{text}");
            assert!(text.starts_with("the message cannot be read") && text.contains(words), "{words}: {text}");
        }
    }
}

#[tokio::test]
async fn messages_cut_off_anywhere_are_refused() {
    let server = TestServer::serving("iris").await;
    let whole = iris_request().encode_to_vec();
    for end in 0..whole.len() {
        let (code, text) = refuse(&server, MODEL_INFER, &whole[..end]).await;
        // Cut between two fields it is a message that lacks something: at first even the model's name.
        assert!(matches!(code, Code::InvalidArgument | Code::NotFound), "{end}: {code:?} {text}");
    }
}

#[tokio::test]
async fn fields_of_nothing_without_number_are_refused() {
    let server = TestServer::serving("iris").await;
    let iris = iris_request().encode_to_vec();
    for (path, field) in
        [(MODEL_INFER, b"\x2a\0"), (MODEL_INFER, b"\x32\0"), (MODEL_INFER, b"\x3a\0"), (PREDICT, b"\x32\0")]
    {
        let (code, text) = refuse(&server, path, &[iris.clone(), field.repeat(200_000)].concat()).await;
        assert_eq!(code, Code::InvalidArgument, "{text}");
        assert!(text.contains("fields in 4000") && text.contains("expected at most 100000"), "{text}");
        let (code, text) = refuse(&server, path, &[iris.clone(), field.repeat(50_000)].concat()).await;
        assert_eq!(code, Code::InvalidArgument, "{text}");
    }
    // As many rows as there may be are no hindrance, however short they are.
    let row = PredictRequest { features: vec![5.1, 3.5, 1.4, 0.2], ..Default::default() };
    Client::of(&server).await.predict(row).await;
}

#[tokio::test]
async fn buffers_that_are_not_one_an_input_are_refused() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    let input = |name: &str, datatype: &str| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![1, 1],
        ..Default::default()
    };
    let zone = bytes::Bytes::copy_from_slice(&43_i64.to_le_bytes());
    let ride = |buffers: Vec<bytes::Bytes>| ModelInferRequest {
        model_name: "ride_duration".to_owned(),
        inputs: vec![input("PULocationID", "INT64"), input("DOLocationID", "INT64"), input("trip_distance", "FP32")],
        raw_input_contents: buffers,
        ..Default::default()
    };
    let whole = vec![zone.clone(), zone, le_bytes(&[1.1])];
    for (buffers, words) in [
        (whole[..1].to_vec(), "expected 3 buffers, one an input, but got 1"),
        (whole[..2].to_vec(), "expected 3 buffers, one an input, but got 2"),
        ([&whole[..], &whole[..1]].concat(), "expected 3 buffers, one an input, but got 4"),
        (whole.iter().rev().cloned().collect(), "input byte size mismatch for input 'PULocationID'"),
    ] {
        let error = client.refuse_infer(ride(buffers)).await;
        assert!(error.contains(words), "{error}");
    }
    client.infer(ride(whole)).await;
}

#[tokio::test]
async fn messages_of_errors_fit_the_header_that_they_travel_in() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let long = || "\u{fffd}".repeat(100_000);
    let value = Value { kind: Some(Kind::Number(1.0)) };
    for (request, code) in [
        (PredictRequest { model: long(), ..Default::default() }, Code::NotFound),
        (PredictRequest { model_version: long(), ..Default::default() }, Code::NotFound),
        (PredictRequest { named: [(long(), value)].into(), ..Default::default() }, Code::InvalidArgument),
    ] {
        let error = client.refuse::<_, PredictResponse>(PREDICT, request, code).await;
        assert!(error.len() < 2100, "{} bytes", error.len());
    }
    let service = HealthCheckRequest { service: long() };
    let error = client.refuse::<_, HealthCheckResponse>("/grpc.health.v1.Health/Check", service, Code::NotFound).await;
    assert!(error.len() < 2100, "{} bytes", error.len());
    let output = InferRequestedOutputTensor { name: long(), ..Default::default() };
    let version = ModelInferRequest { model_version: long(), ..iris_request() };
    for request in [version, ModelInferRequest { outputs: vec![output], ..iris_request() }] {
        let error = client.refuse_infer(request).await;
        assert!(error.len() < 2100, "{} bytes", error.len());
    }
}
