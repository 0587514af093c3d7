//! Status and metadata: one body for TensorFlow Serving's clients and KServe's.

use std::{fs, sync::Arc};

use onnxd::server::Ending;
use serde_json::json;

use crate::{
    fake_engine::{FakeEngine, fake_repository},
    harness::{TestServer, error_text, models, within_patience},
};

#[tokio::test]
async fn status_has_what_both_protocols_look_for() {
    let server = TestServer::start().await;
    let status = json!([{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]);
    let expected = json!({"name": "iris", "ready": true, "model_version_status": status});
    assert_eq!(server.get_json("/v1/models/iris").await, expected);
    assert_eq!(server.get_json("/v1/models/iris/versions/1").await, expected);
    let names = json!({"models": ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"]});
    assert_eq!(server.get_json("/v1/models").await, names);
}

#[tokio::test]
async fn what_is_not_there_has_no_status() {
    let server = TestServer::start().await;
    for (path, status, expected) in [
        ("/v1/models/rose", 404, "Could not find any versions of model rose"),
        ("/v1/models/rose/versions/1", 404, "Could not find any versions of model rose"),
        ("/v1/models/rose/metadata", 404, "Servable not found for request: Latest(rose)"),
        ("/v1/models/iris/versions/9", 404, "Could not find version 9 of model iris"),
        ("/v1/models/iris/versions/9/metadata", 404, "Servable not found for request: Specific(iris, 9)"),
        ("/v1/models/iris/versions/one", 400, "Malformed request: GET /v1/models/iris/versions/one"),
        ("/v1/models/iris/labels/stable", 400, "Unrecognized servable version label"),
        ("/v1/models/iris/labels/stable/metadata", 400, "Unrecognized servable version label"),
        ("/v1/models/rose/labels/stable", 404, "Could not find any versions of model rose"),
    ] {
        let error = error_text(server.get(path).await, status).await;
        assert!(error.starts_with(expected), "{path}: {error}");
    }
}

#[tokio::test]
async fn status_follows_a_model_from_loading_on() {
    let folder = fake_repository(&["good"], "");
    fs::create_dir_all(folder.path().join("bad/1")).unwrap();
    fs::write(folder.path().join("bad/1/model.onnx"), "not a model").unwrap();
    let engine = FakeEngine::new();
    engine.0.close_load();
    let server = TestServer::start_loading(Arc::new(engine.clone()), folder.path(), |_| {}).await;
    let state = async |model: &str| {
        let status = server.get_json(&format!("/v1/models/{model}")).await;
        (status["ready"].clone(), status["model_version_status"][0]["state"].clone())
    };
    assert_eq!(state("good").await, (json!(false), json!("LOADING")));
    let loading = server.refuse("/v1/models/good:predict", r#"{"instances":[{"a":1,"b":2}]}"#, 503).await;
    assert!(loading.contains("is loading"), "{loading}");
    engine.0.open_load();
    within_patience(server.service.loaded()).await;
    assert_eq!(state("good").await, (json!(true), json!("AVAILABLE")));
    assert_eq!(state("bad").await, (json!(false), json!("END")));
    let failed = server.get_json("/v1/models/bad").await;
    assert_eq!(failed["model_version_status"][0]["status"]["error_code"], "UNAVAILABLE");
    assert_ne!(failed["model_version_status"][0]["status"]["error_message"], "");
    let failed = server.refuse("/v1/models/bad:predict", r#"{"instances":[[1]]}"#, 503).await;
    assert!(failed.contains("has failed"), "{failed}");
    assert_eq!(server.stop().await, Ending::Drained);
}

#[tokio::test]
async fn metadata_is_the_signature_in_tensorflows_words() {
    let server = TestServer::start_with(models("ride_duration"), |_| {}).await;
    let metadata = server.get_json("/v1/models/ride_duration/metadata").await;
    assert_eq!(metadata["model_spec"], json!({"name": "ride_duration", "signature_name": "", "version": "1"}));
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    let tensor = |data_type: &str, name: &str, row_axis: &str| {
        let dims = json!([{"size": "-1", "name": row_axis}, {"size": "1", "name": ""}]);
        json!({"dtype": data_type, "tensor_shape": {"dim": dims, "unknown_rank": false}, "name": name})
    };
    let axis = signature["inputs"]["PULocationID"]["tensor_shape"]["dim"][0]["name"].as_str().unwrap();
    assert_eq!(signature["inputs"]["PULocationID"], tensor("DT_INT64", "PULocationID", axis));
    assert_eq!(signature["inputs"]["trip_distance"], tensor("DT_FLOAT", "trip_distance", axis));
    assert_eq!(signature["outputs"]["duration"]["dtype"], "DT_FLOAT");
    assert_eq!(server.get_json("/v1/models/ride_duration/versions/1/metadata").await, metadata);
}
