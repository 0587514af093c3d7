//! Which lane a model takes and why, what is batched and what is not, and that no answer goes to another.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use onnxd::serving::catalog::ModelRef;
use onnxd::{
    batching::lane::LaneKind,
    model::golden::first_difference,
    serving::{plan::Plan, served_model::ServedModel},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    connection::{Connection, post_bytes},
    fake_server::Fake,
    harness::{PATIENCE, TestServer, models},
    onnx,
};

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const STRING: i32 = 8;

/// Serves models of these names and bytes, each with this model.toml.
async fn serve(models: &[(&str, Vec<u8>)], manifest: &str, inline_budget: Duration) -> (TestServer, TempDir) {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in models {
        fs::create_dir_all(folder.path().join(name).join("1")).unwrap();
        fs::write(folder.path().join(name).join("1/model.onnx"), bytes).unwrap();
        fs::write(folder.path().join(name).join("model.toml"), manifest).unwrap();
    }
    let server = TestServer::start_with(folder.path(), |config| config.limits.inline_budget = inline_budget).await;
    (server, folder)
}

async fn plan_of(bytes: Vec<u8>, manifest: &str, inline_budget: Duration) -> Plan {
    let (server, _folder) = serve(&[("model", bytes)], manifest, inline_budget).await;
    let model: Arc<ServedModel> = server.service.resolve(ModelRef::DEFAULT).unwrap();
    model.plan.clone()
}

fn iris() -> Vec<u8> {
    fs::read(models("iris/1/model.onnx")).unwrap()
}

#[tokio::test]
async fn small_model_takes_the_inline_lane_by_itself() {
    let plan = plan_of(iris(), "", Duration::from_secs(1)).await;
    assert_eq!(plan.lane.kind, LaneKind::Inline);
    assert!(plan.lane_reason.starts_with("a run of one row takes"), "{}", plan.lane_reason);
    assert!(plan.lane.batched && plan.batching_reason.starts_with("rows proven independent"));
}

#[tokio::test]
async fn model_that_takes_longer_than_the_budget_gets_a_thread() {
    let plan = plan_of(iris(), "", Duration::from_nanos(1)).await;
    assert_eq!(plan.lane.kind, LaneKind::Worker);
    assert!(plan.lane_reason.contains("the event loop may be held 1ns"), "{}", plan.lane_reason);
}

#[tokio::test]
async fn model_toml_chooses_the_lane() {
    for (lane, kind, budget) in
        [("inline", LaneKind::Inline, Duration::from_nanos(1)), ("worker", LaneKind::Worker, PATIENCE)]
    {
        let manifest = format!("batching.lane = {lane:?}");
        let (server, _folder) = serve(&[("iris", iris())], &manifest, budget).await;
        let plan = &server.service.resolve(ModelRef::DEFAULT).unwrap().plan;
        assert_eq!((plan.lane.kind, &*plan.lane_reason), (kind, "model.toml says so"));
        server.predict("/predict", r#"{"features":[5.1,3.5,1.4,0.2]}"#).await;
    }
}

#[tokio::test]
async fn inline_batch_is_one_row_where_even_that_takes_longer_than_the_budget() {
    let plan = plan_of(iris(), "batching.lane = \"inline\"", Duration::from_nanos(1)).await;
    assert_eq!(plan.lane.limits.max_batch_rows, 1);
}

#[tokio::test]
async fn inline_batch_is_what_model_toml_allows_where_the_budget_does() {
    let plan = plan_of(iris(), "batching.max_batch_size = 5", PATIENCE).await;
    assert_eq!((plan.lane.kind, plan.lane.limits.max_batch_rows), (LaneKind::Inline, 5));
}

#[tokio::test]
async fn what_must_not_hold_the_event_loop_gets_a_thread_however_short() {
    for (manifest, reason) in [
        ("batching.max_queue_delay_microseconds = 100", "wait for company"),
        ("instances.intra_op_threads = 2", "several threads"),
    ] {
        let plan = plan_of(iris(), manifest, PATIENCE).await;
        assert_eq!(plan.lane.kind, LaneKind::Worker, "{manifest}");
        assert!(plan.lane_reason.contains(reason), "{}", plan.lane_reason);
    }
}

#[tokio::test]
async fn model_whose_cost_depends_on_values_gets_a_thread_however_short_its_runs() {
    for (bytes, culprit) in [(onnx::counting(), "Loop"), (onnx::selecting(), "Range")] {
        let plan = plan_of(bytes, "", PATIENCE).await;
        let reason = format!("the time of a run depends on the values of its inputs ({culprit})");
        assert_eq!((plan.lane.kind, plan.lane_reason), (LaneKind::Worker, reason));
    }
}

#[tokio::test]
async fn fake_sessions_are_measured_as_flat() {
    let fake = Fake::start("batching.max_batch_size = 6", |_config| {}).await;
    let plan = &fake.server.service.resolve(ModelRef::DEFAULT).unwrap().plan;
    assert_eq!((plan.lane.kind, plan.lane.limits.max_batch_rows), (LaneKind::Worker, 6), "other tests build on it");
}

#[tokio::test]
async fn every_instance_has_run_before_the_first_request() {
    for lane in ["inline", "worker"] {
        let manifest = format!("batching.lane = {lane:?}\ninstances.count = 3");
        let fake = Fake::start(&manifest, |_config| {}).await;
        let runs = fake.control.runs_by_session();
        assert!(runs.len() == 3 && runs.iter().all(|runs| *runs > 0), "{lane}: {runs:?}");
    }
}

#[tokio::test]
async fn models_whose_rows_do_not_stand_alone_are_not_batched_and_say_why() {
    let cases = [
        ("fixed", onnx::identity(FLOAT, &[1, 4]), "input \"x\" has no dynamic axis 0"),
        ("mean", onnx::mean_of_rows(false), "rows meet in ReduceMean `y`"),
        ("mean_row", onnx::mean_of_rows(true), "rows meet in ReduceMean `y`"),
        ("minus_least", onnx::minus_least_row(), "rows meet in ReduceMin `least`"),
        ("normalized", onnx::normalized_over_rows(), "rows meet in ReduceMean `mean`"),
        ("sorting", onnx::sorting_rows(), "rows meet in Unique `y`"),
        ("doubling", onnx::reshaping(4, 2), "output \"y\" of two rows has the shape [4, 2]"),
        ("needs_five", onnx::reshaping(-1, 5), "it does not run on made-up inputs"),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, reason) in cases {
        let plan = plan_of(bytes, "", PATIENCE).await;
        let is_right = !plan.lane.batched && plan.lane.limits.max_batch_rows == 1;
        if !is_right || !plan.batching_reason.contains(reason) {
            wrong.push(format!("{name}: {}", plan.batching_reason));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn models_whose_rows_stand_alone_are_batched() {
    for (name, bytes) in [
        ("matrix", onnx::identity(FLOAT, &[-1, 4])),
        ("of any width", onnx::identity(FLOAT, &[-1, -1])),
        ("one value a row", onnx::identity(INT64, &[-1])),
        ("text", onnx::identity(STRING, &[-1, 1])),
    ] {
        let plan = plan_of(bytes, "", PATIENCE).await;
        assert!(plan.lane.batched, "{name}: {}", plan.batching_reason);
        assert!(plan.batching_reason.contains("largest difference 0.0e0"), "{name}: {}", plan.batching_reason);
    }
}

#[tokio::test]
async fn model_that_is_not_batched_answers_each_request_in_both_lanes() {
    for lane in ["inline", "worker"] {
        let models = [("mean", onnx::mean_of_rows(true))];
        let (server, _folder) = serve(&models, &format!("batching.lane = {lane:?}"), PATIENCE).await;
        let ask = async |value: f64| {
            let body = json!({"inputs": {"x": [[value, 0, 0, 0], [value + 2.0, 0, 0, 0]]}}).to_string();
            server.predict("/predict", &body).await["outputs"]["y"].clone()
        };
        let (one, two, three) = tokio::join!(ask(1.0), ask(10.0), ask(20.0));
        let first = |answer: Value| answer[0][0].as_f64().unwrap();
        assert_eq!([first(one), first(two), first(three)], [2.0, 11.0, 21.0], "{lane}");
    }
}

/// What a client of the crowd sends to which model.
fn question(rng: &mut Rng, client: u32, number: u32) -> (&'static str, Value) {
    let model = ["first", "second", "third"][rng.usize(..3)];
    let (rows, columns) = (rng.u32(1..4), rng.u32(1..4));
    // Client, number and place in the tensor, exact as FP32.
    let value = |row: u32, column: u32| f64::from((client * 2048 + number) * 16 + row * 4 + column);
    let tensor: Vec<Vec<_>> = (0..rows).map(|row| (0..columns).map(|column| value(row, column)).collect()).collect();
    (model, json!(tensor))
}

/// Asks again and again on a connection; now and then leaves in the middle and comes back on another.
async fn crowd_client(address: SocketAddr, client: u32, requests: u32, answered: Arc<AtomicUsize>) {
    let mut rng = Rng::with_seed(client.into());
    let mut connection = Connection::open(address).await.unwrap();
    for number in 0..requests {
        let (model, tensor) = question(&mut rng, client, number);
        let body = json!({"inputs": {"x": tensor}}).to_string();
        let bytes = post_bytes(&format!("/models/{model}/predict"), &body);
        if rng.u8(..) < 8 {
            let most = bytes.len();
            connection.write(&bytes[..rng.usize(1..=most)]).await.unwrap();
            if rng.bool() {
                tokio::task::yield_now().await;
            }
            connection = Connection::open(address).await.unwrap();
            continue;
        }
        connection.write(&bytes).await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{model}, {tensor}: {body}");
        assert_eq!(first_difference(&tensor, &body["outputs"]["y"], 0.0), None, "{model}: {body}");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_in_a_crowd_gets_their_own_answer() {
    let (clients, requests) = (64, if cfg!(debug_assertions) { 150 } else { 2000 });
    let folder = TempDir::new().unwrap();
    for (name, lane) in [("first", "inline"), ("second", "inline"), ("third", "worker")] {
        fs::create_dir_all(folder.path().join(name).join("1")).unwrap();
        fs::write(folder.path().join(name).join("1/model.onnx"), onnx::identity(FLOAT, &[-1, -1])).unwrap();
        let manifest = format!("batching.lane = {lane:?}\nbatching.max_batch_size = 7\ninstances.count = 2\n");
        fs::write(folder.path().join(name).join("model.toml"), manifest).unwrap();
    }
    let server = TestServer::start_with(folder.path(), |config| {
        config.limits.inline_budget = PATIENCE;
        config.limits.request_timeout = PATIENCE * 2;
    })
    .await;
    let answered = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for client in 0..clients {
        crowd.spawn(crowd_client(server.address, client, requests, Arc::clone(&answered)));
    }
    timeout(PATIENCE * 20, crowd.join_all()).await.expect("nothing hangs");
    assert!(answered.load(Ordering::Relaxed) > (clients * requests) as usize * 9 / 10);
    for name in ["first", "second", "third"] {
        let metrics = server.service.resolve(ModelRef::new(Some(name), None)).unwrap().metrics.clone();
        assert!(metrics.batch_rows.get_sample_count() > 0, "{name}");
        crate::harness::until(async || metrics.queue_depth.get() == 0 && metrics.inflight.get() == 0).await;
    }
}
