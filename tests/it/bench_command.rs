//! `onnxd bench` against real servers: what is sent, what is counted, and how it ends.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fake_server::{Fake, ROW},
    harness::{TestServer, models, until},
    process::{Ended, Process, ServingProcess, onnxd},
};

/// A server for one connection at a time whose next request waits, and no further one.
const ONE_WAITS: &str = "[batching]\nmax_batch_size = 1\nmax_queue_size = 1";

/// Runs `onnxd bench` without a warm-up, unless the arguments ask for one.
async fn bench(arguments: &[&str]) -> Ended {
    Process::run(command(arguments)).await
}

fn command(arguments: &[&str]) -> Command {
    let warm_up = ["--warm-up", "0s"].iter().filter(|_| !arguments.contains(&"--warm-up"));
    onnxd(["bench"].iter().chain(arguments).chain(warm_up))
}

/// Runs `onnxd bench --json` and returns what it printed.
async fn report(arguments: &[&str], code: i32) -> Value {
    parse(&bench(&[arguments, &["--json"]].concat()).await, code)
}

fn parse(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:#?}"))
}

/// Asserts that the command says in one line what is wrong, all of `parts` in it.
async fn refuses(arguments: &[&str], code: i32, parts: &[&str]) {
    let ended = bench(arguments).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(code), 1), "{arguments:?}: {ended:#?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{arguments:?}: {part:?} is not in {}", ended.stderr);
    }
}

fn path(inside: &str) -> String {
    models(inside).to_str().unwrap().to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn iris_predictions(server: &TestServer) -> f64 {
    server.metric(r#"model_predictions_total{model="iris",version="1"}"#).await
}

fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bodies.jsonl");
    fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn closed_loop_sends_exactly_the_requests_that_were_asked_for() {
    let server = TestServer::start().await;
    let report = report(&[&server.url(""), "-n", "200", "-c", "7", "--threads", "2"], 0).await;
    let run = &report["runs"][0];
    assert_eq!((&run["requests"], &run["answered"], &run["errors"]), (&json!(200), &json!(200), &json!([])));
    assert_eq!((&run["loop"], &run["connections"]), (&json!("closed"), &json!(7)));
    assert_eq!(report["model"], "iris");
    assert_eq!(iris_predictions(&server).await, 200.0);
}

#[tokio::test]
async fn warm_up_is_sent_and_not_counted() {
    let server = TestServer::start().await;
    let run = &report(&[&server.url(""), "-n", "20", "--warm-up", "50ms"], 0).await["runs"][0];
    assert_eq!(run["requests"], 20);
    assert!(iris_predictions(&server).await > 20.0);
    // A scrape before and one after the counted requests see no others.
    assert_eq!(run["server"]["batch_rows"].as_f64().map(|rows| rows >= 1.0), Some(true), "{run}");
}

#[tokio::test]
async fn each_number_of_connections_and_each_rate_is_a_run() {
    let server = TestServer::serving("iris").await;
    let runs = |report: &Value| {
        let runs = report["runs"].as_array().unwrap();
        runs.iter().map(|run| json!([run["connections"], run["rate"]])).collect::<Vec<_>>()
    };
    let closed = report(&[&server.url(""), "-c", "3,1,2", "-n", "5"], 0).await;
    assert_eq!(runs(&closed), [json!([3, null]), json!([1, null]), json!([2, null])]);
    let open = report(&[&server.url(""), "-c", "1,2", "--rate", "500,1000", "-n", "5"], 0).await;
    let expected = [json!([1, 500.0]), json!([2, 500.0]), json!([1, 1000.0]), json!([2, 1000.0])];
    assert_eq!(runs(&open), expected);
}

#[tokio::test]
async fn json_has_the_documented_keys() {
    let server = TestServer::serving("iris").await;
    let report = report(&[&server.url(""), "--rate", "200", "-d", "200ms", "--model", &path("iris")], 0).await;
    let expected =
        ["target", "model", "version", "lane", "client_threads", "warm_up_seconds", "bodies", "runs", "raw", "notes"];
    assert_eq!(keys(&report), expected);
    assert_eq!(keys(&report["bodies"]), ["count", "mean_bytes", "mean_rows"]);
    let run = &report["runs"][0];
    let expected = [
        "loop",
        "connections",
        "rate",
        "seconds",
        "requests",
        "answered",
        "requests_per_second",
        "rows_per_second",
        "latency",
        "send_delay",
        "errors",
        "client_busy",
        "server",
        "raw_ratio",
    ];
    assert_eq!(keys(run), expected);
    for summary in [&run["latency"], &run["send_delay"], &report["raw"]["single"]["latency"]] {
        assert_eq!(keys(summary), ["mean", "p50", "p90", "p99", "p99_9", "max"]);
    }
    assert_eq!(keys(&run["server"]), ["decode", "queue", "compute", "encode", "batch_rows"]);
    assert_eq!(keys(&run["raw_ratio"]), ["single", "best"]);
    assert_eq!(keys(&report["raw"]), ["sessions", "intra_op_threads", "single", "best"]);
    assert_eq!(keys(&report["raw"]["best"]), ["rows_per_run", "rows_per_second", "latency"]);
    let help = Process::run(onnxd(["bench", "--help"])).await.stdout;
    for part in
        [&report, &report["bodies"], run, &run["latency"], &run["server"], &report["raw"], &report["raw"]["best"]]
    {
        for key in keys(part) {
            assert!(help.contains(key), "{key} is not in the help");
        }
    }
}

#[tokio::test]
async fn open_loop_sends_what_is_due_in_its_time() {
    let server = TestServer::serving("iris").await;
    let run = &report(&[&server.url(""), "--rate", "400", "-d", "250ms", "--threads", "3"], 0).await["runs"][0];
    assert_eq!((&run["loop"], &run["requests"], &run["answered"]), (&json!("open"), &json!(100), &json!(100)));
    assert_eq!(iris_predictions(&server).await, 100.0);
}

#[tokio::test]
async fn open_loop_counts_the_requests_that_a_stalled_server_kept_from_being_sent() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let url = fake.server.url("");
    let run = ["-c", "1", "--rate", "1000000", "-n", "10", "--timeout", "100ms", "--data", ROW];
    let run = &report(&[&[url.as_str()], &run[..]].concat(), 1).await["runs"][0];
    assert_eq!((&run["requests"], &run["answered"]), (&json!(10), &json!(0)), "{run}");
    assert_eq!((&run["errors"][0]["code"], &run["errors"][0]["count"]), (&json!("timeout"), &json!(10)), "{run}");
    // The first has used up everybody's time, perhaps before it came to be run.
    assert!(fake.runs() <= 1, "{} were sent", fake.runs());
}

#[tokio::test]
async fn wrong_bodies_are_counted_with_status_code_and_message() {
    let server = TestServer::serving("iris").await;
    let (_folder, bodies) = file("{\"features\":[1,2,3]}\n{\"features\":[5.1,3.5,1.4,0.2]}\n");
    let run = &report(&[&server.url(""), "--body", &bodies, "-n", "20"], 0).await["runs"][0];
    assert_eq!((&run["requests"], &run["answered"]), (&json!(20), &json!(10)));
    let error = &run["errors"][0];
    assert_eq!(
        (&error["status"], &error["code"], &error["count"], &error["message"]),
        (&json!(400), &json!("invalid_argument"), &json!(10), &json!("Expected 4 features, but got 3"))
    );
}

#[tokio::test]
async fn a_run_without_success_exits_1() {
    let server = TestServer::serving("iris").await;
    let run = &report(&[&server.url(""), "--data", "nonsense", "-n", "5"], 1).await["runs"][0];
    assert_eq!((&run["answered"], &run["latency"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn refusals_of_a_full_queue_are_counted_and_are_no_failure_of_the_transport() {
    let fake = Fake::start(ONE_WAITS, |_config| {}).await;
    fake.control.close_gate();
    let url = fake.server.url("");
    let process = Process::start(command(&[&url, "-c", "3", "-n", "20", "--data", ROW, "--json"]));
    // One runs, one waits, and the third connection gets all the others.
    let refused = r#"prediction_errors_total{code="overloaded",model="fake",version="1"}"#;
    until(|| async { fake.server.metric(refused).await == 18.0 }).await;
    fake.control.open_gate();
    let run = &parse(&process.ended().await, 0)["runs"][0];
    let error = &run["errors"][0];
    assert_eq!((&error["status"], &error["code"], &error["count"]), (&json!(429), &json!("overloaded"), &json!(18)));
    assert_eq!(run["answered"], 2);
}

#[tokio::test]
async fn requests_without_an_answer_are_timeouts_and_exit_1() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let url = fake.server.url("");
    let run = &report(&[&url, "-c", "1", "-n", "2", "--timeout", "50ms", "--data", ROW], 1).await["runs"][0];
    let error = &run["errors"][0];
    assert_eq!((&error["status"], &error["code"], &error["count"]), (&Value::Null, &json!("timeout"), &json!(2)));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the task ends with the test's runtime")]
async fn lost_connections_are_counted_and_made_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/anything", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let run = &report(&[&url, "-c", "2", "-n", "6", "--data", "{}"], 1).await["runs"][0];
    let count = |error: &Value| error["count"].as_u64().unwrap();
    let errors = run["errors"].as_array().unwrap();
    assert!(errors.iter().all(|error| error["status"].is_null()), "{run}");
    assert_eq!((errors.iter().map(count).sum::<u64>(), &run["answered"]), (6, &json!(0)), "{run}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_between_requests_is_no_error() {
    let server = TestServer::start_with(models("iris"), |config| {
        config.limits.keep_alive = Duration::from_millis(500);
    })
    .await;
    // A second between two: long after the server has closed, and long before for the first of a connection.
    let run = &report(&[&server.url(""), "--rate", "1", "-n", "2", "-c", "1"], 0).await["runs"][0];
    assert_eq!((&run["answered"], &run["errors"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn headers_are_sent_along() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.close_gate();
    let url = fake.server.url("");
    let run = &report(&[&url, "-n", "1", "--data", ROW, "-H", "x-request-timeout-ms: 20"], 1).await["runs"][0];
    assert_eq!((&run["errors"][0]["status"], &run["errors"][0]["code"]), (&json!(504), &json!("deadline_exceeded")));
}

#[tokio::test]
async fn bodies_are_used_in_turn_and_their_rows_counted() {
    let server = TestServer::serving("iris").await;
    let row = "[5.1,3.5,1.4,0.2]";
    let bodies = format!("{{\"features\":{row}}}\n{{\"features\":[{row},{row},{row}]}}\n");
    let (_folder, bodies) = file(&bodies);
    let report = report(&[&server.url(""), "--body", &bodies, "-n", "10", "-c", "2"], 0).await;
    assert_eq!(report["bodies"]["count"], 2);
    assert_eq!(report["bodies"]["mean_rows"], 2.0);
    assert_eq!(iris_predictions(&server).await, 20.0);
}

#[tokio::test]
async fn a_body_can_come_from_stdin() {
    let server = TestServer::serving("iris").await;
    let mut command = Command::new("sh");
    let script = "echo '{\"features\":[5.1,3.5,1.4,0.2]}' | \"$0\" bench \"$1\" --body @- -n 3 --warm-up 0s --json";
    command.args(["-c", script, env!("CARGO_BIN_EXE_onnxd"), &server.url("")]);
    let report = parse(&Process::run(command).await, 0);
    assert_eq!(report["runs"][0]["answered"], 3);
}

#[tokio::test]
async fn the_example_of_every_bundled_model_works() {
    let server = TestServer::start().await;
    for model in ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"] {
        let url = server.url(&format!("/models/{model}/versions/1"));
        let report = report(&[&url, "-n", "3"], 0).await;
        assert_eq!((&report["runs"][0]["answered"], &report["model"]), (&json!(3), &json!(model)));
        assert_eq!(report["bodies"]["mean_rows"], 1.0, "{model}");
    }
}

#[tokio::test]
async fn a_model_is_served_to_be_measured_beside_the_raw_runtime() {
    let report = report(&[&path("iris"), "-n", "50"], 0).await;
    assert_eq!((&report["model"], &report["runs"][0]["answered"]), (&json!("iris"), &json!(50)));
    let positive = |value: &Value| value.as_f64().is_some_and(|value| value > 0.0);
    let raw = &report["raw"];
    assert_eq!(raw["single"]["rows_per_run"], 1.0);
    assert!(positive(&raw["single"]["rows_per_second"]), "{raw}");
    assert!(raw["best"]["rows_per_second"].as_f64() >= raw["single"]["rows_per_second"].as_f64(), "{raw}");
    let run = &report["runs"][0];
    assert!(positive(&run["raw_ratio"]["single"]) && positive(&run["server"]["compute"]), "{run}");
}

#[tokio::test]
async fn a_url_is_measured_beside_the_runtime_only_where_the_model_is_named() {
    let server = TestServer::serving("iris").await;
    let with = report(&[&server.url(""), "-n", "5", "--model", &path("iris")], 0).await;
    assert!(with["raw"]["best"]["rows_per_second"].is_number(), "{with}");
    let without = report(&[&server.url(""), "-n", "5"], 0).await;
    assert_eq!((&without["raw"], &without["runs"][0]["raw_ratio"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn the_table_is_for_people_and_nothing_else_is_printed() {
    let server = ServingProcess::start(Path::new(&path("iris")), &[]).await;
    // As it is typed, without http://.
    let url = server.address.to_string();
    let ended = bench(&[&url, "-n", "20", "-c", "1,4", "--model", &path("iris")]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:#?}");
    for part in ["closed loop; 20 requests", "req/s", "p99.9", "decode", "rows/run", "single", "best", "divided by"] {
        assert!(ended.stdout.contains(part), "{part:?} is not in\n{}", ended.stdout);
    }
    let is_row = |line: &&str| line.trim_start().starts_with(['1', '4']);
    assert_eq!(ended.stdout.lines().filter(is_row).count(), 6, "{}", ended.stdout);
}

#[tokio::test]
async fn what_cannot_be_asked_is_one_line_and_exit_1() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    refuses(&[&closed], 1, &["cannot connect to", &closed, "refused"]).await;
    let server = TestServer::start_with(models(""), |_config| {}).await;
    refuses(&[&server.url("/models/none")], 1, &["404", "none", "iris"]).await;
    refuses(&[&server.url("")], 1, &["no default model", "/models/NAME", "iris"]).await;
    refuses(&[&server.url("/elsewhere")], 1, &["no example", "--body"]).await;
}

#[tokio::test]
async fn a_wrong_setting_is_one_line_and_exit_64() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&["https://localhost"], &["http://HOST:PORT", "https"]),
        (&["/nonexistent"], &["/nonexistent"]),
        (&[&path("")], &["6 models", "name one", "breast_cancer"]),
        (&["h:1", "-n", "5", "-d", "1s"], &["--requests", "--duration"]),
        (&["h:1", "-c", "0"], &["--connections", "\"0\""]),
        (&["h:1", "--rate", "fast"], &["--rate", "\"fast\""]),
        (&["h:1", "--body", "/nonexistent"], &["--body", "/nonexistent"]),
        (&["h:1", "--model", "/nonexistent"], &["/nonexistent"]),
    ];
    for (arguments, parts) in cases {
        refuses(arguments, 64, parts).await;
    }
}

#[tokio::test]
async fn only_what_runs_a_model_itself_needs_the_runtime() {
    let server = TestServer::serving("iris").await;
    let run = async |target: &str| {
        let mut command = command(&[target, "-n", "1"]);
        command.env("ORT_DYLIB_PATH", "/nonexistent");
        Process::run(command).await.code
    };
    assert_eq!(run(&server.url("")).await, Some(0));
    assert_eq!(run(&path("iris")).await, Some(69));
}
