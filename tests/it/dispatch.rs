//! Predictions, whose handlers are called past the router: it must not show. Over raw connections, since an HTTP client would
//! tidy the paths, hide `100 Continue` and read any body.

use crate::{
    compression::gzip,
    connection::{Answer, Connection, post_bytes},
    harness::TestServer,
};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
const OIP: &str = r#"{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}"#;

/// Paths whose handlers are called past the router, with the same paths as the router decodes them, and what is sent to both.
const PLAIN_AND_ENCODED: [(&str, &str, &str, &str); 4] = [
    ("/models/iris/predict", "/models/%69ris/predict", "/models/{model}/predict", ROW),
    (
        "/models/iris/versions/1/predict",
        "/models/iris/versions/%31/predict",
        "/models/{model}/versions/{version}/predict",
        ROW,
    ),
    ("/v2/models/iris/infer", "/v2/models/i%72is/infer", "/v2/models/{model}/infer", OIP),
    (
        "/v2/models/iris/versions/1/infer",
        "/v2/models/iris/versions/%31/infer",
        "/v2/models/{model}/versions/{version}/infer",
        OIP,
    ),
];

/// Sends a request over an open connection and reads its answer.
async fn ask(connection: &mut Connection, request: impl AsRef<[u8]>) -> Answer {
    connection.write(request.as_ref()).await.unwrap();
    connection.answer().await.unwrap().expect("an answer, and not the end of the connection")
}

/// Writes a `POST` with more headers; `body` is as it goes over the wire.
fn post(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").as_bytes(), body.as_ref()].concat()
}

fn names_of(answer: &Answer) -> Vec<&str> {
    let mut names: Vec<_> = answer.head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0)).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn no_header_of_the_request_is_in_the_answer() {
    let server = TestServer::serving("iris").await;
    let binary = [OIP.strip_suffix('}').unwrap(), r#","parameters":{"binary_data_output":true}}"#].concat();
    let usual = ["content-length", "content-type", "date", "x-request-id"];
    let mut connection = server.connect().await;
    for (path, body, more) in [
        ("/predict", ROW, None),
        ("/models/iris/predict", ROW, None),
        ("/v2/models/iris/infer", OIP, None),
        ("/v2/models/iris/infer", &binary, Some("inference-header-content-length")),
        ("/v1/models/iris:predict", r#"{"instances":[[5.1,3.5,1.4,0.2]]}"#, None),
        ("/invocations", r#"{"inputs":[[5.1,3.5,1.4,0.2]]}"#, None),
    ] {
        // More than there is room for at once, some of them twice, and those that would say something of an answer.
        let many: String =
            (0..60).map(|index| format!("x-{index}: y\r\nx-twice: {index}\r\n").repeat(index % 2)).collect();
        let headers = format!(
            "{many}content-type: application/json\r\ncontent-length: {}\r\nset-cookie: a=b\r\ncache-control: no-store\r\n\
             connection: keep-alive\r\nlocation: /\r\nvary: *\r\nx-request-id: mine\r\nx-request-timeout-ms: 9999\r\n\
             allow: PUT\r\nserver: a\r\ndate: never\r\naccess-control-allow-origin: *\r\netag: \"a\"\r\n",
            body.len()
        );
        let answer = ask(&mut connection, post(path, &headers, body)).await;
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        let mut expected: Vec<_> = usual.into_iter().chain(more).collect();
        expected.sort_unstable();
        assert_eq!(names_of(&answer), expected, "{path}");
        assert!(
            answer.head.contains("\r\nx-request-id: mine\r\n") && !answer.head.contains("never"),
            "{}",
            answer.head
        );
        assert!(answer.closes() || !answer.head.contains("keep-alive"), "{}", answer.head);
    }
}

#[tokio::test]
async fn path_with_percent_signs_is_the_same_path() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    for (plain, encoded, template, body) in PLAIN_AND_ENCODED {
        let [one, other] = [
            ask(&mut connection, post_bytes(plain, body)).await,
            ask(&mut connection, post_bytes(encoded, body)).await,
        ];
        assert_eq!((one.status, other.status), (200, 200), "{encoded}: {}", String::from_utf8_lossy(&other.body));
        assert_eq!(names_of(&one), names_of(&other), "{encoded}");
        let counted = format!(r#"http_requests_total{{method="POST",path="{template}",status="200"}}"#);
        assert_eq!(server.metric(&counted).await, 2.0, "{counted}");
    }
    assert_eq!(server.metric(r#"model_predictions_total{model="iris",version="1"}"#).await, 8.0);
}

#[tokio::test]
async fn target_may_be_a_whole_url_or_have_a_query() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    for target in ["http://elsewhere/models/iris/predict", "/models/iris/predict?models=/models/rose/%ff", "/predict?"]
    {
        let answer = ask(&mut connection, post_bytes(target, ROW)).await;
        assert_eq!(answer.status, 200, "{target}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn path_that_only_looks_like_one_of_a_prediction_is_none() {
    let server = TestServer::serving("iris").await;
    for path in [
        "/predict/",
        "//predict",
        "/./predict",
        "/models/iris/../iris/predict",
        "/models/iris/predict/",
        "/models//predict",
        "/models/iris//predict",
        "/models/iris/versions//predict",
        "/v2/models//infer",
        "/Predict",
        "/predict;a=b",
    ] {
        let answer = ask(&mut server.connect().await, post_bytes(path, ROW)).await;
        assert_eq!(answer.status, 404, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
}

#[tokio::test]
async fn chunked_body_leaves_the_connection_open_however_it_ends() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    let chunked = "transfer-encoding: chunked\r\n";
    let whole = format!("{:x}\r\n{ROW}\r\n", ROW.len());
    for (body, status) in [
        (format!("{whole}0\r\n\r\n"), 200),
        (format!("{whole}0\r\nx-trailer: a\r\n\r\n"), 200),
        ("0\r\n\r\n".to_owned(), 400),
        ("0\r\nx-trailer: a\r\n\r\n".to_owned(), 400),
    ] {
        let answer = ask(&mut connection, post("/predict", chunked, &body)).await;
        assert_eq!((answer.status, answer.closes()), (status, false), "{body:?}: {}", answer.head);
    }
    for headers in ["content-encoding: gzip\r\n", "content-encoding: gzip\r\naccept-encoding: gzip\r\n"] {
        let zipped = gzip(ROW.as_bytes());
        let body = [format!("{:x}\r\n", zipped.len()).as_bytes(), &zipped, b"\r\n0\r\n\r\n"].concat();
        let answer = ask(&mut connection, post("/predict", &(headers.to_owned() + chunked), body)).await;
        assert_eq!((answer.status, answer.closes()), (200, false), "{headers}: {}", answer.head);
    }
}

#[tokio::test]
async fn answer_that_might_have_been_compressed_has_a_length_and_keeps_the_connection() {
    let server = TestServer::serving("iris").await;
    let mut connection = server.connect().await;
    for accepted in ["gzip, deflate, br, zstd", "identity"] {
        let headers = format!("accept-encoding: {accepted}\r\ncontent-length: {}\r\n", ROW.len());
        let answer = ask(&mut connection, post("/predict", &headers, ROW)).await;
        assert_eq!((answer.status, answer.closes()), (200, false), "{}", answer.head);
        assert!(!answer.head.contains("transfer-encoding"), "{}", answer.head);
    }
}

#[tokio::test]
async fn client_that_waits_for_word_hears_to_go_on_before_it_sends_the_body() {
    let server = TestServer::serving("iris").await;
    for path in ["/predict", "/models/%69ris/predict"] {
        let mut connection = server.connect().await;
        let headers = format!("expect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n", ROW.len());
        connection.write(&post(path, &headers, "")).await.unwrap();
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        assert_eq!(connection.read_at_least(GO_ON.len()).await.unwrap(), GO_ON, "{path}");
        connection.write(ROW.as_bytes()).await.unwrap();
        let answer = connection.until_closed().await;
        assert!(answer.contains("\r\n\r\nHTTP/1.1 200 OK\r\n") && answer.contains("setosa"), "{path}: {answer}");
    }
}
