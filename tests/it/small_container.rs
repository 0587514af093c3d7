//! The program in 512 MiB of memory, which is what `k8s/base` gives it, beside models that would take gigabytes.
//!
//! Needs a memory cgroup of version 1 that the test may write; elsewhere the test says that it was skipped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    harness::{models, until},
    onnx::{self, greedy},
    process::ServingProcess,
};

const CGROUPS: &str = "/sys/fs/cgroup/memory";
const LIMIT_BYTES: u64 = 512 << 20;
/// What the process may hold after all is over.
const MOST_RESIDENT_KIB: usize = 256 << 10;
const IRIS: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
/// How many ask the same at a time.
const CROWD: usize = 6;

/// A memory cgroup, removed when dropped. The processes in it must have ended.
struct Container(PathBuf);

impl Container {
    fn create() -> Option<Self> {
        let folder = Path::new(CGROUPS).join(format!("onnxd-test-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let container = Self(folder);
        fs::write(container.0.join("memory.limit_in_bytes"), LIMIT_BYTES.to_string()).ok()?;
        Some(container)
    }

    fn serve(&self, path: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(&self.0);
        command.arg(env!("CARGO_BIN_EXE_onnxd")).arg("serve").arg(path);
        command.args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json", "--access-log", "off"]);
        command.env("ONNXD_GRPC_PORT", "0").env("ONNXD_DEFAULT_MODEL", "iris");
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The kernel may not have counted its last process out.
        let _left = fs::remove_dir(&self.0);
    }
}

/// Lays out iris, models whose runs need gigabytes, and models that would need them to be loaded.
fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let path = |inside: &str| {
        let path = root.path().join(inside);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    fs::copy(models("iris/1/model.onnx"), path("iris/1/model.onnx")).unwrap();
    for model in greedy::all() {
        fs::write(path(&format!("{}.onnx", file_name(model.name))), &model.file).unwrap();
    }
    fs::write(path("wide.onnx"), greedy::widening(6000)).unwrap();
    fs::write(path("folding.onnx"), greedy::folding(100_000_000)).unwrap();
    fs::write(path("external.onnx"), onnx::adding_external("weights.bin")).unwrap();
    for sparse in ["weights.bin", "sparse.onnx", "sparse_toml/model.toml", "sparse_golden/1/golden.json"] {
        File::create(path(sparse)).unwrap().set_len(20 << 30).unwrap();
    }
    for folder in ["sparse_toml", "sparse_golden"] {
        fs::copy(models("iris/1/model.onnx"), path(&format!("{folder}/1/model.onnx"))).unwrap();
    }
    root
}

fn file_name(name: &str) -> String {
    name.replace(' ', "-")
}

async fn assert_iris_answers(serving: &ServingProcess) {
    let answer: Value = serving.post("/models/iris/predict", IRIS).await.json().await.unwrap();
    assert_eq!(answer["prediction"], 0, "{answer}");
}

/// Sends a request many times at once; each must be answered, refused for its memory, or ended at its deadline.
async fn crowd(serving: &ServingProcess, model: &str, body: &Value) {
    let (path, body) = (format!("/models/{}/predict", file_name(model)), body.to_string());
    let ask = async || {
        let response = serving.post(&path, &body).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let start: String = text.chars().take(300).collect();
        let is_refused = [413, 429].contains(&status) && text.contains("--max-run-memory");
        assert!(is_refused || [200, 504].contains(&status), "{model}: {start}");
    };
    join_all((0..CROWD).map(|_| ask())).await;
}

#[tokio::test]
async fn greedy_models_and_requests_leave_the_others_alone() {
    let Some(container) = Container::create() else {
        println!("skipped: {CGROUPS} cannot be written");
        return;
    };
    let root = repository();
    let serving = ServingProcess::start_listening(container.serve(root.path())).await;
    until(async || !serving.get("/health/ready").await.text().await.unwrap().contains("is loading")).await;
    assert_iris_answers(&serving).await;

    let is_over = AtomicBool::new(false);
    let healthy = async {
        let mut answered = 0;
        while !is_over.load(Ordering::Relaxed) {
            assert_iris_answers(&serving).await;
            answered += 1;
        }
        answered
    };
    let greedy = async {
        for model in greedy::all() {
            crowd(&serving, model.name, &json!({"inputs": {"n": [model.huge]}})).await;
        }
        crowd(&serving, "ConstantOfShape", &json!({"inputs": {"n": [2_000_000]}})).await;
        crowd(&serving, "wide", &json!({"inputs": {"x": vec![[1.0]; 5000]}})).await;
        crowd(&serving, "wide", &json!({"inputs": {"x": vec![[1.0]; 300]}})).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (answered, ()) = tokio::join!(healthy, greedy);
    assert!(answered > 0);

    let status = fs::read_to_string(format!("/proc/{}/status", serving.process.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < MOST_RESIDENT_KIB, "{resident} KiB are resident when all is over");
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
