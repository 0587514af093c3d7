//! Bodies too large, too slow or in no encoding we know, and time limits that the client sets.

use std::{fmt::Write as _, time::Duration};

use reqwest::Method;
use serde_json::Value;

use crate::{
    connection::post_bytes,
    harness::{TestServer, error_text, models, until},
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const MAX_BODY_BYTES: usize = 4096;

async fn serving_small_bodies() -> TestServer {
    TestServer::start_with(models("iris"), |config| config.limits.max_body_bytes = MAX_BODY_BYTES).await
}

/// Makes a body of this many bytes that is right but for its length.
fn padded(bytes: usize) -> String {
    format!("{ROW}{}", " ".repeat(bytes - ROW.len()))
}

/// Takes the one answer on a connection apart: status, head, and body as JSON.
fn parsed(answer: &str) -> (u16, String, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer, but {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("the body of {answer:?} is no JSON"));
    (status.expect("an answer has a status"), head.to_ascii_lowercase(), body)
}

#[tokio::test]
async fn body_of_the_limit_is_taken() {
    let server = serving_small_bodies().await;
    server.predict("/predict", &padded(MAX_BODY_BYTES)).await;
}

#[tokio::test]
async fn body_declared_over_the_limit_is_refused_with_both_numbers() {
    let server = serving_small_bodies().await;
    let error = server.refuse("/predict", padded(MAX_BODY_BYTES + 1), 413).await;
    for part in ["4096", "4097", "--max-body-bytes"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn body_far_over_the_limit_is_answered_and_not_reset() {
    let server = serving_small_bodies().await;
    let response = server.post("/predict", padded(MAX_BODY_BYTES * 2)).await;
    error_text(response, 413).await;
}

#[tokio::test]
async fn client_that_asks_before_it_sends_is_refused_at_once() {
    let server = serving_small_bodies().await;
    let head = "POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n";
    let (status, _head, body) = parsed(&server.exchange(head).await);
    assert_eq!((status, body["code"].as_str()), (413, Some("payload_too_large")));
}

#[tokio::test]
async fn chunked_body_over_the_limit_is_refused() {
    let server = serving_small_bodies().await;
    let mut request =
        "POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for chunk in padded(MAX_BODY_BYTES + 1).as_bytes().chunks(1000) {
        write!(request, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)).unwrap();
    }
    request.push_str("0\r\n\r\n");
    let (status, _head, body) = parsed(&server.exchange(request).await);
    assert_eq!((status, body["code"].as_str()), (413, Some("payload_too_large")));
}

#[tokio::test]
async fn chunked_body_within_the_limit_is_taken() {
    let server = serving_small_bodies().await;
    let (one, other) = ROW.split_at(7);
    let request = format!(
        "POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{one}\r\n{:x}\r\n{other}\r\n0\r\n\r\n",
        one.len(),
        other.len(),
    );
    let (status, _head, body) = parsed(&server.exchange(request).await);
    assert_eq!((status, body["prediction"].as_i64()), (200, Some(0)));
}

#[tokio::test]
async fn limit_is_counted_after_decompression() {
    let server = serving_small_bodies().await;
    let compressed = zstd::encode_all(padded(MAX_BODY_BYTES + 1).as_bytes(), 0).unwrap();
    assert!(compressed.len() < MAX_BODY_BYTES);
    let request = server.request(Method::POST, "/predict").header("content-encoding", "zstd").body(compressed);
    let error = error_text(request.send().await.unwrap(), 413).await;
    assert!(error.contains("after decompression"), "{error}");
}

#[tokio::test]
async fn body_that_does_not_arrive_in_time_is_a_408() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.request_timeout = Duration::from_millis(100);
    })
    .await;
    let (status, head, body) = parsed(
        &server.exchange("POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n{\"features\":[5.1").await,
    );
    assert_eq!((status, body["code"].as_str()), (408, Some("request_timeout")), "{body}");
    assert!(head.contains("x-request-id"), "{head}");
}

#[tokio::test]
async fn body_that_breaks_off_leaves_the_server_well() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    connection
        .write(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n{\"features\":[5.1")
        .await
        .unwrap();
    let inflight = r#"prediction_inflight{model="iris",version="1"}"#;
    until(|| async { server.metric(inflight).await == 1.0 }).await;
    drop(connection);
    until(|| async { server.metric(inflight).await == 0.0 }).await;
    server.predict("/predict", ROW).await;
}

#[tokio::test]
async fn connection_with_an_unread_body_is_said_to_close() {
    let server = serving_small_bodies().await;
    let bomb = zstd::encode_all(vec![b' '; MAX_BODY_BYTES * 1000].as_slice(), 0).unwrap();
    let requests = [
        ("/models/rose/predict", "content-length: 1000000\r\n", b"{".to_vec()),
        ("/predict", "content-length: 1000000\r\ncontent-encoding: br\r\n", b"{".to_vec()),
        ("/predict", "content-length: 1000000\r\ncontent-encoding: zstd\r\n", bomb),
        ("/predict", "content-length: 1000000\r\nexpect: 100-continue\r\n", Vec::new()),
    ];
    for (path, headers, body) in requests {
        let mut connection = server.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n");
        connection.write(&[head.as_bytes(), &body].concat()).await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        assert!(answer.closes(), "{path} {headers}: {}", answer.head);
    }
}

#[tokio::test]
async fn connection_goes_on_after_an_error_whose_body_was_read() {
    let server = serving_small_bodies().await;
    let mut connection = server.connect().await;
    for body in ["{", "", ROW] {
        connection.write(&post_bytes("/predict", body)).await.unwrap();
        assert!(!connection.answer().await.unwrap().unwrap().closes(), "{body}");
    }
}

#[tokio::test]
async fn unknown_content_encoding_is_a_415_that_lists_the_known() {
    let server = TestServer::serving("iris").await;
    for encoding in ["br", "compress", "rot13", "gzip, gzip"] {
        let request = server.request(Method::POST, "/predict").header("content-encoding", encoding).body(ROW);
        let error = error_text(request.send().await.unwrap(), 415).await;
        assert!(error.contains(encoding) && error.contains("gzip, deflate or zstd"), "{error}");
    }
}

#[tokio::test]
async fn time_limit_that_is_no_number_is_refused() {
    let server = TestServer::serving("iris").await;
    for limit in ["soon", "-1", "0", "1.5", "10s", "99999999999999999999"] {
        let request = server.request(Method::POST, "/predict").header("x-request-timeout-ms", limit).body(ROW);
        let error = error_text(request.send().await.unwrap(), 400).await;
        assert!(error.contains("x-request-timeout-ms") && error.contains(limit), "{error}");
    }
}

#[tokio::test]
async fn time_limit_that_suffices_changes_nothing() {
    let server = TestServer::serving("iris").await;
    for limit in ["60000", "18446744073709551615"] {
        let request = server.request(Method::POST, "/predict").header("x-request-timeout-ms", limit).body(ROW);
        assert_eq!(request.send().await.unwrap().status(), 200, "{limit}");
    }
}

#[tokio::test]
async fn more_rows_than_the_limit_are_413() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.max_rows = 2).await;
    let row = "[5.1,3.5,1.4,0.2]";
    server.predict("/predict", &format!(r#"{{"features":[{row},{row}]}}"#)).await;
    let error = server.refuse("/predict", format!(r#"{{"features":[{row},{row},{row}]}}"#), 413).await;
    assert_eq!(error, "expected at most 2 rows (--max-rows), but got 3: send them in several requests");
}
