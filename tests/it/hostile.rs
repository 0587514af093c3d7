//! Clients that are broken or mean: each gets an answer that a person understands, and the next request is unharmed.

use std::time::Duration;

use crate::{
    connection::post_bytes,
    harness::{PATIENCE, TestServer, models, until},
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
/// What hyper takes: headers, bytes of a whole head, and bytes of a path.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 8192 + 4096 * 100;
const MAX_URI_BYTES: usize = 65_534;
/// The answer for so many is longer than the system's buffers.
const MANY_ROWS: usize = 100_000;

/// Makes a body whose answer is longer than the system's buffers.
fn many_rows() -> String {
    format!(r#"{{"features":[{}]}}"#, vec!["[5.1,3.5,1.4,0.2]"; MANY_ROWS].join(","))
}

/// Checks that a good request is answered as if nothing had been.
async fn unharmed(server: &TestServer) {
    assert_eq!(server.predict("/predict", ROW).await["predicted_class_name"], "setosa");
}

fn status_of(answer: &str) -> Option<u16> {
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let server = TestServer::serving("iris").await;
    let deep = "[".repeat(100_000);
    let closed = format!("{deep}{}", "]".repeat(100_000));
    let objects = r#"{"a":"#.repeat(100_000);
    let bodies = [
        deep.clone(),
        closed.clone(),
        format!(r#"{{"features":{deep}"#),
        format!(r#"{{"features":{closed}}}"#),
        format!(r#"{{"features":[{closed}]}}"#),
        format!(r#"{{"features":[1,2,3,{closed}]}}"#),
        format!(r#"{{"inputs":{{"features":{closed}}}}}"#),
        format!(r#"{{"instances":[{{"sepal_length":{closed}}}]}}"#),
        format!(r#"{{"nothing":{closed}}}"#),
        format!(r#"{{"features":[1,2,3,4],"nothing":{closed}}}"#),
        objects.clone(),
        format!(r#"{{"features":{objects}"#),
    ];
    for body in bodies {
        let shown = body[..40].to_owned();
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.len() < 500, "{shown}: {error}");
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn body_cut_off_anywhere_is_not_json() {
    let server = TestServer::serving("iris").await;
    for whole in [
        r#"{"features": [5.1, 3.5e0, 1.4, 0.2]}"#,
        r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":null,"petal_width":NaN}"#,
        r#"{"inputs":{"features":[[5.1,3.5,1.4,-Infinity]]}}"#,
    ] {
        for end in 0..whole.len() {
            let cut = &whole[..end];
            let error = server.refuse("/predict", cut.to_owned(), 400).await;
            assert!(error.starts_with("Request must be JSON"), "{cut}: {error}");
        }
        server.predict("/predict", whole).await;
    }
}

#[tokio::test]
async fn numbers_beyond_all_floats_are_refused_by_name() {
    let server = TestServer::serving("iris").await;
    let long = "9".repeat(100_000);
    for number in ["1e400", "-1e400", "1e99999999999999999999", long.as_str()] {
        let error = server.refuse("/predict", format!(r#"{{"features":[5.1,3.5,{number},0.2]}}"#), 400).await;
        assert!(error.contains("petal_length") && error.contains("out of range") && error.len() < 300, "{error}");
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn lone_surrogates_are_refused() {
    let server = TestServer::serving("text").await;
    for text in [r"\ud800", r"a\udc00b", r"\ud800\ud800", r"\udc00\ud800", r"\ud83dx"] {
        for body in [
            format!(r#"{{"text":"{text}"}}"#),
            format!(r#"{{"{text}":"a"}}"#),
            format!(r#"{{"inputs":{{"text":[["{text}"]]}}}}"#),
        ] {
            let error = server.refuse("/predict", body.clone(), 400).await;
            assert!(error.contains("surrogate"), "{body}: {error}");
        }
    }
    server.predict("/predict", r#"{"text":"a pair: \ud83d\ude00"}"#).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused() {
    let server = TestServer::serving("text").await;
    for text in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"a\x80b", b"\xf8\x88\x80\x80\x80"] {
        for (head, tail) in [(&br#"{"text":""#[..], &br#""}"#[..]), (br#"{""#, br#"":"a"}"#)] {
            let error = server.refuse("/predict", [head, text, tail].concat(), 400).await;
            assert!(error.starts_with("Request must be JSON") && error.contains("UTF-8"), "{text:?}: {error}");
        }
    }
    server.predict("/predict", r#"{"text":"a"}"#).await;
}

#[tokio::test]
async fn string_with_a_nul_is_only_a_string() {
    let server = TestServer::serving("text").await;
    server.predict("/predict", r#"{"text":"before\u0000after"}"#).await;
}

#[tokio::test]
async fn duplicate_keys_are_refused() {
    let server = TestServer::serving("iris").await;
    for body in [
        r#"{"features":[1,2,3,4],"features":[1,2,3,4]}"#,
        r#"{"features":[1,2,3,4],"f\u0065atures":[1,2,3,4]}"#,
        r#"{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"sepal_length":1}"#,
        r#"{"features":{"sepal_length":1,"sepal_length":1,"petal_length":1,"petal_width":1}}"#,
        r#"{"instances":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"petal_width":1,"petal_width":1}]}"#,
        r#"{"inputs":{"features":[[1,2,3,4]],"features":[[1,2,3,4]]}}"#,
        r#"{"inputs":{"features":[[1,2,3,4]]},"inputs":{}}"#,
    ] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.contains("duplicate") || error.contains("twice"), "{body}: {error}");
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn what_a_client_sends_is_quoted_only_in_part() {
    let server = TestServer::serving("iris").await;
    let long = "x".repeat(100_000);
    for body in [
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"sepal_length":"{long}"}}"#),
        format!(r#"{{"features":"{long}"}}"#),
        format!(r#"{{"inputs":{{"{long}":1}}}}"#),
        format!(r#""{long}""#),
    ] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.len() < 500, "{error}");
    }
    unharmed(&server).await;
}

#[tokio::test]
async fn rows_without_end_of_one_value_are_refused() {
    let server = TestServer::serving("iris").await;
    let values = vec!["1"; 500_000].join(",");
    assert_eq!(
        server.refuse("/predict", format!(r#"{{"features":[{values}]}}"#), 400).await,
        "Expected 4 features, but got 500000"
    );
    unharmed(&server).await;
}

#[tokio::test]
async fn bytes_that_are_not_http_harm_nobody() {
    let server = TestServer::serving("iris").await;
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], Some(400)),
        // A client that begins with HTTP/2 understands no answer of HTTP/1.
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n", None),
        (b"hello\r\n\r\n", Some(400)),
        (b"\0\0\0\0\r\n\r\n", Some(400)),
        (b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", Some(400)),
        (b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}", Some(400)),
        (b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n", Some(400)),
        (b"GET /predict\r\nHTTP/9.9 \xff\r\n\r\n", Some(400)),
    ] {
        let answer = server.exchange(bytes).await;
        assert_eq!(status_of(&answer), status, "{bytes:?}: {answer}");
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn garbage_after_a_request_does_not_spoil_its_answer() {
    let server = TestServer::serving("iris").await;
    let answer = server.exchange([&post_bytes("/predict", ROW)[..], b"\0\0garbage\r\n\r\n"].concat()).await;
    assert_eq!(status_of(&answer), Some(200), "{answer}");
    assert!(answer.contains("setosa"), "{answer}");
    unharmed(&server).await;
}

#[tokio::test]
async fn requests_in_one_write_are_answered_in_their_order() {
    let server = TestServer::serving("iris").await;
    let request = |body: &str, close: &str| {
        format!("POST /predict HTTP/1.1\r\nhost: a\r\n{close}content-length: {}\r\n\r\n{body}", body.len())
    };
    let answer =
        server.exchange([request(ROW, ""), request("{", ""), request(ROW, "connection: close\r\n")].concat()).await;
    let statuses: Vec<_> =
        answer.match_indices("HTTP/1.1 ").map(|(place, _)| status_of(&answer[place..]).unwrap()).collect();
    assert_eq!(statuses, [200, 400, 200], "{answer}");
}

#[tokio::test]
async fn heads_without_measure_are_refused() {
    let server = TestServer::serving("iris").await;
    let many = (0..MAX_HEADERS).map(|index| format!("x-{index}: y\r\n")).collect::<String>();
    // Each is no longer than what the server reads of it: a connection that is closed on unread bytes is reset, and its
    // answer may be lost.
    let mut endless = "GET /health HTTP/1.1\r\nhost: a\r\nx: ".to_owned();
    endless.push_str(&"y".repeat(MAX_HEAD_BYTES - endless.len()));
    for (head, status) in [
        (format!("GET /health HTTP/1.1\r\nhost: a\r\n{many}\r\n"), 431),
        (endless, 431),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(MAX_URI_BYTES)), 414),
    ] {
        let answer = server.exchange(&head).await;
        assert_eq!(status_of(&answer), Some(status), "{} bytes: {answer}", head.len());
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn heads_up_to_their_measure_are_taken() {
    let server = TestServer::serving("iris").await;
    let headers = (2..MAX_HEADERS).map(|index| format!("x-{index}: y\r\n")).collect::<String>();
    let answer =
        server.exchange(format!("GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n")).await;
    assert_eq!(status_of(&answer), Some(200), "{answer}");
}

#[tokio::test]
async fn head_of_megabytes_harms_nobody() {
    let server = TestServer::serving("iris").await;
    let long = "y".repeat(2_000_000);
    for head in [
        format!("GET /health HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        let answer = server.exchange(head).await;
        assert!(status_of(&answer).is_none_or(|status| status == 431), "{answer}");
        unharmed(&server).await;
    }
}

#[tokio::test]
async fn slow_clients_keep_nobody_else_waiting() {
    let server = TestServer::serving("iris").await;
    let mut slow = Vec::new();
    for part in
        ["P", "POST /predict HTTP/1.1\r\nhost", "POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n{"]
    {
        for _ in 0..10 {
            let mut connection = server.connect().await;
            connection.write(part.as_bytes()).await.unwrap();
            slow.push(connection);
        }
    }
    unharmed(&server).await;
    drop(slow);
    unharmed(&server).await;
}

#[tokio::test]
async fn client_that_never_ends_its_head_is_cut_off() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.keep_alive = Duration::from_millis(100);
    })
    .await;
    let answer = server.exchange("POST /predict HTTP/1.1\r\nhost").await;
    assert!(status_of(&answer).is_none_or(|status| status == 408), "{answer}");
    unharmed(&server).await;
}

#[tokio::test]
async fn body_that_comes_byte_by_byte_is_read() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    let head =
        format!("POST /predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", ROW.len());
    for byte in [head.as_bytes(), ROW.as_bytes()].concat() {
        connection.write(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = connection.until_closed().await;
    assert!(answer.contains("setosa"), "{answer}");
}

#[tokio::test]
async fn client_that_does_not_read_its_answer_keeps_nobody_waiting() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.max_rows = MANY_ROWS).await;
    let mut deaf = server.connect().await;
    deaf.write(&post_bytes("/predict", &many_rows())).await.unwrap();
    // Its answer, longer than the system's buffers, is there.
    until(|| async { server.metric(r#"model_predictions_total{model="iris",version="1"}"#).await == 100_000.0 }).await;
    unharmed(&server).await;
}

#[tokio::test]
async fn client_that_does_not_read_its_answer_is_cut_off() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.keep_alive = Duration::from_millis(100);
        config.limits.max_connections = 1;
        config.limits.max_rows = MANY_ROWS;
        config.limits.request_timeout = PATIENCE;
    })
    .await;
    let mut deaf = server.connect().await;
    deaf.write(&post_bytes("/predict", &many_rows())).await.unwrap();
    // There is room for this one only when the other is gone.
    unharmed(&server).await;
    assert!(deaf.answer().await.is_err(), "the answer fitted the system's buffers");
}

#[tokio::test]
async fn models_outside_the_repository_cannot_be_named() {
    let server = TestServer::serving("iris").await;
    for name in ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "iris%2f1", "iris%00", "*"] {
        // An HTTP client would resolve the dots itself.
        let length = ROW.len();
        let head = format!(
            "POST /models/{name}/predict HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        let answer = server.exchange(head + ROW).await;
        assert_eq!(status_of(&answer), Some(404), "{name}: {answer}");
    }
    unharmed(&server).await;
}
