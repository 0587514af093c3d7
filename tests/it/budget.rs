//! The bytes of all bodies have one budget, and a body that has not arrived holds no place of a prediction.

use std::{convert::Infallible, pin::Pin};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future::join_all, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use onnxd::protocol::proto::inference::{InferTensorContents, ModelInferRequest, ModelInferResponse};
use reqwest::Body;
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{Code, Request, Status, codec::CompressionEncoding, codegen::tokio_stream::wrappers::ReceiverStream};

use crate::{
    compression::gzip,
    connection::{Connection, post_bytes},
    fake_server::Fake,
    grpc_client::{Client, MODEL_INFER, MODEL_STREAM_INFER, compressed, http2, iris_request, le_bytes, post_raw},
    harness::{PATIENCE, TestServer, error_text, models, until, within_patience},
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const BUDGET: usize = 1 << 20;
/// All but the eighth that small bodies keep.
const SHARED: usize = BUDGET - BUDGET / 8;

async fn iris() -> TestServer {
    TestServer::start_with(models("iris"), |config| config.limits.max_buffered_bytes = Some(BUDGET)).await
}

async fn is_unharmed(server: &TestServer) {
    assert_eq!(server.predict("/predict", ROW).await["predicted_class_name"], "setosa");
}

async fn until_all_is_free(server: &TestServer) {
    until(async || server.service.budget().used() == 0).await;
}

/// Makes a body of JSON that is nothing but a row and blanks.
fn blanks(bytes: usize) -> String {
    format!("{ROW}{}", " ".repeat(bytes - ROW.len()))
}

/// Sends all of a request but its last byte.
async fn post_most_of(server: &TestServer, body: &str) -> Connection {
    let mut connection = server.connect().await;
    let request = post_bytes("/predict", body);
    connection.write(&request[..request.len() - 1]).await.unwrap();
    connection
}

/// Makes a request body of frames that do not end.
fn unfinished(frames: Vec<Bytes>) -> Body {
    type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;
    let frames = stream::iter(frames).map(|data| Ok(Frame::data(data)));
    let frames: Frames = Box::pin(frames.chain(stream::pending()));
    Body::wrap(StreamBody::new(frames))
}

/// Writes the header of a message of this length.
fn header(is_compressed: bool, length: usize) -> Vec<u8> {
    let mut header = vec![u8::from(is_compressed)];
    header.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    header
}

#[tokio::test]
async fn bodies_that_have_not_arrived_hold_no_place_in_flight() {
    let fake = Fake::start("", |config| {
        config.limits.max_in_flight = 1;
        config.limits.request_timeout = PATIENCE * 2;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(post_most_of(&fake.server, r#"{"a":1.5,"b":2}"#).await);
    }
    fake.until_in_flight(3).await;
    assert_eq!(fake.post().await.status(), 200);
    for connection in &mut slow {
        connection.write(b"}").await.unwrap();
        assert_eq!(connection.answer().await.unwrap().unwrap().status, 200);
    }
}

#[tokio::test]
async fn streams_without_their_bodies_hold_no_place_in_flight() {
    let fake = Fake::start("", |config| {
        config.limits.max_in_flight = 1;
        config.limits.request_timeout = PATIENCE * 2;
    })
    .await;
    let (client, mut slow) = (http2(), JoinSet::new());
    for _ in 0..20 {
        slow.spawn(client.post(fake.server.url("/predict")).body(unfinished(Vec::new())).send());
    }
    fake.until_in_flight(20).await;
    assert_eq!(fake.post().await.status(), 200);
    slow.shutdown().await;
    until_all_is_free(&fake.server).await;
}

#[tokio::test]
async fn body_that_finds_no_room_is_a_429_and_small_ones_are_answered() {
    let server = iris().await;
    let first = post_most_of(&server, &blanks(SHARED / 4 * 3)).await;
    until(async || server.service.budget().used() > SHARED / 2).await;
    let refused = server.post("/predict", blanks(SHARED / 2)).await;
    assert!(refused.headers().contains_key("retry-after"));
    let error = error_text(refused, 429).await;
    assert!(error.contains("--max-buffered-bytes"), "{error}");
    is_unharmed(&server).await;
    drop(first);
    until_all_is_free(&server).await;
    server.predict("/predict", &blanks(SHARED / 2)).await;
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn body_waits_for_room_that_another_frees() {
    let server = iris().await;
    let mut first = post_most_of(&server, &blanks(SHARED / 4 * 3)).await;
    until(async || server.service.budget().used() > SHARED / 2).await;
    let (answer, ()) = tokio::join!(server.post("/predict", blanks(SHARED / 2)), async {
        first.write(b" ").await.unwrap();
        assert_eq!(first.answer().await.unwrap().unwrap().status, 200);
    });
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn body_that_alone_needs_more_than_the_budget_is_a_413() {
    let server = iris().await;
    let numbers = format!(r#"{{"inputs":{{"features":[[{}1]]}}}}"#, "1,".repeat(BUDGET / 4));
    for body in [blanks(BUDGET), numbers] {
        let error = server.refuse("/predict", body, 413).await;
        assert!(error.contains("--max-buffered-bytes"), "{error}");
    }
    // Chunked, and compressed.
    for (encoding, body) in
        [("gzip", gzip(blanks(BUDGET).as_bytes())), ("zstd", zstd::encode_all(blanks(BUDGET).as_bytes(), 19).unwrap())]
    {
        let request = server.request(reqwest::Method::POST, "/predict").header("content-encoding", encoding);
        let error = error_text(request.body(body).send().await.unwrap(), 413).await;
        assert!(error.contains("--max-buffered-bytes"), "{encoding}: {error}");
    }
    is_unharmed(&server).await;
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn crowd_of_bombs_takes_no_more_than_the_budget() {
    let server = iris().await;
    let bomb = zstd::encode_all(blanks(SHARED - SHARED / 8).as_bytes(), 19).unwrap();
    let post = || async {
        let request = server.request(reqwest::Method::POST, "/predict").header("content-encoding", "zstd");
        let status = request.body(bomb.clone()).send().await.unwrap().status().as_u16();
        assert!(server.service.budget().used() <= BUDGET);
        status
    };
    let (statuses, ()) = tokio::join!(join_all((0..16).map(|_| post())), async {
        for _ in 0..50 {
            is_unharmed(&server).await;
        }
    });
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn unfinished_messages_take_no_more_than_the_budget() {
    let server = iris().await;
    let (client, mut calls) = (http2(), JoinSet::new());
    for _ in 0..30 {
        let frames = vec![header(false, 1 << 20).into(), vec![0; BUDGET / 20].into()];
        let call = client.post(server.url(MODEL_INFER)).header("content-type", "application/grpc");
        calls.spawn(call.body(unfinished(frames)).send());
    }
    // Those that find no room are refused, and what they held is free for the others.
    let refused = within_patience(calls.join_next()).await.unwrap().unwrap().unwrap();
    let status = Status::from_header_map(refused.headers()).expect("an error says its code in a header");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("--max-buffered-bytes"), "{status}");
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
    assert!(server.service.budget().used() <= SHARED);
    is_unharmed(&server).await;
    assert_eq!(Client::of(&server).await.infer(iris_request()).await.model_name, "iris");
    calls.shutdown().await;
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn message_that_becomes_more_than_the_budget_is_refused_before_it_does() {
    let server = iris().await;
    let client = Client::of(&server).await;
    let mut request = iris_request();
    request.raw_input_contents.clear();
    request.inputs[0].contents =
        Some(InferTensorContents { int64_contents: vec![1; BUDGET / 4], ..Default::default() });
    let error = client.refuse::<_, ModelInferResponse>(MODEL_INFER, request, Code::ResourceExhausted).await;
    assert!(error.contains("--max-buffered-bytes"), "{error}");
    let rows = i64::try_from(BUDGET / 32).unwrap();
    let mut request = iris_request();
    request.inputs[0].shape[0] = rows;
    request.raw_input_contents = vec![le_bytes(&[0.5; BUDGET / 8])];
    for coding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate, CompressionEncoding::Zstd] {
        let call =
            client.call_with::<_, ModelInferResponse>(MODEL_INFER, Request::new(request.clone()), compressed(coding));
        let status = call.await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{coding}: {status}");
        assert!(status.message().contains("--max-buffered-bytes"), "{coding}: {status}");
    }
    is_unharmed(&server).await;
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn compressed_messages_of_several_members_are_read_whole_and_nothing_may_follow() {
    let server = iris().await;
    let message = prost::Message::encode_to_vec(&iris_request());
    let (head, tail) = message.split_at(10);
    let members = [gzip(head), gzip(tail)].concat();
    let send = async |message: &[u8]| {
        let frame = [&header(true, message.len())[..], message].concat();
        post_raw(server.address, MODEL_INFER, &[("grpc-encoding", "gzip")], frame).await
    };
    // A good answer has no code in its headers, so the message is made one that is refused for what it says.
    let unknown = ModelInferRequest { model_name: "unknown".to_owned(), ..iris_request() };
    let unknown = prost::Message::encode_to_vec(&unknown);
    let (head, tail) = unknown.split_at(10);
    let (code, text) = send(&[gzip(head), gzip(tail)].concat()).await;
    assert_eq!(code, Code::NotFound, "{text}");
    let (code, text) = send(&[&members[..], b"garbage"].concat()).await;
    assert_eq!(code, Code::InvalidArgument, "{text}");
    assert!(text.contains(&format!("after {} decompressed bytes", message.len())), "{text}");
    until_all_is_free(&server).await;
}

#[tokio::test]
async fn messages_of_a_stream_are_freed_when_they_are_answered() {
    let server = iris().await;
    let (requests, received) = mpsc::channel(1);
    let client = Client::of(&server).await;
    let mut answers = client.stream(MODEL_STREAM_INFER, Request::new(ReceiverStream::new(received))).await.unwrap();
    let mut request = iris_request();
    request.inputs[0].shape[0] = 4096;
    request.raw_input_contents = vec![le_bytes(&[0.5; 4 * 4096])];
    // Together they are larger than the budget.
    for _ in 0..BUDGET / (4 * 4096) {
        requests.send(request.clone()).await.unwrap();
        let answer: onnxd::protocol::proto::inference::ModelStreamInferResponse =
            within_patience(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.error_message, "");
    }
    assert!(server.service.budget().used() < BUDGET / 8);
    drop(requests);
    assert!(within_patience(answers.message()).await.unwrap().is_none());
    until_all_is_free(&server).await;
}
