//! TensorFlow Serving's REST API: every form of request, and answers in the form of the request.

use onnxd::tensor::data_type::DataType;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::TestServer,
    identity::{element_type, serve_model},
    onnx::{self, Through},
};

const ROWS: &str = "[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]";

/// Returns label and probabilities of both rows, as the native API answers them.
async fn native_iris(server: &TestServer) -> (Value, Value) {
    let native = server.predict("/models/iris/predict", &format!(r#"{{"features":{ROWS}}}"#)).await;
    let rows = native["predictions"].as_array().unwrap();
    let labels = rows.iter().map(|row| row["prediction"].clone()).collect();
    let probabilities =
        rows.iter().map(|row| row["probabilities"].as_object().unwrap().values().cloned().collect::<Value>());
    (labels, probabilities.collect())
}

#[tokio::test]
async fn rows_come_back_as_rows_and_columns_as_columns_with_the_native_numbers() {
    let server = TestServer::start().await;
    let (labels, probabilities) = native_iris(&server).await;
    let by_row = |row: usize| json!({"label": labels[row], "probabilities": probabilities[row]});
    let rows = json!({"predictions": [by_row(0), by_row(1)]});
    let columns = json!({"outputs": {"label": labels, "probabilities": probabilities}});
    for (body, expected) in [
        (format!(r#"{{"instances":{ROWS}}}"#), &rows),
        (r#"{"instances":[{"features":[5.1,3.5,1.4,0.2]},{"features":[6.3,3.3,6,2.5]}]}"#.to_owned(), &rows),
        (format!(r#"{{"signature_name":"serving_default","instances":{ROWS}}}"#), &rows),
        (format!(r#"{{"instances":{ROWS},"signature_name":"","unknown":[{{}}]}}"#), &rows),
        (format!(r#"{{"inputs":{ROWS}}}"#), &columns),
        (format!(r#"{{"inputs":{{"features":{ROWS}}}}}"#), &columns),
        (format!(r#"{{"inputs":{{"other":[1],"features":{ROWS}}}}}"#), &columns),
    ] {
        for path in ["/v1/models/iris:predict", "/v1/models/iris/versions/1:predict", "/v1/models/iris%3Apredict"] {
            assert_eq!(server.predict(path, &body).await, *expected, "{path} {body}");
        }
    }
}

#[tokio::test]
async fn verbs_have_no_case_and_what_follows_the_document_is_passed_over() {
    let server = TestServer::start().await;
    let body = format!(r#"{{"instances":{ROWS}}}"#);
    let expected = server.predict("/v1/models/iris:predict", &body).await;
    assert_eq!(server.predict("/v1/models/iris:PREDICT", &body).await, expected);
    assert_eq!(server.predict("/v1/models/iris:predict", &format!("\u{feff}{body}\n}}")).await, expected);
}

#[tokio::test]
async fn one_output_is_bare() {
    let server = TestServer::start().await;
    let native = server
        .predict("/models/ride_duration/predict", r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#)
        .await;
    let duration = native["prediction"].clone();
    for (body, expected) in [
        (
            json!({"instances": [{"PULocationID": [100], "DOLocationID": [200], "trip_distance": [3.5]}]}),
            json!({"predictions": [[duration]]}),
        ),
        // A column of rank 2 takes its rows without brackets too.
        (
            json!({"instances": [{"trip_distance": 3.5, "PULocationID": 100, "DOLocationID": 200}]}),
            json!({"predictions": [[duration]]}),
        ),
        (
            json!({"inputs": {"PULocationID": [[100]], "DOLocationID": [[200]], "trip_distance": [[3.5]]}}),
            json!({"outputs": [[duration]]}),
        ),
        (
            json!({"inputs": {"PULocationID": [100], "DOLocationID": [200], "trip_distance": [3.5]}}),
            json!({"outputs": [[duration]]}),
        ),
    ] {
        let answer = server.predict("/v1/models/ride_duration:predict", &body.to_string()).await;
        assert_eq!(answer, expected, "{body}");
    }
}

#[tokio::test]
async fn maps_of_classes_come_as_a_row_of_numbers() {
    let server = TestServer::start().await;
    let native = server.predict("/models/iris_zipmap/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    let answer = server.predict("/v1/models/iris_zipmap:predict", r#"{"instances":[[5.1,3.5,1.4,0.2]]}"#).await;
    let probabilities: Value = native["probabilities"].as_object().unwrap().values().cloned().collect();
    assert_eq!(
        answer,
        json!({"predictions": [{"output_label": native["prediction"], "output_probability": probabilities}]})
    );
}

#[tokio::test]
async fn tensors_of_any_rank_go_by_row_and_by_column() {
    let server = TestServer::start().await;
    let golden = onnxd::model::golden::read_beside(&crate::harness::models("digits/1/model.onnx")).unwrap();
    let request: Value = serde_json::from_str(golden[0].request.get()).unwrap();
    let images = &request["inputs"]["image"];
    let native = server.predict("/models/digits/predict", golden[0].request.get()).await;
    let scores = &native["outputs"]["scores"];
    let ask = async |body: Value| server.predict("/v1/models/digits:predict", &body.to_string()).await;
    assert_eq!(ask(json!({"instances": images})).await, json!({"predictions": scores}));
    assert_eq!(ask(json!({"inputs": images})).await, json!({"outputs": scores}));
    let objects: Vec<_> = images.as_array().unwrap().iter().map(|image| json!({"image": image})).collect();
    assert_eq!(ask(json!({"instances": objects})).await, json!({"predictions": scores}));
}

#[tokio::test]
async fn strings_may_be_base64_and_outputs_of_bytes_are() {
    let bytes = element_type(DataType::Bytes);
    let server = serve_model(&onnx::all_through(&[
        Through { input: "text", output: "text_out", element_type: bytes, dims: &[-1] },
        Through { input: "image", output: "image_bytes", element_type: bytes, dims: &[-1] },
    ]))
    .await;
    let ask = async |body: Value| server.predict("/v1/models/model:predict", &body.to_string()).await;
    let answer = ask(
        json!({"instances": [{"text": "aGk=", "image": {"b64": "AP8="}}, {"text": {"b64": "aGk="}, "image": "hi"}]}),
    )
    .await;
    assert_eq!(
        answer,
        json!({"predictions": [
            {"text_out": "aGk=", "image_bytes": {"b64": "AP8="}},
            {"text_out": "hi", "image_bytes": {"b64": "aGk="}},
        ]})
    );
    let answer = ask(json!({"inputs": {"text": ["a"], "image": [{"b64": "AP8"}]}})).await;
    assert_eq!(answer, json!({"outputs": {"text_out": ["a"], "image_bytes": [{"b64": "AP8="}]}}));
    let refused =
        server.refuse("/v1/models/model:predict", r#"{"inputs":{"text":[{"b64":"AP8="}],"image":[""]}}"#, 400).await;
    assert!(refused.contains("text_out") && refused.contains("UTF-8"), "{refused}");
}

#[tokio::test]
async fn the_only_string_may_be_base64_alone() {
    let bytes = element_type(DataType::Bytes);
    let through = |dims| [Through { input: "x", output: "y", element_type: bytes, dims }];
    let server = serve_model(&onnx::all_through(&through(&[-1]))).await;
    let answer = server.predict("/v1/models/model:predict", r#"{"instances":[{"b64":"aGk="},"a"]}"#).await;
    assert_eq!(answer, json!({"predictions": ["hi", "a"]}));
    let server = serve_model(&onnx::all_through(&through(&[]))).await;
    let answer = server.predict("/v1/models/model:predict", r#"{"inputs":{"b64":"aGk="}}"#).await;
    assert_eq!(answer, json!({"outputs": "hi"}));
}

#[tokio::test]
async fn what_json_has_no_number_for_goes_in_and_out_as_tokens() {
    let float = element_type(DataType::Fp32);
    let model = onnx::all_through(&[Through { input: "x", output: "y", element_type: float, dims: &[-1, -1] }]);
    let server = serve_model(&model).await;
    let numbers = "[[NaN,Infinity,-Infinity,-0.0,3.4028235e+38,1e-45]]";
    for (form, answer) in [("instances", "predictions"), ("inputs", "outputs")] {
        let response = server.post("/v1/models/model:predict", format!(r#"{{"{form}":{numbers}}}"#)).await;
        let text = response.text().await.unwrap();
        assert_eq!(text, format!(r#"{{"{answer}":{numbers}}}"#));
    }
}

#[tokio::test]
async fn scalars_and_empty_tensors_have_columns() {
    let integer = element_type(DataType::Int64);
    let server = serve_model(&onnx::all_through(&[
        Through { input: "scalar", output: "s", element_type: integer, dims: &[] },
        Through { input: "list", output: "l", element_type: integer, dims: &[-1, 2] },
    ]))
    .await;
    let answer = server.predict("/v1/models/model:predict", r#"{"inputs":{"scalar":5,"list":[]}}"#).await;
    assert_eq!(answer, json!({"outputs": {"s": 5, "l": []}}));
    // A single row is the scalar, but there are no rows to answer by.
    let refused = server.refuse("/v1/models/model:predict", r#"{"instances":[{"scalar":5,"list":[1,2]}]}"#, 400).await;
    assert!(refused.starts_with("Tensor name: s has no shape information"), "{refused}");
}

#[tokio::test]
async fn outputs_of_different_rows_are_no_rows() {
    let float = element_type(DataType::Fp32);
    let server = serve_model(&onnx::all_through(&[
        Through { input: "a", output: "y", element_type: float, dims: &[-1, -1, 1] },
        Through { input: "b", output: "z", element_type: float, dims: &[2] },
    ]))
    .await;
    let (path, body) = ("/v1/models/model:predict", r#"{"inputs":{"a":[[[1]]],"b":[1,2]}}"#);
    assert_eq!(server.predict(path, body).await, json!({"outputs": {"y": [[[1.0]]], "z": [1.0, 2.0]}}));
}

#[tokio::test]
async fn answers_name_their_model_in_the_log_and_metrics_count_them() {
    let server = TestServer::start().await;
    let rows = r#"model_predictions_total{model="iris",version="1"}"#;
    let before = server.metric(rows).await;
    server.predict("/v1/models/iris:predict", &format!(r#"{{"instances":{ROWS}}}"#)).await;
    assert_eq!(server.metric(rows).await - before, 2.0);
    let route = r#"http_requests_total{method="POST",path="/v1/models/{model}",status="200"}"#;
    assert_eq!(server.metric(route).await, 1.0);
    let put = server.request(Method::PUT, "/v1/models/iris:predict").send().await.unwrap();
    assert_eq!(put.status(), 405);
}
