//! Lines in the log of the real process that a client or a panic causes.

use std::{
    io::{BufRead as _, BufReader, pipe},
    panic::catch_unwind,
    process::{Command, Stdio},
};

use onnxd::{
    config::{LogFormat, ServerConfig},
    logging,
};
use serde_json::Value;

use crate::{
    harness::{PATIENCE, models},
    process::{Process, ServingProcess},
};

/// More than a pipe holds, and than the log's buffer.
const PANICS: usize = 300;
const FILLER_BYTES: usize = 1024;
const ALIVE: &str = "alive after all panics";

/// Returns a command that runs [`process_that_panics`] alone.
fn panicking() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["log_lines::process_that_panics", "--exact", "--ignored", "--nocapture"]);
    command.env_remove("RUST_BACKTRACE");
    command
}

#[test]
#[ignore = "the other tests run it in a process of its own, since the log and the panic hook are the process's"]
fn process_that_panics() {
    let mut settings = ServerConfig::for_testing("models").log;
    (settings.format, settings.buffer_lines) = (Some(LogFormat::Json), PANICS);
    let guard = logging::init(&settings).unwrap();
    let filler = "x".repeat(FILLER_BYTES);
    for index in 0..PANICS {
        assert!(catch_unwind(|| panic!("panic {index}\n{filler}")).is_err());
    }
    println!("{ALIVE}");
    drop(guard);
}

#[tokio::test]
async fn panics_do_not_wait_for_a_full_stderr() {
    let mut command = panicking();
    let (full, writer) = pipe().unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
    drop(command);
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let alive =
        tokio::task::spawn_blocking(move || stdout.lines().map_while(Result::ok).any(|line| line.contains(ALIVE)));
    let alive = tokio::time::timeout(PATIENCE, alive).await;
    child.kill().unwrap();
    child.wait().unwrap();
    drop(full);
    assert!(alive.expect("the process goes on").unwrap());
}

#[tokio::test]
async fn panic_is_one_line_of_the_log() {
    let ended = Process::run(panicking()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), PANICS);
    let first = &lines[0];
    assert_eq!(first["level"], "ERROR");
    let place = first["place"].as_str().unwrap();
    assert!(place.starts_with("tests/it/log_lines.rs:"), "{first}");
    assert_eq!(first["message"], format!("panicked at {place}: panic 0\n{}", "x".repeat(FILLER_BYTES)));
    assert_eq!(first["thread"], "log_lines::process_that_panics");
    assert!(first.get("backtrace").is_none(), "{first}");
}

#[tokio::test]
async fn values_that_fail_a_run_are_no_error_of_the_log() {
    let process = ServingProcess::start(&models("text"), &[]).await;
    let body = r#"{"inputs":[{"name":"text","datatype":"BYTES","shape":[1,1],"parameters":{"binary_data_size":6}}]}"#;
    let bytes = [body.as_bytes(), &2_u32.to_le_bytes(), &[0xff, 0xfe]].concat();
    let request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(format!("http://{}/v2/models/text/infer", process.address));
    let response = request.header("inference-header-content-length", body.len()).body(bytes).send().await.unwrap();
    assert_eq!(response.status(), 400, "{}", response.text().await.unwrap());
    let ended = process.stop().await;
    assert!(!ended.stderr.contains("ort::logging"), "{}", ended.stderr);
}
