//! `onnxd healthcheck`: what a container's health check and a script see.

use std::{fs, net::TcpListener};

use crate::{
    harness::models,
    process::{Ended, Process, ServingProcess, onnxd, onnxd_serve},
};

async fn healthcheck(port: u16, arguments: &[&str]) -> Ended {
    let mut command = onnxd(["healthcheck"]);
    // As in a container: the same variables as `serve` has, and no runtime is needed to ask.
    command.env("PORT", port.to_string()).env("HOST", "0.0.0.0").env("ORT_DYLIB_PATH", "/no/such/library");
    command.args(arguments);
    Process::run(command).await
}

/// A server of one model that cannot be loaded: live, and never ready.
async fn broken_server() -> (ServingProcess, tempfile::TempDir) {
    let repository = tempfile::tempdir().unwrap();
    fs::create_dir_all(repository.path().join("broken/1")).unwrap();
    fs::write(repository.path().join("broken/1/model.onnx"), "not a model").unwrap();
    let serving = ServingProcess::start_listening(onnxd_serve(repository.path(), &[])).await;
    (serving, repository)
}

#[tokio::test]
async fn ready_server_is_healthy() {
    let serving = ServingProcess::start(&models("iris"), &[]).await;
    let ended = healthcheck(serving.address.port(), &[]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "ready\n"), "{ended:#?}");
}

#[tokio::test]
async fn server_with_a_broken_model_is_live_and_not_healthy() {
    let (serving, _repository) = broken_server().await;
    serving.process.log_line("broken").await;
    let port = serving.address.port();
    let ended = healthcheck(port, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.starts_with("onnxd: 127.0.0.1:") && ended.stderr.contains("broken"), "{}", ended.stderr);
    let ended = healthcheck(port, &["--live"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "live\n"), "{ended:#?}");
}

#[tokio::test]
async fn nobody_listening_is_not_healthy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let ended = healthcheck(port, &[]).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("refused"), "{}", ended.stderr);
}

#[tokio::test]
async fn server_that_does_not_answer_in_time_is_not_healthy() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = healthcheck(deaf.local_addr().unwrap().port(), &["--timeout", "50ms"]).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("no answer within 50ms"), "{}", ended.stderr);
}
