//! Runs that do not end, in either lane: deadlines are kept, probes are answered, and the process stops.

use std::fs;

use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    connection::{Connection, post_bytes},
    harness::within_patience,
    onnx,
    process::ServingProcess,
    shutdown_process::YEARS,
};

/// For the counting model: a short run.
const SHORT: &str = r#"{"inputs":{"count":[3]}}"#;
/// For the selecting model: a run of minutes.
const MINUTES: &str = r#"{"inputs":{"count":[500000]}}"#;
const INLINE: &str = "batching.lane = \"inline\"";

/// Serves a model in two event loops; the folder lives as long as the test keeps it.
async fn serve(model: Vec<u8>, manifest: &str, arguments: &[&str]) -> (ServingProcess, TempDir) {
    let folder = TempDir::new().unwrap();
    let version = folder.path().join("model/1");
    fs::create_dir_all(&version).unwrap();
    fs::write(version.join("model.onnx"), model).unwrap();
    fs::write(folder.path().join("model/model.toml"), manifest).unwrap();
    let arguments = [&["--http-threads", "2"], arguments].concat();
    (ServingProcess::start(folder.path(), &arguments).await, folder)
}

/// Posts so many requests at once, each on a connection of its own, and returns their statuses.
async fn statuses(serving: &ServingProcess, body: &str, count: usize) -> Vec<u16> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let (address, request) = (serving.address, post_bytes("/predict", body));
        requests.spawn(async move {
            let mut connection = Connection::open(address).await.unwrap();
            connection.write(&request).await.unwrap();
            connection.answer().await.unwrap().unwrap().status
        });
    }
    within_patience(requests.join_all()).await
}

#[tokio::test]
async fn probes_are_answered_while_a_model_counts_for_years() {
    let (serving, _folder) = serve(onnx::counting(), "", &[]).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Connection::open(serving.address).await.unwrap();
        client.write(&post_bytes("/predict", YEARS)).await.unwrap();
        clients.push(client);
    }
    for path in ["/health/live", "/health/ready", "/metrics"].repeat(5) {
        assert_eq!(serving.get(path).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn endless_runs_in_all_event_loops_end_at_their_deadline() {
    let (serving, _folder) = serve(onnx::counting(), INLINE, &["--request-timeout", "300ms"]).await;
    assert_eq!(statuses(&serving, YEARS, 4).await, [504; 4]);
    assert_eq!(serving.get("/health/live").await.status(), 200);
    assert_eq!(serving.post("/predict", SHORT).await.status(), 200);
}

#[tokio::test]
async fn endless_runs_in_all_event_loops_are_terminated_before_a_late_deadline() {
    let (serving, _folder) = serve(onnx::counting(), INLINE, &["--request-timeout", "10m"]).await;
    assert!(serving.process.log_line("a long run delays every other request").await.contains("Loop"));
    assert_eq!(statuses(&serving, YEARS, 4).await, [500; 4]);
    serving.process.log_line("a run was terminated after it had held the event loop").await;
    assert_eq!(serving.post("/predict", SHORT).await.status(), 200);
    assert_eq!(serving.stop().await.code, Some(0));
}

#[tokio::test]
async fn process_ends_after_the_grace_time_while_runs_that_nothing_ends_hold_all_event_loops() {
    let (serving, _folder) = serve(onnx::selecting(), INLINE, &["--shutdown-grace", "1s"]).await;
    assert_eq!(serving.post("/predict", SHORT).await.status(), 200);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Connection::open(serving.address).await.unwrap();
        client.write(&post_bytes("/predict", MINUTES)).await.unwrap();
        clients.push(client);
    }
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}
