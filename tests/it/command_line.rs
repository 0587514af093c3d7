//! The program from outside: settings, exit codes, and what it prints.

use std::{ffi::OsStr, fs, net::TcpListener, path::Path, process::Command};

use serde_json::Value;

use crate::{
    harness::models,
    process::{Ended, Process, ServingProcess, onnxd, onnxd_serve},
};

/// Asserts that a command says in one line on stderr what is wrong, all of `parts` in it, and exits with `code`.
async fn refuses(command: Command, code: i32, parts: &[&str]) {
    let described = format!("{command:?}");
    let ended = Process::run(command).await;
    assert_eq!(ended.code, Some(code), "{described}: {ended:#?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{described}: {}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{described}: {part:?} is not in {}", ended.stderr);
    }
}

fn with_variable(mut command: Command, name: &str, value: impl AsRef<OsStr>) -> Command {
    command.env(name, value);
    command
}

async fn succeeds(arguments: &[&str]) -> Ended {
    let ended = Process::run(onnxd(arguments)).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:#?}");
    ended
}

fn iris() -> String {
    models("iris").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn wrong_flag_value_is_one_line_and_exit_64() {
    refuses(onnxd(["serve", "--port", "70000"]), 64, &["--port", "70000"]).await;
}

#[tokio::test]
async fn value_with_a_hyphen_is_one_line_with_what_was_expected_and_exit_64() {
    let command = onnxd(["serve", "--keep-alive", "-1s"]);
    refuses(command, 64, &["--keep-alive: expected a duration from", "\"-1s\""]).await;
}

#[tokio::test]
async fn more_threads_than_cpus_are_warned_of() {
    let repository = tempfile::tempdir().unwrap();
    // Not a model, so that nothing is really run on that many threads.
    fs::create_dir_all(repository.path().join("wide/1")).unwrap();
    fs::write(repository.path().join("wide/1/model.onnx"), "").unwrap();
    fs::write(repository.path().join("wide/model.toml"), "[instances]\ncount = 256\nintra_op_threads = 1024").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let path = repository.path().to_str().unwrap();
    let ended =
        Process::run(onnxd(["serve", path, "--host", "127.0.0.1", "--port", &port, "--log-format", "text"])).await;
    let warning = "model wide runs on 262144 threads (256 × 1024), but the CPUs allow";
    assert!(ended.stderr.contains(warning) && ended.stderr.contains("lower count"), "{ended:#?}");
}

#[tokio::test]
async fn wrong_port_variable_is_one_line_and_exit_64() {
    refuses(with_variable(onnxd(["serve"]), "PORT", "abc"), 64, &["PORT", "abc"]).await;
}

#[tokio::test]
async fn wrong_log_level_variable_is_one_line_and_exit_64() {
    refuses(with_variable(onnxd(["serve"]), "LOG_LEVEL", "inof"), 64, &["LOG_LEVEL", "inof"]).await;
}

#[tokio::test]
async fn unknown_flag_is_one_line_and_exit_64() {
    refuses(onnxd(["serve", "--prot", "1"]), 64, &["--prot"]).await;
}

#[tokio::test]
async fn unknown_command_is_one_line_and_exit_64() {
    refuses(onnxd(["sevre"]), 64, &["sevre"]).await;
}

#[tokio::test]
async fn path_that_is_not_there_is_one_line_and_exit_64() {
    refuses(onnxd_serve(Path::new("/no/such/models"), &[]), 64, &["/no/such/models"]).await;
}

#[tokio::test]
async fn folder_without_models_is_one_line_and_exit_64() {
    let empty = tempfile::tempdir().unwrap();
    refuses(onnxd_serve(empty.path(), &[]), 64, &["no models", "NAME.onnx"]).await;
}

#[tokio::test]
async fn unknown_default_model_is_one_line_and_exit_64() {
    refuses(onnxd_serve(&models(""), &["--default-model", "irsi"]), 64, &["irsi", "iris"]).await;
}

#[tokio::test]
async fn port_that_is_taken_is_one_line_and_exit_64() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let command = onnxd(["serve", &iris(), "--host", "127.0.0.1", "--port", &port]);
    refuses(command, 64, &["127.0.0.1", &port]).await;
}

#[tokio::test]
async fn missing_runtime_is_one_line_with_the_remedy_and_exit_69() {
    let command = with_variable(onnxd(["serve", &iris()]), "ORT_DYLIB_PATH", "/nonexistent");
    refuses(command, 69, &["/nonexistent", "ORT_DYLIB_PATH", "make fetch"]).await;
}

#[tokio::test]
async fn file_that_is_no_library_is_one_line_with_the_remedy_and_exit_69() {
    let file = tempfile::tempdir().unwrap();
    let library = file.path().join("libonnxruntime.so");
    fs::write(&library, "not a library").unwrap();
    refuses(with_variable(onnxd(["serve", &iris()]), "ORT_DYLIB_PATH", library), 69, &["make fetch"]).await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn library_that_is_not_onnx_runtime_is_one_line_with_the_remedy_and_exit_69() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.split_whitespace().find(|path| path.contains("/libc.so")).expect("the tests are linked with libc");
    let command = with_variable(onnxd(["serve", &iris()]), "ORT_DYLIB_PATH", libc);
    refuses(command, 69, &["not an ONNX Runtime", "make fetch"]).await;
}

#[tokio::test]
async fn help_exits_0_and_names_every_command() {
    let help = succeeds(&["--help"]).await.stdout;
    for command in ["serve", "inspect", "check", "doctor"] {
        assert!(help.contains(command), "{help}");
    }
}

#[tokio::test]
async fn help_of_serve_names_the_variables() {
    let help = succeeds(&["serve", "--help"]).await.stdout;
    for variable in ["MODEL_PATH", "HOST", "PORT", "LOG_LEVEL", "ONNXD_REQUEST_TIMEOUT", "ONNXD_DRAIN_DELAY"] {
        assert!(help.contains(&format!("[env: {variable}")), "{variable} is not in {help}");
    }
}

#[tokio::test]
async fn version_exits_0_and_is_the_crates() {
    assert_eq!(succeeds(&["--version"]).await.stdout, format!("onnxd {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn no_command_prints_the_help_and_exits_64() {
    let ended = Process::run(onnxd::<&str>([])).await;
    assert_eq!(ended.code, Some(64), "{ended:#?}");
    assert!(ended.stderr.contains("Usage"), "{ended:#?}");
}

#[tokio::test]
async fn path_host_and_port_come_from_their_variables() {
    let mut command = onnxd(["serve"]);
    command.env("MODEL_PATH", models("iris")).env("HOST", "127.0.0.1").env("PORT", "0");
    let serving = ServingProcess::start_command(command).await;
    // The default would be all addresses, and port 8000.
    assert!(serving.address.ip().is_loopback() && serving.address.port() != 8000, "{}", serving.address);
    assert_eq!(serving.get("/models/iris").await.status(), 200);
}

#[tokio::test]
async fn port_variable_is_the_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let command = with_variable(onnxd(["serve", &iris(), "--host", "127.0.0.1"]), "PORT", &port);
    refuses(command, 64, &[&format!("127.0.0.1:{port}")]).await;
}

#[tokio::test]
async fn flag_wins_over_its_variable() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let command = with_variable(onnxd_serve(&models("iris"), &[]), "PORT", port.to_string());
    assert_ne!(ServingProcess::start_command(command).await.address.port(), port);
}

#[tokio::test]
async fn log_level_variable_is_the_log_level() {
    let command = with_variable(onnxd_serve(&models("iris"), &[]), "LOG_LEVEL", "onnxd::server=info,error");
    let ended = ServingProcess::start_command(command).await.stop().await;
    assert!(ended.stderr.contains("listening") && !ended.stderr.contains("is ready"), "{}", ended.stderr);
}

#[tokio::test]
async fn misspelt_variable_is_warned_of() {
    let command = with_variable(onnxd_serve(&models("iris"), &[]), "ONNXD_MAX_BODY_BITES", "1");
    let ended = ServingProcess::start_command(command).await.stop().await;
    assert!(ended.stderr.contains("ONNXD_MAX_BODY_BITES"), "{}", ended.stderr);
}

#[tokio::test]
async fn inspect_prints_each_bundled_models_inputs() {
    let inputs = [
        ("breast_cancer", "mean_radius"),
        ("digits", "image"),
        ("iris", "sepal_length"),
        ("iris_zipmap", "sepal_length"),
        ("ride_duration", "PULocationID"),
        ("text", "text"),
    ];
    for (model, input) in inputs {
        let printed = succeeds(&["inspect", models(model).to_str().unwrap()]).await.stdout;
        assert!(printed.contains(input), "{model}: {printed}");
    }
}

#[tokio::test]
async fn inspect_as_json_is_json_with_the_signature() {
    let printed = succeeds(&["inspect", &iris(), "--json"]).await.stdout;
    let json: Value = serde_json::from_str(&printed).unwrap();
    assert!(json.to_string().contains("\"FP32\""), "{json}");
}

#[tokio::test]
async fn inspect_of_what_is_no_model_says_so_and_exits_1() {
    let ended = Process::run(onnxd(["inspect", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("not an ONNX model"), "{ended:#?}");
}

#[tokio::test]
async fn doctor_exits_0_and_names_the_runtimes_version() {
    let printed = succeeds(&["doctor"]).await.stdout;
    assert!(printed.contains("ONNX Runtime") && printed.contains("1."), "{printed}");
}

#[tokio::test]
async fn doctor_tells_of_a_missing_runtime() {
    let ended = Process::run(with_variable(onnxd(["doctor"]), "ORT_DYLIB_PATH", "/nonexistent")).await;
    assert!(format!("{}{}", ended.stdout, ended.stderr).contains("/nonexistent"), "{ended:#?}");
}
