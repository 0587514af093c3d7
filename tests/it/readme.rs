//! README.md and `docs/` show what the server does: each command in a `sh` block is run, each answer below it compared.
//!
//! A ```` ```json ```` block below a `sh` block is the answer to the last `curl` in it. A ```` ```text ```` block is what
//! the last command prints, to the letter. Blocks without a language vary from run to run and are not compared.

use std::{
    fs,
    path::{Path, PathBuf},
};

use onnxd::model::{golden, manifest::Manifest};
use serde_json::Value;

use crate::{
    harness::TestServer,
    markdown::{Block, Page},
    process::{Process, onnxd, shell},
};

/// Programs that a block may name and that are not run here: they need a container engine, a cluster, a cloud, or a
/// program of their own. `make` is not run either, but its targets must exist.
const NOT_RUN: &[&str] = &["make", "docker", "kubectl", "(cd", "gcloud", "k6", "locust", "perf_analyzer"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns README.md and every page of `docs/`.
fn pages() -> Vec<Page> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    paths.sort();
    paths.insert(0, root().join("README.md"));
    paths.into_iter().map(Page::read).collect()
}

fn page(name: &str) -> Page {
    Page::read(root().join(name))
}

/// Makes the folder in which a reader would type: `models/`, a model in a file of its own, and rows of CSV.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("models"), folder.path().join("models")).unwrap();
    fs::copy(root().join("models/iris/1/model.onnx"), folder.path().join("wine.onnx")).unwrap();
    let rows = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n";
    fs::write(folder.path().join("rows.csv"), rows).unwrap();
    folder
}

#[tokio::test]
async fn every_command_works_and_gets_the_answer_below_it() {
    let server = TestServer::start().await;
    let folder = folder();
    let (mut commands, mut answers) = (0, 0);
    for page in pages() {
        let answers_before = answers;
        for block in &page.blocks {
            let Block::Shell(lines) = block else { continue };
            let (last, others) = lines.split_last().expect("a block has a command");
            for line in others {
                commands += usize::from(try_command(&server, folder.path(), line, None).await);
            }
            let expected = page.answer_to(block);
            answers += usize::from(expected.is_some());
            let run = try_command(&server, folder.path(), last, expected).await;
            assert!(run || expected.is_none(), "{}: nothing runs {last}, but an answer follows", page.name);
            commands += usize::from(run);
        }
        assert!(page.name != "README.md" || answers - answers_before >= 4, "the README has lost its examples");
    }
    assert!(commands >= 25 && answers >= 12, "the documents have lost their examples: {commands}, {answers}");
}

/// Runs one command, unless [`NOT_RUN`] has its program; returns whether it ran.
async fn try_command(server: &TestServer, folder: &Path, line: &str, expected: Option<&Block>) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
    let (program, argument) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match (program, argument) {
        ("onnxd", "serve") => {
            // 9000 is the port that the documents choose where they choose one.
            let command = shell(folder, &format!("exec env PORT=0 HOST=127.0.0.1 {}", line.replace("9000", "0")));
            Process::start(command).log_line("listening on http://").await;
        }
        ("onnxd" | "printf", _) => run_program(server, folder, line, expected).await,
        ("curl", _) => run_curl(server, folder, line, expected).await,
        _ => {
            assert!(NOT_RUN.contains(&program), "{line}: run {program} in this test, or list it in NOT_RUN");
            check_names(line);
            return false;
        }
    }
    true
}

/// Checks what can be checked of a command that is not run: targets of make, and files of the repository.
fn check_names(line: &str) {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let line = line.split(" #").next().unwrap_or_default();
    for target in line.split("&&").filter_map(|command| command.trim().strip_prefix("make ")) {
        let target = target.split_whitespace().next().unwrap_or_default();
        assert!(makefile.contains(&format!("\n{target}:")), "{line}: the Makefile has no target {target}");
    }
    for path in line.split_whitespace().filter(|word| ["k8s/", "benches/"].iter().any(|it| word.starts_with(it))) {
        assert!(root().join(path).exists(), "{line}: no {path}");
    }
}

async fn run_program(server: &TestServer, folder: &Path, line: &str, expected: Option<&Block>) {
    let mut script = with_addresses(server, line.split(" #").next().unwrap_or_default());
    // Short on any machine, patient on a busy one.
    let options = [("onnxd bench", " --requests 20 --warm-up 0s"), ("onnxd healthcheck", " --timeout 60s")];
    for (command, options) in options {
        if script.starts_with(command) {
            script.push_str(options);
        }
    }
    let port = server.address.port();
    let ended = Process::run(shell(folder, &format!("HOST=127.0.0.1 PORT={port} {script}"))).await;
    assert_eq!(ended.code, Some(0), "{script}: {}", ended.stderr);
    match expected {
        Some(Block::Text(text)) => assert_eq!(ended.stdout.trim_end(), text.trim_end(), "{script}"),
        Some(Block::Json(json)) => compare(json, &ended.stdout, line),
        _ => {}
    }
}

async fn run_curl(server: &TestServer, folder: &Path, line: &str, expected: Option<&Block>) {
    let options = "curl --silent --show-error --noproxy '*' --write-out '%{stderr}%{http_code}'";
    let script = with_addresses(server, line).replacen("curl", options, 1);
    let ended = Process::run(shell(folder, &script)).await;
    assert_eq!(ended.code, Some(0), "{line}: {} (the tests need curl)", ended.stderr);
    let is_error = match expected {
        Some(Block::Json(json)) => json.starts_with("{\"error\""),
        _ => false,
    };
    let succeeded = ended.stderr.trim_end().parse().is_ok_and(|status: u16| status < 400);
    assert_ne!(succeeded, is_error, "{line}: {} {}", ended.stderr, ended.stdout);
    match expected {
        Some(Block::Json(json)) => compare(json, &ended.stdout, line),
        Some(Block::Text(text)) => assert_eq!(ended.stdout.trim_end(), text.trim_end(), "{line}"),
        _ => {}
    }
}

fn with_addresses(server: &TestServer, line: &str) -> String {
    line.replace("localhost:8000", &server.address.to_string())
}

fn compare(expected: &str, got: &str, line: &str) {
    let parse =
        |text: &str| -> Value { serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}: {text}")) };
    let (expected, got) = (without_what_varies(parse(expected)), without_what_varies(parse(got)));
    // Another processor may differ in the last digits.
    assert_eq!(golden::first_difference(&expected, &got, 1e-5), None, "{line}");
}

fn without_what_varies(mut answer: Value) -> Value {
    for key in ["prediction_time", "request_id", "service_up_since", "uptime_seconds"] {
        if let Some(value) = answer.get_mut(key) {
            *value = Value::Null;
        }
    }
    answer
}

#[tokio::test]
async fn configuration_has_every_setting_with_its_variable_and_default() {
    let text = page("docs/configuration.md").text;
    let help = Process::run(onnxd(["--help"])).await.stdout;
    let (_, settings) = help.split_once("Settings of serve").expect("the help lists the settings");
    let mut settings = settings.lines().skip(1).filter(|line| !line.is_empty()).peekable();
    assert!(settings.peek().is_some());
    for line in settings {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with('<')).collect();
        let cells = words.iter().map(|word| format!("`{word}`"));
        let row = text.lines().find(|row| row.starts_with(&format!("| `{}", words[0])));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {}", words[0]));
        for cell in cells.skip(1) {
            assert!(row.contains(&cell), "docs/configuration.md, {}: {cell} is not in {row}", words[0]);
        }
    }
}

#[test]
fn models_has_every_key_of_model_toml() {
    let text = page("docs/models.md").text;
    // The error of an unknown key lists the known ones.
    let keys_of = |table: &str| -> Vec<String> {
        let error = Manifest::parse(&format!("{table}\nunknown = 0")).expect_err("no table has this key").to_string();
        let known = error.split_once("unknown field `unknown`, expected").map_or("", |(_, known)| known);
        known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut rows = 0;
    for key in keys_of("") {
        let inner = keys_of(&format!("[{key}]"));
        let names = inner.iter().map(|inner| format!("[{key}] {inner}"));
        for name in if inner.is_empty() { vec![key.clone()] } else { names.collect() } {
            assert!(text.contains(&format!("\n| `{name}` |")), "docs/models.md has no row for {name}");
            rows += 1;
        }
    }
    assert!(rows >= 14, "{rows} keys");
}

#[tokio::test]
async fn operations_has_every_metric() {
    let server = TestServer::start().await;
    server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    let text = page("docs/operations.md").text;
    let metrics = server.get("/metrics").await.text().await.unwrap();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names: Vec<&str> = names.filter(|name| !name.starts_with("process_")).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "docs/operations.md does not have {name}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut links = 0;
    let others = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "benches/load/README.md", "models/README.md"];
    for page in pages().into_iter().chain(others.map(page)) {
        for link in page.links() {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.name);
            let has_heading = heading.is_empty() || Page::read(target).headings().any(|it| it == heading);
            assert!(has_heading, "{}: {link} leads to no heading", page.name);
            links += 1;
        }
    }
    assert!(links >= 20, "{links} links");
}
