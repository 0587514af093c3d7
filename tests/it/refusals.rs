//! Refusals that are sent before the request's body is read, to clients that write all before they read.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::{Client, Method};

use crate::{
    fake_server::Fake,
    harness::{PATIENCE, TestServer, error_text, models, until},
};

/// More than the system holds for a connection, so that a client cannot send it unless the server reads.
const BODY_BYTES: usize = 20 << 20;

/// A refused request: path, headers, status.
type Refusal = (&'static str, &'static [(&'static str, &'static str)], u16);

const REFUSALS: [Refusal; 4] = [
    ("/v2/models/none/infer", &[], 404),
    ("/v2/models/iris", &[], 405),
    ("/v2/models/iris/infer", &[("x-request-timeout-ms", "soon")], 400),
    ("/v2/models/iris/infer", &[("content-encoding", "br")], 415),
];

/// Writes the whole request over HTTP/1, then reads the answer; returns its head.
async fn refused(server: &TestServer, (path, headers, status): Refusal) -> String {
    let mut connection = server.connect().await;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n{headers}\r\n");
    connection.write(head.as_bytes()).await.unwrap();
    connection.write(&vec![b' '; BODY_BYTES]).await.unwrap_or_else(|error| panic!("{path} {status}: {error}"));
    let answer = connection.answer().await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status, status, "{body}");
    // A place in flight is taken once the body is there; all others are refused before.
    assert!(body["error"].is_string() && (answer.closes() || status == 429), "{} {body}", answer.head);
    answer.head
}

/// A body that counts how much of it was taken to be sent.
fn counted() -> (reqwest::Body, Arc<AtomicUsize>) {
    const PIECE_BYTES: usize = 64 << 10;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let pieces = stream::iter((0..BODY_BYTES / PIECE_BYTES).map(move |_| {
        counter.fetch_add(PIECE_BYTES, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b' '; PIECE_BYTES])))
    }));
    (reqwest::Body::wrap(StreamBody::new(pieces)), sent)
}

fn http2_client() -> Client {
    Client::builder().no_proxy().http2_prior_knowledge().timeout(PATIENCE).build().unwrap()
}

async fn serving_large_bodies() -> TestServer {
    TestServer::start_with(models("iris"), |config| config.limits.max_body_bytes = BODY_BYTES).await
}

#[tokio::test]
async fn client_that_writes_all_before_it_reads_sees_its_refusal() {
    let server = serving_large_bodies().await;
    for refusal in REFUSALS {
        refused(&server, refusal).await;
    }
}

#[tokio::test]
async fn whole_body_may_be_sent_over_http2_after_the_refusal() {
    let server = serving_large_bodies().await;
    let client = http2_client();
    for (path, headers, status) in REFUSALS {
        let (body, sent) = counted();
        let mut request = client.post(server.url(path)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        error_text(request.send().await.unwrap(), status).await;
        // A reset stream would take no more of it.
        until(async || sent.load(Ordering::Relaxed) == BODY_BYTES).await;
    }
}

#[tokio::test]
async fn refusals_for_load_arrive_with_their_retry_after() {
    let fake = Fake::start("", |config| {
        config.limits.max_in_flight = 1;
        config.limits.max_body_bytes = BODY_BYTES;
    })
    .await;
    fake.control.close_gate();
    let mut first = fake.post_on_connection().await;
    fake.until_running(1).await;
    let head = refused(&fake.server, ("/predict", &[], 429)).await;
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    fake.control.open_gate();
    assert_eq!(first.answer().await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn body_over_twice_the_limit_is_not_read_to_its_end() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.max_body_bytes = 4096).await;
    let mut connection = server.connect().await;
    let head = format!("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    connection.write(head.as_bytes()).await.unwrap();
    assert!(connection.write(&vec![b' '; BODY_BYTES]).await.is_err(), "all was read");

    let (body, sent) = counted();
    let response = http2_client().post(server.url("/predict")).header("content-length", BODY_BYTES).body(body);
    // The stream is reset once the bound is reached.
    error_text(response.send().await.unwrap(), 413).await;
    server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    assert!(sent.load(Ordering::Relaxed) < BODY_BYTES);
}

#[tokio::test]
async fn client_that_still_sends_does_not_hold_the_server_at_its_end() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.shutdown_grace = Duration::from_secs(20);
    })
    .await;
    let mut half = server.connect().await;
    half.write(b"POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    assert_eq!(half.answer().await.unwrap().unwrap().status, 404);
    assert_eq!(server.request(Method::GET, "/health/live").send().await.unwrap().status(), 200);
    assert_eq!(server.stop().await, onnxd::server::Ending::Drained);
}
