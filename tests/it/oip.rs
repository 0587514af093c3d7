//! The Open Inference Protocol over REST: what there is to know of the server and its models.

use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::{
    fake_engine::{FakeEngine, fake_repository},
    harness::{TestServer, error_text, models},
};

const ROW: &str = r#"{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}"#;

async fn refuse_get(server: &TestServer, path: &str, status: u16) -> String {
    error_text(server.get(path).await, status).await
}

#[tokio::test]
async fn the_server_tells_its_name_and_only_the_extensions_that_work() {
    let server = TestServer::serving("iris").await;
    let answer = server.get_json("/v2").await;
    assert_eq!(answer["name"], "onnxd");
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    let extensions = json!(["binary_tensor_data", "classification", "model_configuration", "statistics"]);
    assert_eq!(answer["extensions"], extensions);
}

#[tokio::test]
async fn health_has_bodies_that_clients_parse() {
    let server = TestServer::serving("iris").await;
    assert_eq!(server.get_json("/v2/health/live").await, json!({"live": true}));
    assert_eq!(server.get_json("/v2/health/ready").await, json!({"ready": true}));
    let ready = json!({"name": "iris", "ready": true});
    assert_eq!(server.get_json("/v2/models/iris/ready").await, ready);
    assert_eq!(server.get_json("/v2/models/iris/versions/1/ready").await, ready);
}

#[tokio::test]
async fn what_is_not_ready_answers_503_and_what_is_not_there_404() {
    let folder = fake_repository(&["model"], "");
    let engine = FakeEngine::new();
    engine.0.close_load();
    let server = TestServer::start_loading(Arc::new(engine.clone()), folder.path(), |_| {}).await;
    assert_eq!(server.get_json("/v2/health/live").await, json!({"live": true}));
    for path in ["/v2/health/ready", "/v2/models/model/ready", "/v2/models/model", "/v2/models/model/config"] {
        assert!(refuse_get(&server, path, 503).await.contains("loading"), "{path}");
    }
    assert!(server.refuse("/v2/models/model/infer", ROW, 503).await.contains("loading"));
    let unknown = refuse_get(&server, "/v2/models/other/ready", 404).await;
    assert_eq!(unknown, "Request for unknown model: 'other' is not found");
    let index = server.post("/v2/repository/index", "").await.json::<Value>().await.unwrap();
    assert_eq!(index, json!([{"name": "model", "version": "1", "state": "LOADING", "reason": ""}]));
    let ready = server.post("/v2/repository/index", r#"{"ready":true}"#).await.json::<Value>().await.unwrap();
    assert_eq!(ready, json!([]));
    engine.0.open_load();
}

#[tokio::test]
async fn models_are_described_with_their_class_names() {
    let server = TestServer::start().await;
    let answer = server.get_json("/v2/models/iris_zipmap").await;
    assert_eq!(answer["name"], "iris_zipmap");
    assert_eq!(answer["versions"], json!(["1"]));
    assert_eq!(answer["platform"], "onnxruntime_onnx");
    assert_eq!(answer["inputs"], json!([{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]));
    // The graph's sequence of maps is a tensor here.
    let outputs = json!([
        {"name": "output_label", "datatype": "BYTES", "shape": [-1]},
        {"name": "output_probability", "datatype": "FP32", "shape": [-1, 3]},
    ]);
    assert_eq!(answer["outputs"], outputs);
    assert_eq!(answer["properties"]["classes"], r#"["setosa","versicolor","virginica"]"#);
    assert_eq!(server.get_json("/v2/models/iris_zipmap/versions/1").await, answer);
    let names = json!({"models": ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"]});
    assert_eq!(server.get_json("/v2/models").await, names);
}

#[tokio::test]
async fn configuration_has_triton_names_for_types_and_no_batch_axis() {
    let server = TestServer::start().await;
    let answer = server.get_json("/v2/models/text/config").await;
    assert_eq!(answer["max_batch_size"], 64);
    assert_eq!(answer["input"], json!([{"name": "text", "data_type": "TYPE_STRING", "dims": [1]}]));
    assert_eq!(answer["model_transaction_policy"], json!({"decoupled": false}));
    assert_eq!(server.get_json("/v2/models/text/versions/1/config").await, answer);
    let iris = server.get_json("/v2/models/iris/config").await;
    assert_eq!(iris["output"][1], json!({"name": "probabilities", "data_type": "TYPE_FP32", "dims": [3]}));
    assert_eq!(iris["version_policy"], json!({"specific": {"versions": [1]}}));
}

#[tokio::test]
async fn statistics_count_what_was_asked() {
    let server = TestServer::start().await;
    let rows = r#"{"inputs":[{"name":"features","shape":[2,4],"datatype":"FP32","data":[5,3,1,0,6,3,5,2]}]}"#;
    server.predict("/v2/models/iris/infer", ROW).await;
    server.predict("/v2/models/iris/infer", rows).await;
    server.refuse("/v2/models/iris/infer", "{}", 400).await;
    let answer = server.get_json("/v2/models/iris/stats").await;
    let [iris] = &answer["model_stats"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&iris["name"], &iris["version"]), (&json!("iris"), &json!("1")));
    assert_eq!((&iris["inference_count"], &iris["execution_count"]), (&json!(3), &json!(2)));
    assert!(iris["last_inference"].as_u64().unwrap() > 1_700_000_000_000);
    let inference = &iris["inference_stats"];
    for (what, count) in
        [("success", 2), ("fail", 1), ("queue", 2), ("compute_input", 2), ("compute_infer", 2), ("compute_output", 2)]
    {
        assert_eq!(inference[what]["count"], count, "{what}: {iris}");
        assert!(inference[what]["ns"].as_u64().unwrap() > 0, "{what}: {iris}");
    }
    let by_size = iris["batch_stats"].as_array().unwrap();
    let sizes: Vec<_> = by_size.iter().map(|size| (&size["batch_size"], &size["compute_infer"]["count"])).collect();
    assert_eq!(sizes, [(&json!(1), &json!(1)), (&json!(2), &json!(1))]);
    assert_eq!(server.get_json("/v2/models/iris/versions/1/stats").await["model_stats"][0]["name"], "iris");
    let all = server.get_json("/v2/models/stats").await;
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn the_index_lists_every_model_and_why_one_is_not_ready() {
    let folder = fake_repository(&["good", "bad"], "");
    std::fs::write(folder.path().join("bad/model.toml"), "nonsense = 1").unwrap();
    let server = TestServer::start_on(Arc::new(FakeEngine::new()), folder.path(), |_| {}).await;
    let all = server.post("/v2/repository/index", "{}").await.json::<Value>().await.unwrap();
    assert_eq!((&all[0]["name"], &all[0]["state"]), (&json!("bad"), &json!("UNAVAILABLE")));
    assert!(all[0]["reason"].as_str().unwrap().contains("nonsense"), "{all}");
    assert_eq!(all[1], json!({"name": "good", "version": "1", "state": "READY", "reason": ""}));
    let ready = server.post("/v2/repository/index", r#"{"ready":true,"x":1}"#).await.json::<Value>().await.unwrap();
    assert_eq!(ready, json!([all[1]]));
    for (body, expected) in [("{", "Request must be JSON"), (r#"{"ready":1}"#, r#"{"ready":true}"#)] {
        assert!(server.refuse("/v2/repository/index", body, 400).await.contains(expected), "{body}");
    }
    assert!(refuse_get(&server, "/v2/models/bad/ready", 503).await.contains("nonsense"));
}

#[tokio::test]
async fn loading_and_unloading_are_not_enabled() {
    let server = TestServer::serving("iris").await;
    for path in ["/v2/repository/models/iris/load", "/v2/repository/models/x/unload"] {
        let response = server.post(path, r#"{"parameters":{"unload_dependents":true}}"#).await;
        // Unlike other answers of this status: it will be no different later.
        assert!(!response.headers().contains_key("retry-after"));
        let error = error_text(response, 503).await;
        assert!(error.contains("explicit model load / unload is not enabled"), "{error}");
    }
}

#[tokio::test]
async fn unknown_paths_versions_and_wrong_methods_are_told_apart() {
    let server = TestServer::serving("iris").await;
    for path in [
        "/v2/",
        "/v2/health/live/",
        "/v2/models/iris/",
        "/v2/models/iris/versions/2",
        "/v2/models/iris/versions/2/ready",
        "/v2/models/iris/versions/01",
        "/v2/models/iris/versions//config",
        "/v2/models/iris/versions/latest",
        "/v2/models/iris/versions/-1/stats",
        "/v2/systemsharedmemory/status",
        "/v2/cudasharedmemory/region/r/status",
        "/v2/trace/setting",
        "/v2/models/iris/trace/setting",
        "/v2/logging",
        "/V2",
    ] {
        refuse_get(&server, path, 404).await;
    }
    let error = refuse_get(&server, "/v2/models/iris/versions/9", 404).await;
    assert_eq!(error, "Request for unknown model: 'iris' version 9 is not found");
    server.predict("/v2/models/%69ris/versions/1/infer", ROW).await;
    for (method, path, allow) in [
        (Method::GET, "/v2/models/iris/infer", "POST"),
        (Method::POST, "/v2/models/iris", "GET,HEAD"),
        (Method::GET, "/v2/repository/index", "POST"),
        (Method::DELETE, "/v2/health/live", "GET,HEAD"),
    ] {
        let response = server.request(method, path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{path}");
        error_text(response, 405).await;
    }
}

#[tokio::test]
async fn every_version_is_described_and_asked_by_its_own_number() {
    let folder = fake_repository(&["model"], "default_version = 1");
    let second = folder.path().join("model/2");
    std::fs::create_dir(&second).unwrap();
    std::fs::copy(models("iris/1/model.onnx"), second.join("model.onnx")).unwrap();
    let server = TestServer::start_on(Arc::new(FakeEngine::new()), folder.path(), |_| {}).await;
    let versions = async |path: &str| server.get_json(path).await["versions"].clone();
    assert_eq!(versions("/v2/models/model").await, json!(["1", "2"]));
    assert_eq!(versions("/v2/models/model/versions/2").await, json!(["2"]));
    let body = r#"{"inputs":[{"name":"a","shape":[1,1],"datatype":"FP32","data":[1]},{"name":"b","shape":[1,1],"datatype":"FP32","data":[2]}]}"#;
    for (path, version) in [("/v2/models/model/infer", "1"), ("/v2/models/model/versions/2/infer", "2")] {
        assert_eq!(server.predict(path, body).await["model_version"], version);
    }
    assert_eq!(server.get_json("/v2/models/model/stats").await["model_stats"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn only_inference_is_compressed() {
    // tritonclient's asyncio client says that it accepts compressed answers, and understands them only there.
    let server = TestServer::start().await;
    let long = "z".repeat(2000);
    for (method, path, status) in [
        (Method::GET, "/v2/models/stats".to_owned(), 200),
        (Method::GET, "/v2/models/breast_cancer".to_owned(), 200),
        (Method::GET, format!("/v2/{long}"), 404),
    ] {
        let response = server.request(method, &path).header("accept-encoding", "gzip").send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().get("content-encoding")), (status, None), "{path}");
        assert!(response.bytes().await.unwrap().len() > 1024, "{path} is short anyway");
    }
}

#[tokio::test]
async fn a_model_whose_name_is_a_word_of_the_protocol_is_found_by_its_version() {
    let folder = fake_repository(&["stats"], "");
    let server = TestServer::start_on(Arc::new(FakeEngine::new()), folder.path(), |_| {}).await;
    assert_eq!(server.get_json("/v2/models/stats").await["model_stats"][0]["name"], "stats");
    assert_eq!(server.get_json("/v2/models/stats/versions/1").await["name"], "stats");
    assert_eq!(server.get_json("/v2/models/stats/ready").await["ready"], true);
}
