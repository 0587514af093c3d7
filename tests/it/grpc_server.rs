//! What every call has, whatever its service: codes, deadlines, limits, codings, ids, metrics; and gRPC on the HTTP port.

use std::time::Duration;

use onnxd::protocol::proto::{
    inference::{ModelInferRequest, ModelInferResponse},
    onnxd_v1::{PredictRequest, PredictResponse},
};
use reqwest::{StatusCode, Version};
use tonic::{Code, Request, client::Grpc, codec::CompressionEncoding, transport::Channel};

use crate::{
    fake_engine::Run,
    fake_server::Fake,
    grpc_client::{Client, MODEL_INFER, PREDICT, compressed, framed, http2, iris_request, le_bytes, post_raw},
    grpc_fake::{Calls, row, start_within},
    harness::{PATIENCE, TestServer, until, within_patience},
};

const SECOND: Duration = Duration::from_secs(1);

/// A request for many rows of iris.
fn iris_rows(rows: usize) -> ModelInferRequest {
    let mut request = iris_request();
    request.inputs[0].shape[0] = i64::try_from(rows).unwrap();
    request.raw_input_contents = vec![le_bytes(&[5.1, 3.5, 1.4, 0.2].repeat(rows))];
    request
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_cancelled_with_its_code() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let mut calls = Calls::new();
    start_within(&mut calls, &client, PATIENCE);
    fake.until_running(1).await;
    // A client that keeps time itself would not wait for the answer.
    let address = fake.server.grpc_address.unwrap();
    let (code, message) = post_raw(address, PREDICT, &[("grpc-timeout", "50m")], framed(&row())).await;
    assert_eq!((code, &*message), (Code::DeadlineExceeded, "there was no answer within 50ms"));
    fake.control.open_gate();
    assert!(calls.join_next().await.unwrap().unwrap().is_ok());
    until(async || fake.gauge("prediction_cancelled_total").await == 1.0).await;
    assert_eq!(fake.runs(), 1);
    let errors = r#"prediction_errors_total{code="deadline_exceeded",model="fake",version="1"}"#;
    assert_eq!(fake.server.metric(errors).await, 1.0);
}

#[tokio::test]
async fn no_call_has_more_time_than_the_server_gives() {
    let fake = Fake::start("", |config| config.limits.request_timeout = SECOND / 20).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let mut calls = Calls::new();
    start_within(&mut calls, &client, PATIENCE);
    let status = calls.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "there was no answer within 50ms"));
    fake.control.open_gate();
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let server = TestServer::serving("iris").await;
    let address = server.grpc_address.unwrap();
    let (code, message) = post_raw(address, MODEL_INFER, &[("grpc-timeout", "soon")], framed(&iris_request())).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.starts_with("grpc-timeout: expected"), "{message}");
}

#[tokio::test]
async fn a_client_that_leaves_is_not_run() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let (mut first, mut leaving) = (Calls::new(), Calls::new());
    start_within(&mut first, &client, PATIENCE);
    fake.until_running(1).await;
    start_within(&mut leaving, &client, PATIENCE);
    fake.until_queued(1).await;
    leaving.shutdown().await;
    fake.until_in_flight(1).await;
    fake.control.open_gate();
    assert!(first.join_next().await.unwrap().unwrap().is_ok());
    until(async || fake.gauge("prediction_cancelled_total").await == 1.0).await;
    assert_eq!(fake.runs(), 1);
    let left = r#"grpc_requests_total{code="CANCELLED",method="Predict",service="onnxd.v1.PredictionService"}"#;
    assert_eq!(fake.server.metric(left).await, 1.0);
}

#[tokio::test]
async fn a_full_queue_says_when_to_try_again() {
    let fake = Fake::start("[batching]\nmax_queue_size = 1\nmax_batch_size = 1", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    fake.control.close_gate();
    let mut calls = Calls::new();
    start_within(&mut calls, &client, PATIENCE);
    fake.until_running(1).await;
    start_within(&mut calls, &client, PATIENCE);
    fake.until_queued(1).await;
    let status = client.call::<_, PredictResponse>(PREDICT, Request::new(row())).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    fake.control.open_gate();
    assert!(calls.join_all().await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_fails_inside_says_nothing_of_the_inside() {
    let fake = Fake::start("", |_config| {}).await;
    let client = Client::of(&fake.server).await;
    fake.control.set_run(Run::Fail);
    let error = client.refuse::<_, PredictResponse>(PREDICT, row(), Code::Internal).await;
    assert_eq!(error, "internal error");
    fake.control.set_run(Run::Panic);
    client.refuse::<_, PredictResponse>(PREDICT, row(), Code::Internal).await;
    until(async || fake.server.service.why_not_ready().is_some()).await;
    client.refuse::<_, PredictResponse>(PREDICT, row(), Code::Unavailable).await;
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_compressed_or_not() {
    let server = TestServer::start_with(crate::harness::models("iris"), |config| {
        config.limits.max_body_bytes = 100_000;
    })
    .await;
    let client = Client::of(&server).await;
    // The limit is on what is read, and not on what is answered.
    let answer = client.infer(iris_rows(6000)).await;
    assert!(answer.raw_output_contents.iter().map(bytes::Bytes::len).sum::<usize>() > 100_000);
    let expected = "expected messages of at most 100000 bytes (--max-body-bytes)";
    let error = client.refuse::<_, ModelInferResponse>(MODEL_INFER, iris_rows(7000), Code::ResourceExhausted).await;
    assert_eq!(error, expected);
    for coding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        let call =
            client.call_with::<_, ModelInferResponse>(MODEL_INFER, Request::new(iris_rows(9000)), compressed(coding));
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{coding}: {status}");
    }
}

#[tokio::test]
async fn messages_may_be_compressed_both_ways() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let plain = client.infer(iris_rows(100)).await;
    for coding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        let request = Request::new(iris_rows(100));
        let call = client.call_with::<_, ModelInferResponse>(MODEL_INFER, request, compressed(coding));
        let response = call.await.unwrap();
        assert_eq!(response.metadata().get("grpc-encoding").unwrap(), coding.to_string().as_str());
        assert_eq!(response.into_inner(), plain);
        // Most clients accept what they do not ask for.
        let accepting = |grpc: Grpc<Channel>| grpc.accept_compressed(coding);
        let call = client.call_with::<_, ModelInferResponse>(MODEL_INFER, Request::new(iris_rows(100)), accepting);
        assert_eq!(call.await.unwrap().metadata().get("grpc-encoding"), None);
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let mut request = Request::new(iris_request());
    request.metadata_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let response = client.call::<_, ModelInferResponse>(MODEL_INFER, request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "mine-1");
    let request = Request::new(ModelInferRequest::default());
    let status = client.call::<_, ModelInferResponse>(MODEL_INFER, request).await.unwrap_err();
    assert_eq!(status.metadata().get("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    client.infer(iris_request()).await;
    client.refuse_infer(ModelInferRequest { inputs: Vec::new(), ..iris_request() }).await;
    client.refuse::<(), ()>("/any.Service/AndMethod", (), Code::Unimplemented).await;
    let count = async |service, method, code| {
        let name = format!(r#"grpc_requests_total{{code="{code}",method="{method}",service="{service}"}}"#);
        server.metric(&name).await
    };
    let service = "inference.GRPCInferenceService";
    // A call is counted when its last byte is on its way, which may be after its client has read it.
    until(async || count(service, "ModelInfer", "OK").await == 1.0).await;
    assert_eq!(count(service, "ModelInfer", "INVALID_ARGUMENT").await, 1.0);
    assert_eq!(count("unmatched", "unmatched", "UNIMPLEMENTED").await, 1.0);
    assert_eq!(server.metric(r#"prediction_latency_seconds_count{model="iris",version="1"}"#).await, 2.0);
}

#[tokio::test]
async fn the_http_port_answers_grpc_and_everything_else_over_http2() {
    let server = TestServer::start_with(crate::harness::models("iris"), |config| {
        config.http.grpc_port = onnxd::config::GrpcPort(None);
    })
    .await;
    assert_eq!(server.grpc_address, None);
    let client = Client::at(server.address).await;
    assert_eq!(client.infer(iris_request()).await.model_name, "iris");
    let http2 = http2();
    let response = http2.get(server.url("/health")).send().await.unwrap();
    assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
    let row = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
    let response = http2.post(server.url("/predict")).body(row).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(server.get("/health").await.version(), Version::HTTP_11);
}

#[tokio::test]
async fn the_grpc_port_answers_nothing_else() {
    let server = TestServer::serving("iris").await;
    let http2 = http2();
    let url = format!("http://{}/health", server.grpc_address.unwrap());
    let response = http2.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn a_preface_in_pieces_is_still_one() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    for piece in ["P", "RI", " * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        connection.write(piece.as_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    // Settings, without which HTTP/2 does not begin.
    connection.write(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let frame = connection.read_at_least(9).await.unwrap();
    assert_eq!(frame[3], 4, "{frame:?}");
}

#[tokio::test]
async fn what_is_no_message_is_refused_as_wrong() {
    let server = TestServer::serving("iris").await;
    let address = server.grpc_address.unwrap();
    let post = async |body: &'static [u8], encoding: Option<&str>| {
        let headers: Vec<_> = encoding.into_iter().map(|name| ("grpc-encoding", name)).collect();
        post_raw(address, MODEL_INFER, &headers, body).await
    };
    let cases: [(&[u8], Option<&str>); 6] = [
        (b"", None),
        (b"\0\0\0", None),
        (b"\0\0\0\0\x09short", None),
        (b"\0\0\0\0\x03\xff\xff\xff", None),
        (b"\0\0\0\0\x02\x0a\x7f", None),
        (b"\x01\0\0\0\x05plain", Some("gzip")),
    ];
    for (body, encoding) in cases {
        let (code, message) = post(body, encoding).await;
        assert_eq!(code, Code::InvalidArgument, "{body:?}: {message}");
    }
    // As the protocol wants it.
    assert_eq!(post(b"\x01\0\0\0\0", None).await.0, Code::Internal);
    assert_eq!(post(b"\0\0\0\0\0", Some("br")).await.0, Code::Unimplemented);
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed() {
    let server = TestServer::start_with(crate::harness::models("iris"), |config| {
        config.limits.keep_alive = SECOND / 10;
    })
    .await;
    let silent = crate::connection::Connection::open(server.grpc_address.unwrap()).await.unwrap();
    within_patience(silent.until_closed()).await;
    // A client of gRPC opens another when it is told that one ends.
    let client = Client::of(&server).await;
    client.infer(iris_request()).await;
    let address = server.grpc_address.unwrap();
    let mut idle = crate::connection::Connection::open(address).await.unwrap();
    idle.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    within_patience(idle.until_closed()).await;
    let request = PredictRequest { features: vec![5.1, 3.5, 1.4, 0.2], ..Default::default() };
    client.predict(request).await;
}
