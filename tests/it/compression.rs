//! Compressed bodies, in both directions.

use std::io::{Read, Write};

use flate2::{
    Compression,
    read::GzDecoder,
    write::{GzEncoder, ZlibEncoder},
};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::harness::{TestServer, error_text};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post_encoded(server: &TestServer, encoding: &str, body: Vec<u8>) -> Response {
    server.request(Method::POST, "/predict").header("content-encoding", encoding).body(body).send().await.unwrap()
}

/// Posts enough rows for an answer worth compressing, and says which encodings are welcome.
async fn post_rows(server: &TestServer, accept_encoding: &str) -> Response {
    let rows = vec!["[5.1,3.5,1.4,0.2]"; 100].join(",");
    let request = server.request(Method::POST, "/predict").header("accept-encoding", accept_encoding);
    request.body(format!(r#"{{"features":[{rows}]}}"#)).send().await.unwrap()
}

fn assert_100_rows(json: &[u8]) {
    let answer: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let server = TestServer::serving("iris").await;
    let encoded = [
        ("gzip", gzip(ROW.as_bytes())),
        ("deflate", zlib(ROW.as_bytes())),
        ("zstd", zstd::encode_all(ROW.as_bytes(), 0).unwrap()),
        ("identity", ROW.into()),
    ];
    for (encoding, body) in encoded {
        let response = post_encoded(&server, encoding, body).await;
        assert_eq!(response.status(), 200, "{encoding}");
        assert_eq!(response.json::<Value>().await.unwrap()["prediction"], 0, "{encoding}");
    }
}

#[tokio::test]
async fn members_of_a_gzip_body_are_all_read() {
    let server = TestServer::serving("iris").await;
    let (head, tail) = ROW.split_at(12);
    let members = [gzip(head.as_bytes()), gzip(tail.as_bytes())].concat();
    let response = post_encoded(&server, "gzip", members).await;
    assert_eq!(response.json::<Value>().await.unwrap()["prediction"], 0);
    let csv = |rows: &str| gzip(rows.as_bytes());
    let lines = [csv("sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"), csv("6.3,3.3,6.0,2.5\n")];
    let request = server.request(Method::POST, "/invocations").header("content-type", "text/csv");
    let response = request.header("content-encoding", "gzip").body(lines.concat()).send().await.unwrap();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(2), "{answer}");
}

#[tokio::test]
async fn bytes_after_the_last_member_are_a_400_that_says_so() {
    let server = TestServer::serving("iris").await;
    for (encoding, body) in [
        ("gzip", gzip(ROW.as_bytes())),
        ("deflate", zlib(ROW.as_bytes())),
        ("zstd", zstd::encode_all(ROW.as_bytes(), 0).unwrap()),
    ] {
        let error = error_text(post_encoded(&server, encoding, [&body[..], b"garbage"].concat()).await, 400).await;
        assert!(error.contains(&format!("after {} decompressed bytes", ROW.len())), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn names_of_codings_have_no_case_and_x_gzip_is_gzip() {
    let server = TestServer::serving("iris").await;
    for (encoding, body) in [
        ("GZIP", gzip(ROW.as_bytes())),
        ("x-gzip", gzip(ROW.as_bytes())),
        ("X-Gzip", gzip(ROW.as_bytes())),
        ("Deflate", zlib(ROW.as_bytes())),
        ("ZSTD", zstd::encode_all(ROW.as_bytes(), 0).unwrap()),
        ("Identity", ROW.into()),
    ] {
        assert_eq!(post_encoded(&server, encoding, body).await.status(), 200, "{encoding}");
    }
}

#[tokio::test]
async fn body_that_is_not_what_its_encoding_says_is_a_400_that_says_so() {
    let server = TestServer::serving("iris").await;
    for encoding in ["gzip", "deflate", "zstd"] {
        let error = error_text(post_encoded(&server, encoding, ROW.into()).await, 400).await;
        assert!(error.contains("cannot be read"), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn compressed_body_that_breaks_off_is_a_400_that_says_so() {
    let server = TestServer::serving("iris").await;
    let whole = [
        ("gzip", gzip(ROW.as_bytes())),
        ("deflate", zlib(ROW.as_bytes())),
        ("zstd", zstd::encode_all(ROW.as_bytes(), 0).unwrap()),
    ];
    for (encoding, mut body) in whole {
        body.truncate(body.len() - 3);
        let error = error_text(post_encoded(&server, encoding, body).await, 400).await;
        assert!(error.contains("cannot be read"), "{encoding}: {error}");
    }
}

#[tokio::test]
async fn gzip_with_a_wrong_checksum_is_a_400() {
    let server = TestServer::serving("iris").await;
    let mut body = gzip(ROW.as_bytes());
    let checksum = body.len() - 8;
    body[checksum] ^= 0xff;
    error_text(post_encoded(&server, "gzip", body).await, 400).await;
}

#[tokio::test]
async fn large_answer_is_gzipped_when_asked_for() {
    let server = TestServer::serving("iris").await;
    let response = post_rows(&server, "gzip").await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut json = Vec::new();
    GzDecoder::new(&*response.bytes().await.unwrap()).read_to_end(&mut json).unwrap();
    assert_100_rows(&json);
}

#[tokio::test]
async fn large_answer_is_zstd_when_asked_for() {
    let server = TestServer::serving("iris").await;
    let response = post_rows(&server, "zstd").await;
    assert_eq!(response.headers()["content-encoding"], "zstd");
    assert_100_rows(&zstd::decode_all(&*response.bytes().await.unwrap()).unwrap());
}

#[tokio::test]
async fn answer_that_may_be_compressed_varies_by_accept_encoding() {
    let server = TestServer::serving("iris").await;
    for accept_encoding in ["gzip", "zstd"] {
        let response = post_rows(&server, accept_encoding).await;
        let vary = response.headers()["vary"].to_str().unwrap().to_ascii_lowercase();
        assert!(vary.contains("accept-encoding"), "{vary}");
    }
}

#[tokio::test]
async fn answer_is_plain_when_nothing_else_is_asked_for() {
    let server = TestServer::serving("iris").await;
    for accept_encoding in
        ["identity", "br", "gzip;q=0, zstd;q=0", "identity;q=0", "*;q=0", "identity;q=0, *;q=0", ";=,"]
    {
        let response = post_rows(&server, accept_encoding).await;
        assert_eq!(response.status(), 200, "{accept_encoding}");
        assert_eq!(response.headers().get("content-encoding"), None, "{accept_encoding}");
        assert_100_rows(&response.bytes().await.unwrap());
    }
}

#[tokio::test]
async fn small_answer_is_not_compressed() {
    let server = TestServer::serving("iris").await;
    let request = server.request(Method::POST, "/predict").header("accept-encoding", "gzip, zstd").body(ROW);
    let response = request.send().await.unwrap();
    assert_eq!(response.headers().get("content-encoding"), None);
    assert_eq!(response.json::<Value>().await.unwrap()["prediction"], 0);
}

#[tokio::test]
async fn accept_encoding_may_come_in_any_number_of_headers() {
    let server = TestServer::serving("iris").await;
    let http2 = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for count in 1..=5 {
        for path in ["/predict", "/v2/models/iris/infer", "/nothing"] {
            let mut headers = reqwest::header::HeaderMap::new();
            for coding in ["gzip", "br", "zstd;q=0.5", "deflate", "*;q=0.1"].into_iter().take(count) {
                headers.append("accept-encoding", coding.parse().unwrap());
            }
            for request in [server.request(Method::POST, path), http2.post(server.url(path))] {
                let response = request.headers(headers.clone()).body(ROW).send().await.unwrap();
                assert!(!response.status().is_server_error(), "{path} with {count}: {}", response.status());
            }
        }
    }
}
