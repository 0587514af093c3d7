//! Stopping the program: signals, exit codes, and no request lost under load.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use onnxd::protocol::proto::inference::{ModelInferRequest, ModelStreamInferResponse};
use tempfile::TempDir;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tonic::{Request, codegen::tokio_stream::wrappers::ReceiverStream};

use crate::{
    connection::{Connection, post_bytes},
    grpc_client::{Client, MODEL_INFER, MODEL_STREAM_INFER},
    harness::{models, until, within_patience},
    onnx,
    process::{Process, ServingProcess, onnxd_serve, signal},
};

const IRIS_ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
/// For the counting model: longer than any test.
pub const YEARS: &str = r#"{"inputs":{"count":[9223372036854775807]}}"#;
/// For the counting model: as long as a transformer takes.
const MILLISECONDS: &str = r#"{"inputs":{"count":[5000]}}"#;
/// Half of all clients wait for the counting model, which is more than may wait where that takes long.
const MANIFEST: &str = "[batching]\nlane = \"worker\"\nmax_queue_wait_milliseconds = 0\n";
/// How many clients keep a connection busy each.
const CLIENTS: usize = 300;
/// How many answers there must be before the server is told to stop.
const ANSWERS_BEFORE_STOP: usize = 3_000;

/// What one client, or all of them, saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Requests written whole.
    written: usize,
    /// Answers read whole, with status 200.
    answered: usize,
}

/// Sends a request again and again on one connection until the server closes it.
async fn send_until_closed(address: SocketAddr, request: Vec<u8>, on_answer: impl Fn()) -> Tally {
    let mut tally = Tally::default();
    let Ok(mut connection) = Connection::open(address).await else { return tally };
    loop {
        if connection.write(&request).await.is_err() {
            return tally;
        }
        tally.written += 1;
        let Ok(Some(answer)) = connection.answer().await else { return tally };
        assert_eq!(answer.status, 200, "{answer:?}");
        tally.answered += 1;
        on_answer();
        if answer.closes() {
            return tally;
        }
    }
}

/// Serves the counting model; the folder lives as long as the test keeps it.
pub async fn counting_process(arguments: &[&str]) -> (ServingProcess, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write_counting(folder.path());
    (ServingProcess::start(folder.path(), arguments).await, folder)
}

/// Writes the counting model into a repository. One row of it is short when it is measured, and as long as the client asks
/// later: no model for the event loop.
fn write_counting(folder: &Path) {
    let version = folder.join("counting/1");
    fs::create_dir_all(&version).unwrap();
    fs::write(version.join("model.onnx"), onnx::counting()).unwrap();
    fs::write(folder.join("counting/model.toml"), MANIFEST).unwrap();
}

/// Waits until the model is running a request.
pub async fn until_running(serving: &ServingProcess) {
    let runs = r#"prediction_stage_seconds_count{model="counting",stage="queue",version="1"} 1"#;
    until(async || serving.get("/metrics").await.text().await.unwrap().contains(runs)).await;
}

#[tokio::test]
async fn sigterm_under_load_loses_no_request_and_exits_0() {
    let serving = ServingProcess::start(&models("iris"), &["--access-log", "off"]).await;
    stop_under_load(serving, &[post_bytes("/predict", IRIS_ROW)]).await;
}

#[tokio::test]
async fn sigterm_under_load_loses_no_request_of_either_lane() {
    let folder = tempfile::tempdir().unwrap();
    write_counting(folder.path());
    fs::create_dir_all(folder.path().join("iris/1")).unwrap();
    fs::copy(models("iris/1/model.onnx"), folder.path().join("iris/1/model.onnx")).unwrap();
    fs::write(folder.path().join("iris/model.toml"), "[batching]\nlane = \"inline\"\n").unwrap();
    let serving = ServingProcess::start(folder.path(), &["--access-log", "off"]).await;
    let inline = post_bytes("/models/iris/predict", IRIS_ROW);
    let worker = post_bytes("/models/counting/predict", MILLISECONDS);
    stop_under_load(serving, &[inline, worker]).await;
}

/// Keeps clients busy with these requests, stops the server in the middle, and checks that each request that was sent was
/// answered.
async fn stop_under_load(serving: ServingProcess, requests: &[Vec<u8>]) {
    let (answers, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let mut clients = JoinSet::new();
    for request in requests.iter().cycle().take(CLIENTS) {
        let (answers, enough) = (Arc::clone(&answers), Arc::clone(&enough));
        clients.spawn(send_until_closed(serving.address, request.clone(), move || {
            if answers.fetch_add(1, Ordering::Relaxed) == ANSWERS_BEFORE_STOP {
                enough.notify_one();
            }
        }));
    }
    within_patience(enough.notified()).await;
    serving.process.signal("TERM");
    let tallies = within_patience(clients.join_all()).await;
    let ended = serving.process.ended().await;

    let sum = |field: fn(&Tally) -> usize| tallies.iter().map(field).sum::<usize>();
    let total = Tally { written: sum(|tally| tally.written), answered: sum(|tally| tally.answered) };
    println!("{CLIENTS} clients: {total:?}");
    assert_eq!(total.written, total.answered, "requests were lost");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn sigint_stops_as_sigterm_does() {
    let serving = ServingProcess::start(&models("iris"), &[]).await;
    serving.process.signal("INT");
    let ended = serving.process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn readiness_turns_503_first_while_predictions_still_work() {
    let serving = ServingProcess::start(&models("iris"), &["--drain-delay", "60s"]).await;
    serving.process.signal("TERM");
    // Each of these may come on a connection of its own: the port is still open.
    until(async || serving.get("/health/ready").await.status() == 503).await;
    assert_eq!(serving.post("/predict", IRIS_ROW).await.status(), 200);
}

/// Serves the counting model, which runs a request for years.
async fn running_process(arguments: &[&str]) -> (ServingProcess, Connection, TempDir) {
    let (serving, folder) = counting_process(arguments).await;
    let mut connection = Connection::open(serving.address).await.unwrap();
    connection.write(&post_bytes("/predict", YEARS)).await.unwrap();
    until_running(&serving).await;
    (serving, connection, folder)
}

/// Sends a signal again and again until the process has ended, and returns its exit code.
async fn signal_until_ended(process: Process, name: &str) -> Option<i32> {
    let id = process.id();
    let mut ended = pin!(process.ended());
    loop {
        match timeout(Duration::from_millis(100), ended.as_mut()).await {
            Ok(ended) => return ended.code,
            Err(_elapsed) => signal(id, name),
        }
    }
}

#[tokio::test]
async fn second_sigterm_ends_at_once_with_143_while_a_model_runs() {
    let (serving, _connection, _folder) =
        running_process(&["--request-timeout", "10m", "--shutdown-grace", "10m"]).await;
    serving.process.signal("TERM");
    serving.process.log_line("draining").await;
    assert_eq!(signal_until_ended(serving.process, "TERM").await, Some(143));
}

#[tokio::test]
async fn sigint_after_sigterm_ends_at_once_with_130() {
    let (serving, _connection, _folder) =
        running_process(&["--request-timeout", "10m", "--shutdown-grace", "10m"]).await;
    serving.process.signal("TERM");
    serving.process.log_line("draining").await;
    assert_eq!(signal_until_ended(serving.process, "INT").await, Some(130));
}

#[tokio::test]
async fn sigterm_that_comes_twice_at_once_is_one() {
    let (serving, mut connection, _folder) =
        running_process(&["--request-timeout", "2s", "--shutdown-grace", "10m"]).await;
    // Two that differ, since the system makes one of two that are the same.
    signal(serving.process.id(), &format!("TERM {id}; kill -INT", id = serving.process.id()));
    assert_eq!(connection.answer().await.unwrap().unwrap().status, 504, "it is answered when its time is up");
    assert_eq!(serving.process.ended().await.code, Some(0));
}

#[tokio::test]
async fn signals_that_mean_nothing_are_ignored_and_sigquit_drains() {
    let serving = ServingProcess::start(&models("iris"), &["--log-level", "debug"]).await;
    for name in ["HUP", "USR1", "USR2", "ALRM", "XFSZ"] {
        serving.process.signal(name);
        serving.process.log_line(&format!("ignored SIG{name}")).await;
    }
    assert_eq!(serving.post("/predict", IRIS_ROW).await.status(), 200);
    serving.process.signal("QUIT");
    let ended = serving.process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn requests_that_never_arrive_whole_do_not_keep_it_from_stopping() {
    let arguments = ["--shutdown-grace", "10m", "--request-timeout", "10m", "--keep-alive", "10m"];
    let serving = ServingProcess::start(&models("iris"), &arguments).await;
    let request = post_bytes("/predict", IRIS_ROW);
    let mut clients = Vec::new();
    for length in [20, request.len() - 5] {
        let mut client = Connection::open(serving.address).await.unwrap();
        client.write(&request[..length]).await.unwrap();
        clients.push(client);
    }
    let (_requests, received) = mpsc::channel::<ModelInferRequest>(1);
    let client = Client::at(serving.address).await;
    let stream = Request::new(ReceiverStream::new(received));
    let _answers = client.stream::<_, ModelStreamInferResponse>(MODEL_STREAM_INFER, stream).await.unwrap();
    // A message that is announced and does not come, to a method that waits for the whole of it.
    let half = Frame::data(Bytes::from_static(&[0, 0, 0, 1, 0, 1, 2, 3]));
    let frames = stream::iter([Ok::<_, Infallible>(half)]).chain(stream::pending());
    let body = reqwest::Body::wrap(StreamBody::new(frames));
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let request = client.post(format!("http://{}{MODEL_INFER}", serving.address)).body(body);
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let mut halves = JoinSet::new();
    halves.spawn(request.send());
    until(async || {
        let metrics = serving.get("/metrics").await.text().await.unwrap();
        metrics.contains(r#"prediction_inflight{model="iris",version="1"} 1"#)
    })
    .await;
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn run_that_outlasts_the_grace_time_is_cut_off_with_exit_code_1() {
    let (serving, _connection, _folder) = running_process(&["--shutdown-grace", "1s"]).await;
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 connections were cut off"), "{}", ended.stderr);
}

#[tokio::test]
async fn run_that_nobody_waits_for_does_not_keep_it_from_stopping() {
    let (serving, _folder) = counting_process(&["--request-timeout", "100ms"]).await;
    assert_eq!(serving.post("/predict", YEARS).await.status(), 504);
    let ended = serving.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn sigterm_is_obeyed_while_a_model_is_loading() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("endless.onnx"), onnx::endless()).unwrap();
    let process = Process::start(onnxd_serve(folder.path(), &["--shutdown-grace", "1s"]));
    process.log_line("listening").await;
    process.signal("TERM");
    let ended = process.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
