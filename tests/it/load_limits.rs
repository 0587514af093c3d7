//! What a model may take while it is loaded: one that takes too much fails, with the reason, and the others serve.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
    process::Command,
    time::Duration,
};

use onnxd::config::ServerConfig;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{TestServer, models},
    onnx,
    process::ServingProcess,
};

const IRIS: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;

/// A repository with `iris`, and whatever the test puts beside it.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.copy_iris("iris");
        repository
    }

    fn path(&self, inside: &str) -> std::path::PathBuf {
        let path = self.0.path().join(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn copy_iris(&self, name: &str) {
        fs::copy(models("iris/1/model.onnx"), self.path(&format!("{name}/1/model.onnx"))).unwrap();
    }

    /// Serves it; returns the reason why the model `bad` fails, after checking that iris answers.
    async fn reason(&self, change: impl FnOnce(&mut ServerConfig)) -> String {
        let server = TestServer::start_with(self.0.path(), change).await;
        assert_eq!(server.predict("/models/iris/predict", IRIS).await["prediction"], 0);
        server.refuse("/models/bad/predict", IRIS, 503).await
    }
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[tokio::test]
async fn pipes_in_place_of_files_are_refused() {
    for pipe in ["bad/model.toml", "bad/1/golden.json"] {
        let repository = Repository::new();
        repository.copy_iris("bad");
        make_pipe(&repository.path(pipe));
        let reason = repository.reason(|_| {}).await;
        let name = pipe.rsplit('/').next().unwrap();
        assert!(reason.contains(name) && reason.ends_with("expected a regular file"), "{reason}");
    }
}

#[tokio::test]
async fn files_that_are_too_large_are_not_read() {
    for (file, limit) in [
        ("bad/1/model.onnx", "expected at most 1 MiB (--max-model-bytes), but got 20 GiB"),
        ("bad/model.toml", "expected at most 16 MiB, but got 20 GiB"),
        ("bad/1/golden.json", "expected at most 64 MiB, but got 20 GiB"),
    ] {
        let repository = Repository::new();
        repository.copy_iris("bad");
        File::create(repository.path(file)).unwrap().set_len(20 << 30).unwrap();
        let reason = repository.reason(|config| config.memory.max_model_bytes = Some(1 << 20)).await;
        assert!(reason.ends_with(limit), "{reason}");
    }
}

#[tokio::test]
async fn external_data_counts_as_part_of_the_model() {
    let repository = Repository::new();
    fs::write(repository.path("bad/1/model.onnx"), onnx::adding_external("weights.bin")).unwrap();
    File::create(repository.path("bad/1/weights.bin")).unwrap().set_len(20 << 30).unwrap();
    let reason = repository.reason(|config| config.memory.max_model_bytes = Some(1 << 20)).await;
    assert!(reason.contains("weights.bin") && reason.contains("(--max-model-bytes), but got 20 GiB"), "{reason}");
}

#[tokio::test]
async fn a_million_names_are_too_many() {
    let repository = Repository::new();
    repository.copy_iris("bad");
    let names: Vec<_> = (0..1_000_000).map(|index| format!("\"f{index}\"")).collect();
    fs::write(repository.path("bad/model.toml"), format!("[features]\nnames = [{}]", names.join(","))).unwrap();
    let reason = repository.reason(|_| {}).await;
    assert!(reason.ends_with("[features] names: expected at most 100000 names, but got 1000000"), "{reason}");
}

#[tokio::test]
async fn a_model_that_never_ends_its_first_run_fails() {
    let repository = Repository::new();
    fs::write(repository.path("bad/1/model.onnx"), onnx::endless()).unwrap();
    let reason = repository.reason(|config| config.limits.request_timeout = Duration::from_millis(500)).await;
    assert!(reason.contains("a run on made-up inputs took longer than 500ms (--request-timeout)"), "{reason}");
}

/// What the answers of a model that adds its external weights must be, whatever happens to their file.
async fn assert_adds(server: &TestServer) {
    let answer = server.predict("/models/adding/predict", r#"{"inputs":{"x":[[10,20,30,40]]}}"#).await;
    assert_eq!(answer["outputs"]["y"], json!([[11.0, 22.0, 33.0, 44.0]]), "{answer}");
}

#[tokio::test]
async fn external_data_that_is_overwritten_or_cut_off_changes_nothing() {
    let repository = Repository::new();
    let (model, weights) = (onnx::adding_external("deep/weights.bin"), [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes));
    let path = repository.path("adding/1/deep/weights.bin");
    fs::write(repository.path("adding/1/model.onnx"), &model).unwrap();
    fs::write(&path, weights.concat()).unwrap();
    let server = TestServer::start_with(repository.0.path(), |_| {}).await;
    assert_adds(&server).await;

    // In place: the file stays the same file.
    let in_place = || OpenOptions::new().write(true).open(&path).unwrap();
    std::io::Write::write_all(&mut in_place(), &[0x40; 16]).unwrap();
    assert_adds(&server).await;
    in_place().set_len(0).unwrap();
    assert_adds(&server).await;
    fs::remove_file(&path).unwrap();
    assert_adds(&server).await;

    let digest = Sha256::new_with_prefix(&model).chain_update(weights.concat()).finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = server.get_json("/models/adding").await;
    assert_eq!(shown["versions"][0]["sha256"], json!(digest), "{shown}");
}

#[tokio::test]
async fn constants_are_folded_only_while_they_are_small() {
    let repository = Repository::new();
    fs::write(repository.path("folding.onnx"), onnx::greedy::folding(100_000_000)).unwrap();
    let most = ["--max-run-memory", "64MiB", "--default-model", "iris"];
    let serving = ServingProcess::start(repository.0.path(), &most).await;
    assert_eq!(serving.post("/predict", IRIS).await.status(), 200);
    let status = fs::read_to_string(format!("/proc/{}/status", serving.process.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 256 << 10, "loading took {peak} KiB");
}
