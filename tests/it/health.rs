//! Health, liveness and readiness: while loading, once loaded, with a model that failed, and while draining.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Response;
use serde_json::Value;

use crate::{
    fake_engine::{FakeEngine, Run},
    harness::{PATIENCE, TestServer, error_text, models, until},
};

/// A server that has its port, and whose models load for as long as the test wants.
async fn loading_server() -> (TestServer, FakeEngine) {
    let engine = FakeEngine::new();
    engine.0.close_load();
    let server = TestServer::start_loading(Arc::new(engine.clone()), models("digits"), |_| {}).await;
    (server, engine)
}

/// A server of a good model and one that cannot be loaded; the folder lives as long as the test keeps it.
async fn half_failed_server() -> (TestServer, tempfile::TempDir) {
    let repository = tempfile::tempdir().unwrap();
    std::fs::write(repository.path().join("broken.onnx"), b"this is no model").unwrap();
    std::fs::copy(models("iris/1/model.onnx"), repository.path().join("good.onnx")).unwrap();
    (TestServer::start_with(repository.path(), |_| {}).await, repository)
}

fn retry_after(response: &Response) -> Option<&str> {
    Some(response.headers().get("retry-after")?.to_str().unwrap())
}

#[tokio::test]
async fn health_has_the_keys_of_the_contract() {
    let server = TestServer::start_with(models("iris"), |_| {}).await;
    let response = server.get("/health").await;
    assert_eq!(response.status(), 200);
    let health: Value = response.json().await.unwrap();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["models"]["iris"]["state"], "ready");
    assert_eq!(health["models"]["iris"]["version"], "1");
    assert_eq!(health["model_version"], "1");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let up_since: Timestamp = health["service_up_since"].as_str().unwrap().parse().unwrap();
    assert!(up_since <= Timestamp::now(), "{health}");
    assert!(health["uptime_seconds"].as_f64().unwrap() >= 0.0, "{health}");
}

#[tokio::test]
async fn health_without_a_default_model_names_no_model_version() {
    let server = TestServer::start_with(models(""), |_| {}).await;
    let health = server.get_json("/health").await;
    assert_eq!(health["model_version"], Value::Null);
    assert_eq!(health["models"].as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn liveness_does_not_wait_for_models() {
    let (server, engine) = loading_server().await;
    assert_eq!(server.get("/health/live").await.status(), 200);
    engine.0.open_load();
}

#[tokio::test]
async fn readiness_is_503_with_the_reason_while_loading() {
    let (server, engine) = loading_server().await;
    let response = server.get("/health/ready").await;
    assert!(retry_after(&response).is_some());
    let reason = error_text(response, 503).await;
    assert!(reason.contains("digits") && reason.contains("loading"), "{reason}");
    engine.0.open_load();
}

#[tokio::test]
async fn health_is_503_while_loading() {
    let (server, engine) = loading_server().await;
    let response = server.get("/health").await;
    assert_eq!(response.status(), 503);
    let health: Value = response.json().await.unwrap();
    assert_ne!(health["status"], "healthy");
    assert_eq!(health["models"]["digits"]["state"], "loading");
    engine.0.open_load();
}

#[tokio::test]
async fn prediction_is_503_with_retry_after_while_loading() {
    let (server, engine) = loading_server().await;
    let response = server.post("/predict", r#"{"a":1,"b":2}"#).await;
    assert!(retry_after(&response).is_some());
    let reason = error_text(response, 503).await;
    assert!(reason.contains("loading"), "{reason}");
    engine.0.open_load();
}

#[tokio::test]
async fn readiness_turns_200_once_the_models_are_loaded() {
    let (server, engine) = loading_server().await;
    engine.0.open_load();
    until(async || server.get("/health/ready").await.status() == 200).await;
    assert_eq!(server.get("/health").await.status(), 200);
}

#[tokio::test]
async fn model_that_cannot_be_loaded_keeps_the_server_from_being_ready() {
    let (server, _repository) = half_failed_server().await;
    let reason = error_text(server.get("/health/ready").await, 503).await;
    assert!(reason.contains("broken") && reason.contains("not an ONNX model"), "{reason}");
}

#[tokio::test]
async fn health_tells_the_failed_model_and_its_reason() {
    let (server, _repository) = half_failed_server().await;
    let response = server.get("/health").await;
    assert_eq!(response.status(), 503);
    let health: Value = response.json().await.unwrap();
    assert_eq!(health["models"]["broken"]["state"], "failed");
    assert!(health["models"]["broken"]["reason"].as_str().unwrap().contains("not an ONNX model"), "{health}");
    assert_eq!(health["models"]["good"]["state"], "ready");
}

#[tokio::test]
async fn liveness_does_not_mind_a_failed_model() {
    let (server, _repository) = half_failed_server().await;
    assert_eq!(server.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn other_models_serve_beside_a_failed_one() {
    let (server, _repository) = half_failed_server().await;
    let answer = server.predict("/models/good/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    assert_eq!(answer["prediction"], 0);
}

#[tokio::test]
async fn prediction_of_a_failed_model_is_503_with_the_reason() {
    let (server, _repository) = half_failed_server().await;
    let reason = server.refuse("/models/broken/predict", r#"{"features":[1]}"#, 503).await;
    assert!(reason.contains("not an ONNX model"), "{reason}");
}

#[tokio::test]
async fn run_that_panics_fails_its_model_and_readiness() {
    let engine = FakeEngine::new();
    let server = TestServer::start_on(Arc::new(engine.clone()), models("digits"), |_| {}).await;
    engine.0.set_run(Run::Panic);
    server.refuse("/predict", r#"{"a":1,"b":2}"#, 500).await;
    let reason = error_text(server.get("/health/ready").await, 503).await;
    assert!(reason.contains("digits") && reason.contains("panicked"), "{reason}");
}

/// A server that drains, and keeps its port open for longer than any test takes.
async fn draining_server() -> TestServer {
    let engine = Arc::new(FakeEngine::new());
    let mut server =
        TestServer::start_on(engine, models("digits"), |config| config.limits.drain_delay = PATIENCE).await;
    server.start_stopping();
    until(async || server.service.is_draining()).await;
    server
}

#[tokio::test]
async fn readiness_is_503_with_the_reason_while_draining() {
    let server = draining_server().await;
    let response = server.get("/health/ready").await;
    assert!(retry_after(&response).is_some());
    let reason = error_text(response, 503).await;
    assert!(reason.contains("draining"), "{reason}");
}

#[tokio::test]
async fn predictions_are_answered_while_the_drain_delay_lasts() {
    let server = draining_server().await;
    assert_eq!(server.predict("/predict", r#"{"a":1,"b":2}"#).await["prediction"], 1.0);
}

#[tokio::test]
async fn liveness_does_not_mind_draining() {
    let server = draining_server().await;
    assert_eq!(server.get("/health/live").await.status(), 200);
}
