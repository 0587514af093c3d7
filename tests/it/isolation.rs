//! `[instances] isolate = true`: a model in processes of its own, whose end costs nothing but the requests in its run.

use std::{fs, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{TestServer, models, until},
    onnx,
    process::{ServingProcess, onnxd_serve},
};

/// Divides the smallest integer by -1.
const CRASH: &str = r#"{"inputs":{"dividend":[[-2147483648]],"divisor":[[-1]]}}"#;
const SIX_BY_TWO: &str = r#"{"inputs":{"dividend":[[6]],"divisor":[[2]]}}"#;

/// Makes a repository of one isolated model; each test has its own name for it, by which it finds the model's processes.
fn isolated(name: &str, model: &[u8], instances: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join(name).join("1");
    fs::create_dir_all(&version).unwrap();
    fs::write(version.join("model.onnx"), model).unwrap();
    let manifest = format!("[instances]\nisolate = true\ncount = {instances}\n");
    fs::write(folder.path().join(name).join("model.toml"), manifest).unwrap();
    folder
}

/// Makes a copy of a bundled model that is isolated.
fn isolated_copy(name: &str) -> TempDir {
    let folder = isolated(name, &fs::read(models(&format!("{name}/1/model.onnx"))).unwrap(), 1);
    let manifest = fs::read_to_string(models(&format!("{name}/model.toml"))).unwrap_or_default();
    fs::write(folder.path().join(name).join("model.toml"), format!("{manifest}\n[instances]\nisolate = true\n"))
        .unwrap();
    folder
}

/// Returns the ids of the processes of an isolated model.
fn processes_of(model: &str) -> Vec<u32> {
    let wanted = format!("isolated-session\0{model}\0");
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| fs::read_to_string(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.contains(&wanted)))
        .collect()
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap().success());
}

async fn is_up(server: &TestServer, path: &str, body: &str) -> bool {
    let response = server.post(path, body.to_owned()).await;
    assert!([200, 503].contains(&response.status().as_u16()), "{response:?}");
    response.status() == 200
}

#[tokio::test]
async fn crash_answers_500_spares_other_models_and_the_model_comes_back() {
    let folder = isolated("crash", &onnx::dividing(), 1);
    fs::copy(models("iris/1/model.onnx"), folder.path().join("iris.onnx")).unwrap();
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let iris = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
    let expected = server.predict("/models/iris/predict", iris).await["prediction"].clone();
    assert_eq!(server.predict("/models/crash/predict", SIX_BY_TWO).await["predictions"][0]["prediction"], 3);

    let error = server.refuse("/models/crash/predict", CRASH, 500).await;
    assert_eq!(error, "the model's process ended (signal SIGFPE); onnxd restarts it");

    assert_eq!(server.predict("/models/iris/predict", iris).await["prediction"], expected);
    until(|| is_up(&server, "/models/crash/predict", SIX_BY_TWO)).await;
    assert_eq!(server.metric(r#"model_restarts_total{model="crash",version="1"}"#).await, 1.0);
}

#[tokio::test]
async fn model_that_is_down_answers_503_and_is_not_ready() {
    let folder = isolated("down", &onnx::dividing(), 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let file = folder.path().join("down/1/model.onnx");
    // Another model in its place is not taken for the one that was loaded.
    fs::write(&file, onnx::counting()).unwrap();
    server.refuse("/predict", CRASH, 500).await;
    until(async || server.metric(r#"model_restarts_total{model="down",version="1"}"#).await >= 1.0).await;
    until(async || server.refuse("/predict", SIX_BY_TWO, 503).await.contains("has changed since it was loaded")).await;
    let response = server.post("/predict", SIX_BY_TWO).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let ready = server.get("/health/ready").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("model down version 1 has failed: its process"));

    fs::write(&file, onnx::dividing()).unwrap();
    until(|| is_up(&server, "/predict", SIX_BY_TWO)).await;
    assert_eq!(server.get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn killed_process_answers_500_to_what_it_ran() {
    let folder = isolated("killed", &onnx::counting(), 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let endless = server.post("/predict", format!(r#"{{"inputs":{{"count":[{}]}}}}"#, i64::MAX));
    let kill = async {
        let stage = r#"prediction_stage_seconds_count{model="killed",stage="queue",version="1"}"#;
        until(async || server.metric(stage).await >= 1.0).await;
        signal(processes_of("killed")[0], "KILL");
    };
    let (answer, ()) = tokio::join!(endless, kill);
    assert_eq!(answer.status(), 500);
    assert!(answer.text().await.unwrap().contains("signal SIGKILL"));
    until(|| is_up(&server, "/predict", r#"{"inputs":{"count":[3]}}"#)).await;
}

#[tokio::test]
async fn run_that_hangs_answers_504_and_its_process_is_killed() {
    let folder = isolated("hangs", &onnx::dividing(), 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let process = processes_of("hangs")[0];
    // Native code that does not come back, and does not look whether it is to end.
    signal(process, "STOP");
    let request = server.request(reqwest::Method::POST, "/predict").header("x-request-timeout-ms", "200");
    assert_eq!(request.body(SIX_BY_TWO).send().await.unwrap().status(), 504);
    until(|| is_up(&server, "/predict", SIX_BY_TWO)).await;
    assert!(!processes_of("hangs").contains(&process));
}

#[tokio::test]
async fn run_past_its_deadline_is_terminated_without_a_restart() {
    let folder = isolated("slow", &onnx::counting(), 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let processes = processes_of("slow");
    let request = server.request(reqwest::Method::POST, "/predict").header("x-request-timeout-ms", "200");
    let endless = format!(r#"{{"inputs":{{"count":[{}]}}}}"#, i64::MAX);
    assert_eq!(request.body(endless).send().await.unwrap().status(), 504);
    server.predict("/predict", r#"{"inputs":{"count":[3]}}"#).await;
    assert_eq!(processes_of("slow"), processes);
}

#[tokio::test]
async fn instance_that_is_down_leaves_its_requests_to_the_others() {
    let folder = isolated("pair", &onnx::dividing(), 2);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let (file, processes) = (folder.path().join("pair/1/model.onnx"), processes_of("pair"));
    assert_eq!(processes.len(), 2);
    fs::remove_file(&file).unwrap();
    signal(processes[0], "KILL");
    // The count rises when its start has been tried again, which fails.
    until(async || server.metric(r#"model_restarts_total{model="pair",version="1"}"#).await >= 1.0).await;
    for _ in 0..50 {
        server.predict("/predict", SIX_BY_TWO).await;
    }
    assert_eq!(server.get("/health/ready").await.status(), 200);
}

#[tokio::test]
async fn isolated_models_answer_as_others_do() {
    let text = r#"{"inputs":{"text":[["a very good film"],["bad \u0000 ü"]]}}"#;
    let pixels = vec![0.5; 64];
    let image = json!({"inputs": {"image": [[pixels.chunks(8).collect::<Vec<_>>()]]}}).to_string();
    let rows = r#"{"features":[[5.1,3.5,1.4,0.2],[6.3,3.3,6,2.5]]}"#;
    for (model, body) in [("iris", rows), ("iris_zipmap", rows), ("digits", &image), ("text", text)] {
        let (copy, original) = (isolated_copy(model), TestServer::serving(model).await);
        let server = TestServer::start_with(copy.path(), |_config| {}).await;
        let mut answers = [server.predict("/predict", body).await, original.predict("/predict", body).await];
        answers.iter_mut().for_each(|answer| answer["prediction_time"] = Value::Null);
        assert_eq!(answers[0], answers[1], "{model}");
        let bad = server.post("/predict", r#"{"inputs":{"nothing":[1]}}"#).await;
        assert_eq!(bad.status(), 400);
    }
}

#[tokio::test]
async fn isolation_is_shown_and_ends_with_the_server() {
    let folder = isolated("shown", &onnx::dividing(), 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    let details = server.get_json("/models/shown").await;
    let execution = &details["execution"];
    assert_eq!((&execution["isolated"], &execution["lane"]), (&json!(true), &json!("worker")), "{details}");
    assert_eq!(processes_of("shown").len(), 1);
    server.stop().await;
    until(async || processes_of("shown").is_empty()).await;
}

#[tokio::test]
async fn process_outlives_signals_of_the_terminal_but_not_its_parent() {
    let folder = isolated("orphan", &onnx::dividing(), 1);
    let serving = ServingProcess::start(folder.path(), &[]).await;
    let process = processes_of("orphan")[0];
    for name in ["INT", "TERM", "HUP"] {
        signal(process, name);
    }
    assert_eq!(serving.post("/predict", SIX_BY_TWO).await.status(), 200);
    assert_eq!(processes_of("orphan"), [process]);
    serving.process.signal("KILL");
    until(async || processes_of("orphan").is_empty()).await;
}

#[tokio::test]
async fn process_that_loads_for_ever_ends_with_its_parent() {
    let folder = isolated("forever", &onnx::endless(), 1);
    let serving = ServingProcess::start_listening(onnxd_serve(folder.path(), &[])).await;
    until(async || !processes_of("forever").is_empty()).await;
    serving.process.signal("KILL");
    until(async || processes_of("forever").is_empty()).await;
}

#[tokio::test]
async fn file_that_cannot_be_loaded_is_the_models_failure() {
    let folder = isolated("broken", b"no model", 1);
    let server = TestServer::start_with(folder.path(), |_config| {}).await;
    assert!(server.refuse("/predict", SIX_BY_TWO, 503).await.contains("not an ONNX model"));
    assert!(processes_of("broken").is_empty());
}
