//! What outputs are, not what the graph declares of them, decides how rows are answered.

use onnxd::config::ServerConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{harness::TestServer, onnx};

const FLOAT: i32 = 1;

async fn serve(model: &[u8], manifest: &str, change: impl FnOnce(&mut ServerConfig)) -> (TestServer, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("m/1")).unwrap();
    std::fs::write(folder.path().join("m/1/model.onnx"), model).unwrap();
    std::fs::write(folder.path().join("m/model.toml"), manifest).unwrap();
    (TestServer::start_with(folder.path(), change).await, folder)
}

/// Asks natively for these rows, and checks the answer against what `/openapi.json` says of it.
async fn ask(server: &TestServer, rows: Value) -> Value {
    let answer = server.predict("/predict", &json!({"features": rows}).to_string()).await;
    let document = server.get_json("/openapi.json").await;
    let schema = &document["components"]["schemas"]["m.Response"];
    assert!(schema.is_object(), "{}", document["components"]["schemas"]);
    let rooted = json!({"allOf": [schema], "components": document["components"]});
    let validator = jsonschema::draft202012::new(&rooted).unwrap();
    let problems: Vec<_> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{answer} does not fit {schema}: {problems:?}");
    answer
}

fn infer(shape: &[usize]) -> String {
    let data = vec![0.5; shape.iter().product()];
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]}).to_string()
}

#[tokio::test]
async fn targets_that_are_declared_as_one_value_are_a_list_a_row() {
    let (server, _folder) = serve(&onnx::declaring_one_of_two(), "", |_config| {}).await;
    assert_eq!(server.get_json("/models/m").await["task"], "regression");
    let answer = ask(&server, json!([[1, 2], [3, 4], [5, 6]])).await;
    let expected = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].map(|values| json!({"prediction": values}));
    assert_eq!(answer["predictions"], json!(expected));
    assert_eq!(ask(&server, json!([1, 2])).await["prediction"], json!([1.0, 2.0]));
    let error = server.refuse("/v1/models/m:regress", r#"{"examples":[{"x":[1,2]}]}"#, 400).await;
    assert!(error.contains("Was: tensorflow/serving/predict"), "{error}");
    let metadata = server.get_json("/v2/models/m").await;
    assert_eq!(metadata["outputs"][0]["shape"], json!([-1, 2]));
}

#[tokio::test]
async fn several_values_a_row_are_a_regression_where_model_toml_says_so() {
    let model = onnx::identity(FLOAT, &[-1, 2]);
    let (server, _folder) = serve(&model, "", |_config| {}).await;
    let details = server.get_json("/models/m").await;
    assert_eq!(details["task"], "raw");
    let reason = details["task_reason"].as_str().unwrap();
    assert!(reason.starts_with(r#"output "y" has 2 values a row: [output] prediction_name"#), "{reason}");
    assert_eq!(ask(&server, json!([[1, 2]])).await["outputs"]["y"], json!([[1.0, 2.0]]));

    let (server, _folder) = serve(&model, "output.prediction_name = \"price\"", |_config| {}).await;
    let answer = ask(&server, json!([1, 2])).await;
    assert_eq!((&answer["prediction"], &answer["price"]), (&json!([1.0, 2.0]), &json!([1.0, 2.0])));
}

#[tokio::test]
async fn labels_that_do_not_exclude_each_other_are_all_named() {
    let (server, _folder) = serve(&onnx::multi_label(), r#"classes.names = ["a", "b", "c"]"#, |_config| {}).await;
    assert_eq!(server.get_json("/models/m").await["task"], "multi_label");
    let answer = ask(&server, json!([[0, -3, 2], [-1, -1, -1]])).await;
    let first = &answer["predictions"][0];
    assert_eq!((&first["prediction"], &first["labels"]), (&json!([0, 0, 1]), &json!(["c"])));
    assert_eq!(first["probabilities"]["a"], 0.5);
    assert_eq!(answer["predictions"][1]["labels"], json!([]));
    let both = ask(&server, json!([1, -1, 1])).await;
    assert_eq!((&both["labels"], &both["prediction"]), (&json!(["a", "c"]), &json!([1, 0, 1])));
    assert!(both["probabilities"]["c"].as_f64().unwrap() > 0.7, "{both}");
}

#[tokio::test]
async fn outputs_without_an_axis_of_rows_are_answered_as_they_are() {
    for (model, columns) in [(onnx::reshaping(2, 1), 2), (onnx::mean_of_rows(false), 4)] {
        let (server, _folder) = serve(&model, "", |_config| {}).await;
        let details = server.get_json("/models/m").await;
        assert_eq!(details["task"], "raw", "{details}");
        let reason = details["task_reason"].as_str().unwrap();
        assert!(reason.contains("axis 0 does not count rows"), "{reason}");
        let rows = vec![vec![1.0; columns]; 3];
        let answer = ask(&server, json!(rows)).await;
        assert!(answer["outputs"]["y"].is_array() && answer.get("predictions").is_none(), "{answer}");
        let operation = server.get_json("/openapi.json").await["paths"]["/models/m/predict"]["post"].take();
        assert!(operation["description"].as_str().unwrap().contains(reason), "{operation}");

        let error = server.refuse("/v1/models/m:predict", json!({"instances": rows}).to_string(), 400).await;
        assert_eq!(error, "Tensor name: y has no axis of rows: ask with 'inputs'");
        let table = json!({"dataframe_split": {"data": rows}}).to_string();
        let response = server.request(reqwest::Method::POST, "/invocations").header("content-type", "application/json");
        let response = response.body(table).send().await.unwrap();
        assert_eq!(response.status(), 400);
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"], r#"output "y" has no axis of rows: ask with "inputs""#);
    }
}

#[tokio::test]
async fn only_rows_are_limited_by_max_rows() {
    // Samples that meet in a run are no rows.
    let (server, _folder) = serve(&onnx::sorting_rows(), "", |config| config.limits.max_rows = 2).await;
    server.predict("/v2/models/m/infer", &infer(&[3])).await;
    assert_eq!(server.get_json("/v2/models/m/config").await["max_batch_size"], 0);

    let (server, _folder) = serve(&onnx::identity(FLOAT, &[-1, 2]), "", |config| config.limits.max_rows = 2).await;
    let error = server.refuse("/v2/models/m/infer", infer(&[3, 2]), 413).await;
    assert_eq!(error, "expected at most 2 rows (--max-rows), but got 3: send them in several requests");
    assert_eq!(server.get_json("/v2/models/m/config").await["max_batch_size"], 64);
}
