//! What runs may hold: a request that needs more gets an error that names the limit, and the server serves on.

use std::{fs, path::Path};

use onnxd::{
    config::ServerConfig,
    protocol::proto::inference::{
        InferTensorContents, ModelInferRequest, ModelInferResponse, model_infer_request::InferInputTensor,
    },
};
use serde_json::json;
use tonic::Code;

use crate::{
    grpc_client::{Client, MODEL_INFER},
    harness::{TestServer, models},
    onnx::greedy,
};

const LIMIT: usize = 64 << 20;
const NAMES_THE_LIMIT: &str = "of memory or more, too much for --max-run-memory (64 MiB)";

fn limited(config: &mut ServerConfig) {
    config.memory.max_run_memory = Some(LIMIT);
    config.limits.max_rows = 100_000;
}

/// Copies a bundled model, which is served beside the others.
fn copy_iris(root: &Path) {
    fs::create_dir_all(root.join("iris/1")).unwrap();
    for file in ["model.toml", "1/model.onnx"] {
        fs::copy(models("iris").join(file), root.join("iris").join(file)).unwrap();
    }
}

async fn assert_iris_answers(server: &TestServer) {
    let answer = server.predict("/models/iris/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    assert_eq!(answer["prediction"], 0);
}

#[tokio::test]
async fn runs_that_need_too_much_memory_are_refused_and_harm_nobody() {
    let root = tempfile::tempdir().unwrap();
    copy_iris(root.path());
    let models = greedy::all();
    let file_name = |name: &str| name.replace(' ', "-");
    for model in &models {
        fs::write(root.path().join(file_name(model.name)).with_extension("onnx"), &model.file).unwrap();
    }
    let server = TestServer::start_with(root.path(), limited).await;
    for model in &models {
        let path = format!("/models/{}/predict", file_name(model.name));
        let ask = |n: i64| json!({"inputs": {"n": [n]}}).to_string();
        // More than once, since what a run that failed held must be free again.
        for _ in 0..3 {
            let error = server.refuse(&path, ask(model.huge), 413).await;
            assert!(error.starts_with("the run needs") && error.contains(NAMES_THE_LIMIT), "{}: {error}", model.name);
            assert_iris_answers(&server).await;
        }
        server.predict(&path, &ask(2)).await;
    }
    // Of the limit of 67 MB these take 56 MB: 4 bytes an element for the output, 4 for its copy and 20 for its text.
    let most = json!({"inputs": {"n": [2_000_000]}}).to_string();
    for _ in 0..3 {
        let answer = server.predict("/models/ConstantOfShape/predict", &most).await;
        assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(2_000_000));
    }
}

#[tokio::test]
async fn answers_that_need_too_much_memory_are_refused_over_every_protocol() {
    let root = tempfile::tempdir().unwrap();
    copy_iris(root.path());
    fs::write(root.path().join("wide.onnx"), greedy::widening(6000)).unwrap();
    let server = TestServer::start_with(root.path(), limited).await;
    let rows = |count: usize| json!({"inputs": {"x": vec![[1.0]; count]}}).to_string();
    // 24 MB, in several runs of which each is within the limit; their text would be 120 MB.
    let error = server.refuse("/models/wide/predict", rows(1000), 413).await;
    assert!(error.contains("--max-run-memory (64 MiB)"), "{error}");
    assert!(error.ends_with("send the rows in several requests"), "{error}");

    let request = |count: usize| ModelInferRequest {
        model_name: "wide".to_owned(),
        inputs: vec![InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![i64::try_from(count).unwrap(), 1],
            contents: Some(InferTensorContents { fp32_contents: vec![1.0; count], ..Default::default() }),
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = Client::of(&server).await;
    let error = client.refuse::<_, ModelInferResponse>(MODEL_INFER, request(1000), Code::ResourceExhausted).await;
    assert!(error.contains("--max-run-memory (64 MiB)"), "{error}");

    for _ in 0..3 {
        assert_iris_answers(&server).await;
        let answer = server.predict("/models/wide/predict", &rows(200)).await;
        assert_eq!(answer["outputs"]["y"].as_array().map(Vec::len), Some(200));
        client.infer(request(200)).await;
    }
}
