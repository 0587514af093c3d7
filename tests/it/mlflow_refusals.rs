//! What MLflow refuses, and the body that its clients find the reason in, whoever refused.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::{
    fake_server::Fake,
    harness::{TestServer, models},
    mlflow::invoke,
};

/// Checks the body of an error, and returns its message.
async fn message(response: Response, status: u16, error_code: &str) -> String {
    assert_eq!(response.headers()["content-type"], "application/json");
    let got = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert_eq!(got, status, "{body}");
    assert_eq!(body["error_code"], error_code, "{body}");
    assert_eq!(body["message"], body["error"], "{body}");
    assert!(body["code"].is_string() && body["request_id"].is_string(), "{body}");
    body["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn malformed_bodies_are_refused_in_mlflows_words() {
    let server = TestServer::serving("iris").await;
    for (body, expected) in [
        ("", "Request must be JSON: the body is empty"),
        ("{", "Request must be JSON"),
        ("[1", "Request must be JSON"),
        ("[]", "The input must be a JSON dictionary with exactly one of the input fields"),
        ("5", "The input must be a JSON dictionary with exactly one of the input fields"),
        ("{}", "The input must be a JSON dictionary with exactly one of the input fields"),
        (r#"{"rows":[]}"#, "The input must be a JSON dictionary with exactly one of the input fields"),
        (r#"{"inputs":[[1,2,3,4]],"instances":[[1,2,3,4]]}"#, "Received several of them"),
        (r#"{"dataframe_records":[[1,2,3,4]],"dataframe_split":{}}"#, "Received several of them"),
        (r#"{"inputs":[[1,2,3,4]]} 5"#, "Request must be JSON"),
        (r#"{"dataframe_split":[]}"#, "Dataframe split format must be a dictionary"),
        (r#"{"dataframe_split":{"columns":["a"]}}"#, "Dataframe split format must have 'data' field"),
        (r#"{"dataframe_split":{"data":[[1,2,3,4]],"names":[]}}"#, r#"and 'index' fields. Got "names""#),
        (r#"{"dataframe_split":{"columns":["a"],"data":[[1]]}}"#, "Expected 4 columns, but got 1"),
        (r#"{"dataframe_split":{"columns":"a","data":[[1]]}}"#, "expected a list of names"),
        (r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":5}}"#, "expected a list of rows"),
        (r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":[5]}}"#, "expected a row: a list of values"),
        (
            r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":[[1,2,3]]}}"#,
            "row 0: Expected 4 features, but got 3",
        ),
        (r#"{"dataframe_split":{"columns":["a","b","c","c"],"data":[[1,2,3,4]]}}"#, r#"duplicate column "c""#),
        (
            r#"{"dataframe_split":{"columns":["sepal_length","b","c","d"],"data":[[1,2,3,4]]}}"#,
            r#"unknown column "b" beside 1 known"#,
        ),
        (r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":[]}}"#, "expected at least one row"),
        (r#"{"dataframe_split":{"columns":["a","b","c","d"],"data":[[1,2,3,4]],"data":[[1,2,3,4]]}}"#, "duplicate key"),
        (r#"{"dataframe_records":{"a":1}}"#, "Dataframe records format must be a list of records"),
        (r#"{"dataframe_records":[]}"#, "expected at least one row"),
        (r#"{"dataframe_records":[{"a":1,"b":2,"c":3,"d":4},{"a":1}]}"#, r#"row 1: key "b" is missing"#),
        (r#"{"dataframe_records":[{"a":1,"b":2,"c":3,"d":4},[1,2,3,4]]}"#, "row 1: expected an object"),
        (r#"{"dataframe_records":[{"a":1,"b":2,"c":3,"d":"x"}]}"#, r#"row 0, column "d": expected a number for FP32"#),
        (r#"{"dataframe_records":[[1,2,3,4],[1,2,3]]}"#, "row 1: Expected 4 features, but got 3"),
        (r#"{"dataframe_records":[[[1],[2]]]}"#, "row 0, column 0: expected a number for FP32"),
        (r#"{"inputs":{"other":[[1,2,3,4]]}}"#, r#"unknown input "other""#),
        (r#"{"inputs":{"features":[[1,2,3,4]],"other":1}}"#, r#"unknown input "other""#),
        (r#"{"inputs":{}}"#, "Missing named input: features"),
        (r#"{"inputs":[[1,2,3]]}"#, "expected 4 values, but got 3"),
        (r#"{"inputs":[["a","b","c","d"]]}"#, "expected a number for FP32"),
        (r#"{"instances":[]}"#, "No values in 'instances' array"),
    ] {
        let text = message(invoke(&server, Some("application/json"), body).await, 400, "BAD_REQUEST").await;
        assert!(text.contains(expected), "{body}: {text}");
    }
}

#[tokio::test]
async fn several_inputs_need_columns_with_their_names() {
    let server = TestServer::serving("ride_duration").await;
    for (body, expected) in [
        (r#"{"dataframe_records":[[1,2,3]]}"#, "expected columns with the names of the model's inputs"),
        (r#"{"dataframe_split":{"data":[[1,2,3]]}}"#, "expected columns with the names of the model's inputs"),
        (r#"{"dataframe_records":[{"PULocationID":1,"DOLocationID":2}]}"#, r#"column "trip_distance" is missing"#),
        (r#"{"inputs":[[1]]}"#, "expecting an object as multiple input tensors required"),
    ] {
        let text = message(invoke(&server, None, body).await, 400, "BAD_REQUEST").await;
        assert!(text.contains(expected), "{body}: {text}");
    }
}

#[tokio::test]
async fn content_types_that_are_not_taken_are_415() {
    let server = TestServer::serving("iris").await;
    for (content_type, expected) in [
        ("application/json; charset=latin-1", "The scoring server only supports UTF-8"),
        ("application/json; format=pandas-split", "Unrecognized content type parameters: format"),
        ("application/x-www-form-urlencoded", "This predictor only supports the following content types"),
        ("application/vnd.apache.parquet", "This predictor only supports the following content types"),
    ] {
        let response = invoke(&server, Some(content_type), r#"{"inputs":[[1,2,3,4]]}"#).await;
        let text = message(response, 415, "BAD_REQUEST").await;
        assert!(text.starts_with(expected), "{content_type}: {text}");
    }
}

#[tokio::test]
async fn without_a_default_model_there_is_nothing_to_ask() {
    let server = TestServer::start_with(models(""), |_| {}).await;
    let text = message(invoke(&server, None, r#"{"inputs":[[1]]}"#).await, 404, "RESOURCE_DOES_NOT_EXIST").await;
    assert!(text.contains("there is no default model") && text.contains("--default-model"), "{text}");
    message(server.get("/ping").await, 404, "RESOURCE_DOES_NOT_EXIST").await;
}

#[tokio::test]
async fn errors_of_the_layers_have_the_same_body() {
    let server = TestServer::start_with(models("iris"), |config| config.limits.max_body_bytes = 64).await;
    for path in ["/invocations", "/ping", "/version"] {
        let response = server.request(Method::DELETE, path).send().await.unwrap();
        assert!(response.headers().contains_key("allow"));
        message(response, 405, "BAD_REQUEST").await;
    }
    message(invoke(&server, None, &format!("[{}]", "1,".repeat(100))).await, 413, "BAD_REQUEST").await;
    let request = server.request(Method::POST, "/invocations").header("content-encoding", "br").body("{}");
    let text = message(request.send().await.unwrap(), 415, "BAD_REQUEST").await;
    assert!(text.contains("content-encoding"), "{text}");
    // Elsewhere nothing has changed.
    let elsewhere: Value = server.request(Method::DELETE, "/predict").send().await.unwrap().json().await.unwrap();
    assert_eq!(elsewhere.as_object().unwrap().keys().collect::<Vec<_>>(), ["error", "code", "request_id"]);
}

#[tokio::test]
async fn deadlines_and_full_queues_are_told_in_the_same_body() {
    let fake = Fake::start("[batching]\nmax_queue_size = 1", |config| config.limits.max_in_flight = 1).await;
    fake.control.close_gate();
    let body = r#"{"dataframe_records":[{"a":1,"b":2}]}"#;
    let request = fake.server.request(Method::POST, "/invocations").header("x-request-timeout-ms", 50).body(body);
    let held = fake.post_on_connection().await;
    fake.until_in_flight(1).await;
    message(invoke(&fake.server, None, body).await, 429, "RESOURCE_EXHAUSTED").await;
    drop(held);
    fake.until_in_flight(0).await;
    message(request.send().await.unwrap(), 504, "DEADLINE_EXCEEDED").await;
    fake.control.open_gate();
}

#[tokio::test]
async fn bodies_that_are_no_text_are_malformed() {
    let server = TestServer::serving("text").await;
    let request =
        server.request(Method::POST, "/invocations").header("content-type", "application/json; charset=utf-8");
    let response = request.body(&b"{\"inputs\":[\"\xff\"]}"[..]).send().await.unwrap();
    let text = message(response, 400, "BAD_REQUEST").await;
    assert!(text.starts_with("Request must be JSON") && text.contains("UTF-8"), "{text}");
}
