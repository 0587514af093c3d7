//! What TensorFlow Serving refuses, in its words, with the status that it gives.

use reqwest::Method;

use crate::harness::{TestServer, error_text};

#[tokio::test]
async fn malformed_bodies_are_refused_in_tensorflow_servings_words() {
    let server = TestServer::start().await;
    let cases = [
        ("iris", "", "Request must be JSON: the body is empty"),
        ("iris", "{", "Request must be JSON"),
        ("iris", "[]", "JSON Value: Is not object"),
        ("iris", "5", "JSON Value: Is not object"),
        ("iris", "{}", "Missing 'inputs' or 'instances' key"),
        ("iris", r#"{"examples":[]}"#, "Missing 'inputs' or 'instances' key"),
        ("iris", r#"{"instances":[]}"#, "No values in 'instances' array"),
        ("iris", r#"{"instances":{}}"#, "Expecting 'instances' to be an list/array"),
        ("iris", r#"{"instances":[[1,2,3,4]],"inputs":[[1,2,3,4]]}"#, "expecting only one of 'inputs' or 'instances'"),
        ("iris", r#"{"inputs":[[1,2,3,4]],"instances":[[1,2,3,4]]}"#, "expecting only one of 'inputs' or 'instances'"),
        ("iris", r#"{"instances":[[1,2,3,4]],"instances":[[1,2,3,4]]}"#, "duplicate key"),
        ("iris", r#"{"signature_name":1,"instances":[[1,2,3,4]]}"#, "'signature_name' key must be a string value"),
        (
            "iris",
            r#"{"signature_name":"other","instances":[[1,2,3,4]]}"#,
            r#"Serving signature name: "other" not found"#,
        ),
        ("iris", r#"{"instances":[[1,2,3,4],[1,2,3]]}"#, "Encountered list at unexpected size"),
        ("iris", r#"{"instances":[[1,2,3]]}"#, "Encountered list at unexpected size"),
        ("iris", r#"{"instances":[1,2]}"#, "at [0]: expected a list, each element a number for FP32"),
        ("iris", r#"{"instances":[[[1,2,3,4]]]}"#, "expected"),
        ("iris", r#"{"instances":[[true,2,3,4]]}"#, "expected a number for FP32, but got true"),
        ("iris", r#"{"instances":[["1",2,3,4]]}"#, r#"expected a number for FP32, but got "1""#),
        ("iris", r#"{"instances":[[1e39,2,3,4]]}"#, "out of range for FP32"),
        ("iris", r#"{"instances":[{"features":[1,2,3,4]},[1,2,3,4]]}"#, "Expecting object but got list at item 1"),
        ("iris", r#"{"instances":[[1,2,3,4],{"features":[1,2,3,4]}]}"#, "but got an object"),
        ("iris", r#"{"instances":[{"other":[1,2,3,4]}]}"#, "Failed to process element: 0 of 'instances' list"),
        ("iris", r#"{"instances":[{"features":[1,2,3,4],"other":1}]}"#, "keys must be equal to: features"),
        ("iris", r#"{"instances":[{}]}"#, r#"key "features" is missing"#),
        ("iris", r#"{"instances":[{"features":[1,2,3,4],"features":[1,2,3,4]}]}"#, "duplicate key"),
        ("iris", r#"{"instances":[{"features":[1,2,3]}]}"#, "Failed to process element: 0 key: features"),
        ("iris", r#"{"inputs":{"other":[[1,2,3,4]]}}"#, "Missing named input: features in 'inputs' object"),
        ("ride_duration", r#"{"instances":[[1,2,3]]}"#, "instances is a plain list, but expecting list of objects"),
        ("ride_duration", r#"{"inputs":[[1]]}"#, "inputs is a plain value/list, but expecting an object"),
        (
            "ride_duration",
            r#"{"inputs":{"PULocationID":[1,2],"DOLocationID":[1],"trip_distance":[1]}}"#,
            "expected 2 rows",
        ),
        (
            "ride_duration",
            r#"{"instances":[{"PULocationID":1.5,"DOLocationID":1,"trip_distance":1}]}"#,
            "Failed to process element: 0 key: PULocationID",
        ),
        ("text", r#"{"instances":[{"text":{"b64":"?"}}]}"#, "Unable to base64 decode"),
        ("text", r#"{"instances":[[{"b64":1}]]}"#, "with nothing else in it"),
        ("text", r#"{"instances":[[5]]}"#, "expected a string for BYTES, but got 5"),
    ];
    for (model, body, expected) in cases {
        let error = server.refuse(&format!("/v1/models/{model}:predict"), body, 400).await;
        assert!(error.contains(expected), "{body}: {error}");
    }
}

#[tokio::test]
async fn unknown_models_and_versions_are_told_as_servables() {
    let server = TestServer::start().await;
    let body = r#"{"instances":[[1,2,3,4]]}"#;
    for (path, status, expected) in [
        ("/v1/models/rose:predict", 404, "Servable not found for request: Latest(rose)"),
        ("/v1/models/iris/versions/9:predict", 404, "Servable not found for request: Specific(iris, 9)"),
        ("/v1/models/iris/labels/stable:predict", 400, r#"Unrecognized servable version label: "stable""#),
        ("/v1/models/rose/labels/stable:predict", 404, "Servable not found for request: Latest(rose)"),
        ("/v1/models/iris:explain", 501, "iris:explain: explanations are not supported"),
        ("/v1/models/iris", 400, "Malformed request: POST /v1/models/iris"),
        ("/v1/models/iris:train", 400, "Malformed request: POST /v1/models/iris:train"),
        ("/v1/models/iris/versions/one:predict", 400, "Malformed request: POST /v1/models/iris/versions/one:predict"),
        ("/v1/models/iris/versions/:predict", 400, "Malformed request: POST /v1/models/iris/versions/:predict"),
        ("/v1/models", 405, "method POST is not allowed here"),
        ("/v1/nothing", 400, "Malformed request: POST /v1/nothing"),
        ("/v1/models/iris:predict/nothing", 400, "Malformed request: POST"),
    ] {
        let error = server.refuse(path, body, status).await;
        assert!(error.starts_with(expected), "{path}: {error}");
    }
}

#[tokio::test]
async fn paths_that_can_only_be_posted_to_are_malformed_when_got() {
    let server = TestServer::start().await;
    for path in ["/v1/models/iris:predict", "/v1/models/iris/versions/1:predict", "/v1/models/iris/nothing", "/v1/"] {
        let response = server.request(Method::GET, path).send().await.unwrap();
        let status = if path == "/v1/" { 404 } else { 400 };
        let error = error_text(response, status).await;
        assert!(status == 404 || error.starts_with("Malformed request: GET /v1/models/iris"), "{path}: {error}");
    }
}

#[tokio::test]
async fn hostile_bodies_are_refused_and_the_server_lives() {
    let server = TestServer::start().await;
    let bodies = [
        "[".repeat(1_000_000),
        format!(r#"{{"instances":{}"#, "[".repeat(1_000_000)),
        format!(r#"{{"inputs":{}"#, r#"{"a":"#.repeat(200_000)),
        format!(r#"{{"instances":[{}"#, r#"{"features":"#.repeat(200_000)),
        format!(r#"{{"unknown":{}"#, "[".repeat(100_000)),
        format!(r#"{{"instances":[{{"features":{}]}}"#, "[".repeat(100_000)),
    ];
    for body in bodies {
        server.refuse("/v1/models/iris:predict", body, 400).await;
    }
    server.predict("/v1/models/iris:predict", r#"{"instances":[[1,2,3,4]]}"#).await;
}
