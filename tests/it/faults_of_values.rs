//! Values and shapes that a model cannot compute with: the client's fault, in ONNX Runtime's own words.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{harness::TestServer, onnx};

const FLOAT: i32 = 1;
const INT64: i32 = 7;

struct Served {
    server: TestServer,
    _folder: TempDir,
}

impl Served {
    async fn new(model: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m.onnx"), model).unwrap();
        Self { server: TestServer::start_with(folder.path(), |_config| {}).await, _folder: folder }
    }

    async fn refuse(&self, inputs: Value) -> String {
        self.server.refuse("/predict", json!({"inputs": inputs}).to_string(), 400).await
    }

    async fn answer(&self, inputs: Value) -> Value {
        self.server.predict("/predict", &json!({"inputs": inputs}).to_string()).await["outputs"]["y"].take()
    }
}

#[tokio::test]
async fn inputs_that_share_a_symbol_agree_before_the_run() {
    let served =
        Served::new(&onnx::of_two("MatMul", FLOAT, &["1", "n", "k"], &["1", "k", "m"], &["1", "n", "m"])).await;
    let error = served.refuse(json!({"a": [[[1, 2, 3]]], "b": [[[1], [2]]]})).await;
    assert_eq!(error, r#"input "b": expected 3 on axis 1 ("k"), as on axis 2 of input "a", but got 2"#);
    assert_eq!(served.answer(json!({"a": [[[1, 2]]], "b": [[[1], [2]]]})).await, json!([[[5.0]]]));

    let served = Served::new(&onnx::of_two("MatMul", FLOAT, &["1", "n", "n"], &["1", "", "2"], &["1", "n", "2"])).await;
    let error = served.refuse(json!({"a": [[[1, 2, 3]]], "b": [[[1, 1]]]})).await;
    assert_eq!(error, r#"input "a": expected 1 on axis 2 ("n"), as on axis 1, but got 3"#);
}

#[tokio::test]
async fn shapes_that_do_not_go_together_are_the_clients_fault() {
    let served = Served::new(&onnx::of_two("MatMul", FLOAT, &["1", "", ""], &["1", "", ""], &["1", "", ""])).await;
    let error = served.refuse(json!({"a": [[[1, 2, 3]]], "b": [[[1], [2]]]})).await;
    assert_eq!(error, "the model cannot run on this input: MatMul: MatMul dimension mismatch");

    let served = Served::new(&onnx::of_two("Add", FLOAT, &["1", "", ""], &["1", "", ""], &["1", "", ""])).await;
    let error = served.refuse(json!({"a": [[[1, 2, 3]]], "b": [[[1, 2]]]})).await;
    let reason = "Attempting to broadcast an axis by a dimension other than 1. 2 by 3";
    assert_eq!(error, format!("the model cannot run on this input: Add: {reason}"));
}

#[tokio::test]
async fn values_that_a_node_refuses_are_the_clients_fault() {
    let served = Served::new(&onnx::of_two("Div", INT64, &["n"], &["n"], &["n"])).await;
    let error = served.refuse(json!({"a": [6], "b": [0]})).await;
    assert_eq!(error, "the model cannot run on this input: Div: Integer division by zero");
    let zero = |name: &str| json!({"name": name, "datatype": "INT64", "shape": [1], "data": [0]});
    let infer = json!({"inputs": [zero("a"), zero("b")]}).to_string();
    let error = served.server.refuse("/v2/models/m/infer", infer, 400).await;
    assert_eq!(error, "the model cannot run on this input: Div: Integer division by zero");

    let served = Served::new(&onnx::zeros_of_shape()).await;
    let error = served.refuse(json!({"x": [-2, 3]})).await;
    assert_eq!(error, "the model cannot run on this input: ConstantOfShape: Tensor shape.Size() must be >= 0");
    assert_eq!(served.answer(json!({"x": [1, 2]})).await, json!([[0.0, 0.0]]));
}

#[tokio::test]
async fn one_clients_zero_is_not_its_neighbours_fault() {
    let served = Served::new(&onnx::of_two("Div", INT64, &["n"], &["n"], &["n"])).await;
    let good = |value: i64| json!({"inputs": {"a": [value * 2], "b": [2]}}).to_string();
    let bad = json!({"inputs": {"a": [1], "b": [0]}}).to_string();
    let (first, refused, second) = tokio::join!(
        served.server.post("/predict", good(3)),
        served.server.post("/predict", bad),
        served.server.post("/predict", good(4)),
    );
    assert_eq!([first.status(), refused.status(), second.status()].map(|status| status.as_u16()), [200, 400, 200]);
}
