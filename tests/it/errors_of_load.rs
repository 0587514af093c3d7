//! What is not the client's fault: a full queue, a model that is loading or has failed, time that runs out, a run that
//! breaks. And who is spared: requests that nobody waits for are not run.

use std::{fs, sync::Arc, time::Duration};

use reqwest::Response;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    connection::post_bytes,
    fake_engine::{FakeEngine, Run, fake_repository},
    fake_server::{Fake, ROW},
    harness::{TestServer, error_text, models, runtime, until},
};

fn retry_after(response: &Response) -> Option<u64> {
    response.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn full_queue_answers_429() {
    let fake = Fake::start("batching.max_queue_size = 1", |_config| {}).await;
    fake.control.close_gate();
    let crowd = async {
        fake.until_running(1).await;
        tokio::join!(fake.post(), async {
            fake.until_queued(1).await;
            let refused = fake.post().await;
            fake.control.open_gate();
            refused
        })
    };
    let (running, (queued, refused)) = tokio::join!(fake.post(), crowd);
    assert!(retry_after(&refused).is_some_and(|seconds| seconds > 0));
    let error = error_text(refused, 429).await;
    assert!(error.contains("queue is full"), "{error}");
    assert_eq!((running.status(), queued.status()), (200.try_into().unwrap(), 200.try_into().unwrap()));
}

#[tokio::test]
async fn queue_that_was_full_takes_requests_again() {
    let fake = Fake::start("batching.max_queue_size = 1", |_config| {}).await;
    fake.control.close_gate();
    let crowd = async {
        fake.until_running(1).await;
        tokio::join!(fake.post(), async {
            fake.until_queued(1).await;
            error_text(fake.post().await, 429).await;
            fake.control.open_gate();
        })
    };
    tokio::join!(fake.post(), crowd);
    assert_eq!(fake.post().await.status(), 200);
}

#[tokio::test]
async fn while_loading_readiness_and_predictions_are_503_and_liveness_is_not() {
    let (engine, folder) = (FakeEngine::new(), fake_repository(&["fake"], ""));
    let control = Arc::clone(&engine.0);
    control.close_load();
    let server = TestServer::start_loading(Arc::new(engine), folder.path(), |_config| {}).await;
    for response in [server.get("/health/ready").await, server.post("/predict", ROW).await] {
        assert!(retry_after(&response).is_some());
        let error = error_text(response, 503).await;
        assert!(error.contains("fake") && error.contains("is loading"), "{error}");
    }
    assert_eq!(server.get("/health/live").await.status(), 200);
    let health = server.get("/health").await;
    assert_eq!(health.status(), 503);
    assert_eq!(health.json::<Value>().await.unwrap()["models"]["fake"]["state"], "loading");
    assert_eq!(server.get_json("/models/fake").await["state"], "loading");
    control.open_load();
    server.service.loaded().await;
    assert_eq!(server.get("/health/ready").await.status(), 200);
    assert_eq!(server.post("/predict", ROW).await.status(), 200);
}

#[tokio::test]
async fn model_that_cannot_be_loaded_is_503_with_the_reason_and_harms_no_other() {
    let folder = TempDir::new().unwrap();
    fs::copy(models("iris/1/model.onnx"), folder.path().join("iris.onnx")).unwrap();
    fs::write(folder.path().join("broken.onnx"), b"this is no model").unwrap();
    let server = TestServer::start_on(runtime(), folder.path(), |_config| {}).await;
    for response in [server.get("/health/ready").await, server.post("/models/broken/predict", ROW).await] {
        assert!(retry_after(&response).is_some());
        let error = error_text(response, 503).await;
        assert!(error.contains("broken") && error.contains("not an ONNX model"), "{error}");
    }
    let listed = server.get_json("/models/broken").await;
    assert_eq!((&listed["state"], listed["reason"].is_string()), (&"failed".into(), true));
    server.predict("/models/iris/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
}

#[tokio::test]
async fn while_draining_readiness_is_503_and_requests_are_answered() {
    let mut fake = Fake::start("", |config| config.limits.drain_delay = Duration::from_secs(60)).await;
    fake.server.start_stopping();
    until(|| async { fake.server.service.is_draining() }).await;
    let ready = fake.server.get("/health/ready").await;
    assert!(retry_after(&ready).is_some());
    let error = error_text(ready, 503).await;
    assert!(error.contains("draining"), "{error}");
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!(fake.server.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn request_timeout_is_a_504() {
    let fake = Fake::start("", |config| config.limits.request_timeout = Duration::from_millis(50)).await;
    fake.control.close_gate();
    let error = error_text(fake.post().await, 504).await;
    assert!(error.contains("50ms"), "{error}");
    fake.control.open_gate();
}

#[tokio::test]
async fn the_clients_own_time_limit_is_a_504() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let error = error_text(fake.post_within(20).await, 504).await;
    assert!(error.contains("20ms"), "{error}");
    fake.control.open_gate();
}

#[tokio::test]
async fn client_cannot_have_more_time_than_the_server_gives() {
    let fake = Fake::start("", |config| config.limits.request_timeout = Duration::from_millis(50)).await;
    fake.control.close_gate();
    let error = error_text(fake.post_within(1_000_000).await, 504).await;
    assert!(error.contains("50ms"), "{error}");
    fake.control.open_gate();
}

#[tokio::test]
async fn request_whose_time_ran_out_in_the_queue_is_not_run() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let late = async {
        fake.until_running(1).await;
        error_text(fake.post_within(20).await, 504).await;
        fake.control.open_gate();
    };
    let (running, ()) = tokio::join!(fake.post(), late);
    assert_eq!(running.status(), 200);
    // Runs go in order, so the one that was late would have come before this.
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!(fake.runs(), 2);
    assert_eq!(fake.server.metric(r#"prediction_cancelled_total{model="fake",version="1"}"#).await, 1.0);
}

#[tokio::test]
async fn client_that_leaves_the_queue_is_not_run() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let leaver = async {
        fake.until_running(1).await;
        let mut connection = fake.server.connect().await;
        connection.write(&post_bytes("/predict", ROW)).await.unwrap();
        fake.until_queued(1).await;
        drop(connection);
        let inflight = r#"prediction_inflight{model="fake",version="1"}"#;
        until(|| async { fake.server.metric(inflight).await == 1.0 }).await;
        fake.control.open_gate();
    };
    let (running, ()) = tokio::join!(fake.post(), leaver);
    assert_eq!(running.status(), 200);
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!(fake.runs(), 2);
}

#[tokio::test]
async fn run_that_fails_is_a_500_that_tells_nothing_of_the_inside() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.set_run(Run::Fail);
    assert_eq!(error_text(fake.post().await, 500).await, "internal error");
    fake.control.set_run(Run::Echo);
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!(fake.server.get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn run_that_panics_is_a_500_that_tells_nothing_of_the_inside() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.set_run(Run::Panic);
    assert_eq!(error_text(fake.post().await, 500).await, "internal error");
}

#[tokio::test]
async fn model_that_panicked_is_out_of_service_and_the_others_go_on() {
    let fake = Fake::start_models(&["one", "other"], "", |_config| {}).await;
    fake.control.set_run(Run::Panic);
    fake.server.refuse("/models/one/predict", ROW, 500).await;
    fake.control.set_run(Run::Echo);
    let ready = fake.server.get("/health/ready").await;
    assert!(retry_after(&ready).is_some());
    let error = error_text(ready, 503).await;
    assert!(error.contains("one") && error.contains("failed") && !error.contains("other"), "{error}");
    fake.server.refuse("/models/one/predict", ROW, 503).await;
    let answer = fake.server.predict("/models/other/predict", ROW).await;
    assert_eq!(answer["prediction"], 1.5);
    assert_eq!(fake.server.get("/health/live").await.status(), 200);
}

#[tokio::test]
async fn errors_are_counted_by_code() {
    let fake = Fake::start("", |_config| {}).await;
    fake.server.refuse("/predict", "{", 400).await;
    fake.control.set_run(Run::Fail);
    fake.server.refuse("/predict", ROW, 500).await;
    for code in ["invalid_argument", "internal"] {
        let name = format!(r#"prediction_errors_total{{code="{code}",model="fake",version="1"}}"#);
        assert_eq!(fake.server.metric(&name).await, 1.0, "{code}");
    }
}
