//! Clients of HTTP/2 that keep the window of an answer shut, and answer pings: a connection that lives, for ever.

use std::time::Duration;

use bytes::Bytes;
use onnxd::protocol::proto::inference::ModelInferRequest;
use onnxd::serving::catalog::ModelRef;
use reqwest::{Client, Response};

use crate::{
    grpc_client::{MODEL_INFER, MODEL_STREAM_INFER, framed, iris_request, le_bytes},
    harness::{PATIENCE, TestServer, models, until},
};

const KEEP_ALIVE: Duration = Duration::from_millis(300);
/// How much a client takes of an answer that it does not read.
const WINDOW_BYTES: u32 = 1024;
/// Longer than what is handed over at a time.
const MANY_ROWS: usize = 10_000;
/// Shorter than that, and longer than the window.
const FEW_ROWS: usize = 1000;
/// The bytes of an answer's row: label and three probabilities.
const ROW_BYTES: usize = 20;

fn narrow_client() -> Client {
    let client = Client::builder().no_proxy().http2_prior_knowledge().timeout(PATIENCE);
    client.http2_initial_stream_window_size(WINDOW_BYTES).build().expect("the client's settings are right")
}

/// Sends a request for so many rows; returns when the answer's head is there.
async fn ask(client: &Client, server: &TestServer, rows: usize) -> Response {
    let mut request: ModelInferRequest = iris_request();
    request.inputs[0].shape[0] = i64::try_from(rows).unwrap();
    request.raw_input_contents = vec![le_bytes(&[5.1, 3.5, 1.4, 0.2].repeat(rows))];
    let request = client.post(format!("http://{}{MODEL_INFER}", server.address)).body(framed(&request));
    request
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .send()
        .await
        .expect("the server answers")
}

fn has_metric(server: &TestServer, line: &str) -> bool {
    let metrics = server.service.render_metrics().unwrap();
    String::from_utf8(metrics).unwrap().lines().any(|metric| metric == line)
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_ended_and_others_of_its_connection_go_on() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.keep_alive = KEEP_ALIVE).await;
    let client = narrow_client();
    let deaf = ask(&client, &server, MANY_ROWS).await;
    let cut = r#"grpc_requests_total{code="CANCELLED",method="ModelInfer",service="inference.GRPCInferenceService"} 1"#;
    until(async || {
        let other = ask(&client, &server, 1).await.bytes().await.unwrap();
        assert!(other.len() > ROW_BYTES);
        has_metric(&server, cut)
    })
    .await;
    assert!(deaf.bytes().await.is_err(), "the answer fitted what is handed over");
}

#[tokio::test]
async fn a_connection_with_nothing_but_the_end_of_an_answer_is_closed() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.keep_alive = KEEP_ALIVE;
        config.limits.max_connections = 1;
    })
    .await;
    let deaf = ask(&narrow_client(), &server, FEW_ROWS).await;
    // There is room for this one only when the other is gone.
    assert_eq!(server.get("/health/live").await.status(), 200);
    assert!(deaf.bytes().await.is_err(), "the answer fitted the window");
}

#[tokio::test]
async fn an_answer_through_a_narrow_window_comes_whole() {
    let server = TestServer::serving("iris").await;
    let narrow: Bytes = ask(&narrow_client(), &server, MANY_ROWS).await.bytes().await.unwrap();
    assert!(narrow.len() > MANY_ROWS * ROW_BYTES);
    let wide = ask(&crate::grpc_client::http2(), &server, MANY_ROWS).await.bytes().await.unwrap();
    assert!(narrow == wide);
}

#[tokio::test]
async fn stream_whose_answers_are_not_read_does_not_keep_others_from_their_turns() {
    let folder = tempfile::TempDir::new().unwrap();
    let version = folder.path().join("iris/1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::copy(models("iris/1/model.onnx"), version.join("model.onnx")).unwrap();
    std::fs::write(folder.path().join("iris/model.toml"), "batching.lane = \"inline\"").unwrap();
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let metrics = server.service.resolve(ModelRef::DEFAULT).unwrap().metrics.clone();
    for address in [server.address, server.grpc_address.unwrap()] {
        let runs = metrics.predictions.get();
        let body = framed(&iris_request()).repeat(3000);
        let client = narrow_client();
        let request = client.post(format!("http://{address}{MODEL_STREAM_INFER}")).body(body);
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let unread = request.send().await.expect("the server answers");
        until(async || metrics.predictions.get() > runs).await;
        for _ in 0..10 {
            server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
        }
        drop(unread);
    }
}
