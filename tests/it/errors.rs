//! What a client did wrong, and how it is told: status, code, words, and the request's id.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::harness::{TestServer, error_text};

const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;

async fn send(server: &TestServer, method: Method, path: &str) -> Response {
    server.request(method, path).send().await.unwrap()
}

#[tokio::test]
async fn what_is_not_json_is_told_so() {
    let server = TestServer::serving("iris").await;
    for body in [
        "",
        " \n",
        "features=5.1",
        "{",
        "{'features':[1,2,3,4]}",
        r#"{"features":[1,2,3,4]"#,
        r#"{"features":[1,2,3,]}"#,
        r#"{"features":[1,2,3,4]}}"#,
        r#"{"features":[1,2,3,4]} {}"#,
        r#"{"features":[01,2,3,4]}"#,
        r#"{"features":[.5,2,3,4]}"#,
        r#"{"features":[+1,2,3,4]}"#,
        r#"{"features":[1,2,3,nan]}"#,
        r#"{"features":[1,2,3,0x10]}"#,
        "{\"features\":[1,2,3,4]}\0",
        "<features>1</features>",
    ] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.starts_with("Request must be JSON"), "{body:?}: {error}");
    }
}

#[tokio::test]
async fn byte_order_mark_is_passed_over() {
    let server = TestServer::serving("iris").await;
    assert_eq!(server.predict("/predict", &format!("\u{feff}{ROW}")).await["prediction"], 0);
    server.predict("/v1/models/iris:predict", "\u{feff}{\"instances\":[[1,2,3,4]]}").await;
    let input = r#"{"name":"features","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}"#;
    server.predict("/v2/models/iris/infer", &format!("\u{feff}{{\"id\":\"a\",\"inputs\":[{input}]}}")).await;
}

#[tokio::test]
async fn json_that_is_no_object_is_told_what_is_expected() {
    let server = TestServer::serving("iris").await;
    for body in ["[]", "[1,2,3,4]", "5.1", "null", "true", r#""features""#, "NaN", "{}"] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.contains("expected an object") && error.contains("features"), "{body:?}: {error}");
    }
}

#[tokio::test]
async fn unknown_path_is_a_404_wherever_it_is() {
    let server = TestServer::serving("iris").await;
    let paths =
        ["/nothing", "/predict/", "/models/iris/nothing", "/health/nothing", "//", "/models/iris/versions/1", "/%00"];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let error = error_text(send(&server, method.clone(), path).await, 404).await;
            assert!(error.contains(method.as_str()), "{path}: {error}");
        }
    }
}

#[tokio::test]
async fn unknown_model_is_a_404_that_names_those_there_are() {
    let server = TestServer::serving("iris").await;
    for path in ["/models/rose/predict", "/models/rose/versions/1/predict"] {
        let error = server.refuse(path, ROW, 404).await;
        assert!(error.contains("rose") && error.contains("iris"), "{error}");
    }
    let error = error_text(server.get("/models/rose").await, 404).await;
    assert!(error.contains("rose") && error.contains("iris"), "{error}");
}

#[tokio::test]
async fn unknown_version_is_a_404_that_names_those_there_are() {
    let server = TestServer::serving("iris").await;
    for version in ["2", "0", "01", "-1", "one", "99999999999999999999"] {
        let error = server.refuse(&format!("/models/iris/versions/{version}/predict"), ROW, 404).await;
        assert!(error.contains(version) && error.ends_with("it has 1"), "{error}");
    }
}

#[tokio::test]
async fn path_that_is_no_text_is_told_so() {
    let server = TestServer::serving("iris").await;
    for path in ["/models/%ff/predict", "/models/iris/versions/%FF/predict"] {
        let error = server.refuse(path, ROW, 400).await;
        assert_eq!(error, format!("the path {path:?} is not UTF-8 once its percent signs are decoded"));
    }
    let error = error_text(server.get("/models/%ff").await, 400).await;
    assert!(error.contains("is not UTF-8"), "{error}");
}

#[tokio::test]
async fn wrong_method_is_a_405_with_the_right_ones() {
    let server = TestServer::serving("iris").await;
    let gets = ["/", "/models", "/models/iris", "/health", "/health/live", "/health/ready", "/metrics"];
    let posts = ["/predict", "/models/iris/predict", "/models/iris/versions/1/predict"];
    let wrong =
        gets.map(|path| (path, Method::POST, "GET")).into_iter().chain(posts.map(|path| (path, Method::GET, "POST")));
    for (path, wrong, right) in wrong {
        for method in [wrong, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let response = send(&server, method.clone(), path).await;
            let allow = response.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned());
            let allow = allow.unwrap_or_else(|| panic!("{method} {path} has no allow header"));
            assert!(allow.split(',').any(|allowed| allowed.trim() == right), "{method} {path}: {allow}");
            let error = error_text(response, 405).await;
            assert_eq!(error, format!("method {method} is not allowed here; see the allow header"));
        }
    }
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let server = TestServer::serving("iris").await;
    let id = |response: &Response| response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let responses = [
        server.get("/health").await,
        server.get("/nothing").await,
        server.post("/predict", ROW).await,
        server.post("/predict", "{").await,
        send(&server, Method::DELETE, "/predict").await,
    ];
    let mut ids: Vec<_> = responses.iter().map(id).collect();
    assert!(ids.iter().all(|id| id.len() >= 16), "{ids:?}");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), responses.len());
}

#[tokio::test]
async fn sane_id_of_the_client_comes_back() {
    let server = TestServer::serving("iris").await;
    for id in ["abc-123", "018f3c2e-7b1a-7c3d-9e4f-5a6b7c8d9e0f", "trace:1/2+3=@host_4.5", "x"] {
        for (body, status) in [(ROW, 200), ("{", 400)] {
            let request = server.request(Method::POST, "/predict").header("x-request-id", id).body(body);
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()["x-request-id"], id);
            assert_eq!(response.status(), status);
        }
        let request = server.request(Method::GET, "/nothing").header("x-request-id", id);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(body["request_id"], id);
    }
}

#[tokio::test]
async fn id_that_is_not_sane_is_replaced() {
    let server = TestServer::serving("iris").await;
    let long = "x".repeat(129);
    for id in ["a b", "<script>", "a\"b", "{}", "a;b", "", &long] {
        let request = server.request(Method::GET, "/nothing").header("x-request-id", id);
        let response = request.send().await.unwrap();
        assert_ne!(response.headers()["x-request-id"], id);
        error_text(response, 404).await;
    }
}

#[tokio::test]
async fn error_of_head_has_no_body() {
    let server = TestServer::serving("iris").await;
    let response = send(&server, Method::HEAD, "/nothing").await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.text().await.unwrap(), "");
}
