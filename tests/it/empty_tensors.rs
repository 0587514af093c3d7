//! Tensors without elements: operators that crash on them take no request with them, and others are served.

use onnxd::tensor::data_type::DataType;
use serde_json::json;

use crate::{
    harness::{TestServer, models},
    identity::{element_type, serve_model},
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
    let server = serve_model(&onnx::identity(element_type(DataType::Fp32), &[-1, -1, 3])).await;
    for (shape, runs_by_then) in
        [("[0,2,3]", 0.0), ("[0,2,3]", 1.0), ("[2,0,3]", 1.0), ("[0,5,3]", 2.0), ("[0,0,3]", 2.0)]
    {
        let answer = server.predict(INFER, &input(shape)).await;
        assert_eq!(answer["outputs"][0]["shape"].to_string(), shape);
        assert_eq!(runs(&server, "model").await, runs_by_then, "{shape}");
    }
}

#[tokio::test]
async fn no_rows_are_answered_without_a_run() {
    let server = TestServer::start_with(models("iris"), |_config| {}).await;
    let body = r#"{"inputs":{"features":[]}}"#;
    assert_eq!(server.predict("/predict", body).await["predictions"], json!([]));
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[0,4],"data":[]}]}"#;
    let outputs = server.predict("/v2/models/iris/infer", body).await["outputs"].clone();
    let shapes: Vec<_> = outputs.as_array().unwrap().iter().map(|output| output["shape"].clone()).collect();
    assert_eq!(shapes, [json!([0]), json!([0, 3])]);
    let columns = server.predict("/v1/models/iris:predict", r#"{"inputs":[]}"#).await;
    assert_eq!(columns, json!({"outputs": {"label": [], "probabilities": []}}));
    // Rows as such are refused by what is expected of them.
    server.refuse("/predict", r#"{"features":[]}"#, 400).await;
    server.refuse("/v1/models/iris:predict", r#"{"instances":[]}"#, 400).await;
    assert_eq!(runs(&server, "iris").await, 0.0);
}

#[tokio::test]
async fn no_rows_are_refused_where_the_outputs_are_not_known() {
    let server = serve_model(&onnx::mean_of_rows(true)).await;
    let error = server.refuse(INFER, input("[0,4]"), 400).await;
    assert_eq!(error, "expected at least 1 row, but got 0: the model leaves the shape of output \"y\" open");
}
