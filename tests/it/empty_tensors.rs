//! Tensors without elements: operators that crash on them take no request with them, and others are served.

use onnxd::tensor::data_type::DataType;
use serde_json::json;

use crate::{
    harness::{TestServer, models},
    identity::{serve_identity, serve_model},
    onnx,
};

const INFER: &str = "/v2/models/model/infer";

fn input(shape: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":{shape},"data":[]}}]}}"#)
}

/// Counts the runs in the model's lane.
async fn runs(server: &TestServer, model: &str) -> f64 {
    let stage = format!(r#"prediction_stage_seconds_count{{model="{model}",stage="compute",version="1"}}"#);
    server.metric(&stage).await
}

#[tokio::test]
async fn operator_that_crashes_on_no_elements_is_tried_elsewhere_and_refused() {
    let server = serve_model(&onnx::lstm()).await;
    for _ in 0..2 {
        let error = server.refuse(INFER, input("[3,0,2]"), 400).await;
        assert_eq!(
            error,
            "input \"x\": expected at least one element along axis 1, got FP32 [3, 0, 2]: the model crashed on such an \
             input when onnxd tried it in a separate process"
        );
    }
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1,2],"data":[1,2]}]}"#;
    assert_eq!(server.predict(INFER, body).await["outputs"][0]["shape"], json!([1, 1, 1]));
    assert_eq!(runs(&server, "model").await, 1.0);
}

#[tokio::test]
async fn model_that_lived_on_no_elements_runs_them_in_its_lane() {
    let server = serve_identity(DataType::Fp32, &[-1, -1, 3]).await;
    let infer = "/v2/models/identity/infer";
    for (shape, runs_by_then) in
        [("[0,2,3]", 0.0), ("[0,2,3]", 1.0), ("[2,0,3]", 1.0), ("[0,5,3]", 2.0), ("[0,0,3]", 2.0)]
    {
        let answer = server.predict(infer, &input(shape)).await;
        assert_eq!(answer["outputs"][0]["shape"].to_string(), shape);
        assert_eq!(runs(&server, "identity").await, runs_by_then, "{shape}");
    }
}

#[tokio::test]
async fn no_rows_are_answered_without_a_run() {
    let server = TestServer::start_with(models("iris"), |_config| {}).await;
    for body in [r#"{"features":[]}"#, r#"{"instances":[]}"#, r#"{"inputs":{"features":[]}}"#, "[]"] {
        let response = server.post("/predict", body).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        println!("{body} {status} {text}");
    }
    for (path, body) in [
        ("/v2/models/iris/infer", r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[0,4],"data":[]}]}"#),
        ("/v1/models/iris:predict", r#"{"instances":[]}"#),
        ("/v1/models/iris:predict", r#"{"inputs":[]}"#),
        ("/invocations", r#"{"inputs":[]}"#),
        (
            "/invocations",
            r#"{"dataframe_split":{"columns":["sepal_length","sepal_width","petal_length","petal_width"],"data":[]}}"#,
        ),
    ] {
        let response = server.post(path, body).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        println!("{body} {status} {text}");
    }
    assert_eq!(runs(&server, "iris").await, 0.0);
}

#[tokio::test]
async fn no_rows_are_refused_where_the_outputs_are_not_known() {
    let server = serve_model(&onnx::mean_of_rows(true)).await;
    let error = server.refuse(INFER, input("[0,4]"), 400).await;
    assert_eq!(error, "expected at least 1 row, but got 0: the model leaves the shape of output \"y\" open");
}
