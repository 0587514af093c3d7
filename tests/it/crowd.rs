//! A crowd that asks many models at once, in every form and shape: each gets its own answer, the same as alone.

use std::{fs, net::SocketAddr, sync::Arc};

use fastrand::Rng;
use onnxd::model::golden::first_difference;
use onnxd::serving::catalog::ModelRef;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::timeout};

use crate::{
    batching::{BUNDLED, copy_bundled, made_up, without_time},
    connection::{Connection, post_bytes},
    harness::{PATIENCE, TestServer},
    onnx,
};

const FLOAT: i32 = 1;
const CLIENTS: usize = 64;
/// Of one client; in a release build, of all together over 100,000.
const REQUESTS: usize = if cfg!(debug_assertions) { 40 } else { 1600 };
/// How many different requests there are for a model.
const QUESTIONS: usize = 48;

/// A request, with what the model answers to it alone.
struct Question {
    request: Vec<u8>,
    body: String,
    alone: Value,
}

/// Serves the bundled models in both lanes, one of any shape, and one that is not batched.
async fn serve() -> (TestServer, TempDir) {
    let folder = TempDir::new().unwrap();
    let lane = |name: &str| if name.len().is_multiple_of(2) { "inline" } else { "worker" };
    copy_bundled(folder.path(), lane);
    for (name, bytes) in [("any_shape", onnx::identity(FLOAT, &[-1, -1, -1])), ("mean", onnx::mean_of_rows(true))] {
        fs::create_dir_all(folder.path().join(name).join("1")).unwrap();
        fs::write(folder.path().join(name).join("1/model.onnx"), bytes).unwrap();
        let manifest = format!("[batching]\nlane = {:?}\n[instances]\ncount = 2\n", lane(name));
        fs::write(folder.path().join(name).join("model.toml"), manifest).unwrap();
    }
    let server = TestServer::start_with(folder.path(), |config| {
        config.limits.inline_budget = PATIENCE;
        config.limits.request_timeout = PATIENCE * 2;
    })
    .await;
    (server, folder)
}

/// Makes up a body; a bundled model's in one of the native forms that take it.
fn body_for(model: &str, rng: &mut Rng) -> String {
    let rows = rng.usize(1..5);
    let tensor = |dims: [usize; 3], rng: &mut Rng| -> Value {
        let mut list = |count: usize| (0..count).map(|_| json!(f64::from(rng.u16(..)))).collect::<Vec<_>>();
        (0..dims[0]).map(|_| (0..dims[1]).map(|_| list(dims[2])).collect::<Vec<_>>()).collect::<Vec<_>>().into()
    };
    match model {
        "any_shape" => json!({"inputs": {"x": tensor([rows, rng.usize(1..4), rng.usize(1..6)], rng)}}).to_string(),
        "mean" => json!({"inputs": {"x": tensor([1, rows, 4], rng)[0]}}).to_string(),
        "iris" | "breast_cancer" => {
            let body = made_up(model, rows, rng);
            match rng.u8(0..3) {
                0 => body,
                1 => body.replacen("instances", "features", 1),
                _ => format!(
                    r#"{{"inputs":{{"features":{}}}}}"#,
                    serde_json::from_str::<Value>(&body).unwrap()["instances"]
                ),
            }
        }
        _ => made_up(model, rows, rng),
    }
}

async fn questions(server: &TestServer) -> Vec<Question> {
    let mut rng = Rng::with_seed(11);
    let mut questions = Vec::new();
    for model in BUNDLED.into_iter().chain(["any_shape", "mean"]) {
        let path = format!("/models/{model}/predict");
        for _ in 0..QUESTIONS {
            let body = body_for(model, &mut rng);
            let alone = without_time(server.predict(&path, &body).await);
            questions.push(Question { request: post_bytes(&path, &body), body, alone });
        }
    }
    questions
}

async fn client(address: SocketAddr, seed: u64, questions: Arc<Vec<Question>>) {
    let mut rng = Rng::with_seed(seed);
    let mut connection = Connection::open(address).await.unwrap();
    for _ in 0..REQUESTS {
        let question = &questions[rng.usize(..questions.len())];
        connection.write(&question.request).await.unwrap();
        let answer = connection.answer().await.unwrap().unwrap();
        let got: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 200, "{}: {got}", question.body);
        let difference = first_difference(&question.alone, &without_time(got), 1e-6);
        assert_eq!(difference, None, "{}", question.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everyone_gets_the_answer_that_they_get_alone() {
    let (server, _folder) = serve().await;
    let questions = Arc::new(questions(&server).await);
    let runs = || -> u64 {
        let models = BUNDLED.into_iter().chain(["any_shape", "mean"]);
        models
            .map(|name| {
                server.service.resolve(ModelRef::new(Some(name), None)).unwrap().metrics.batch_rows.get_sample_count()
            })
            .sum()
    };
    let before = runs();
    let mut crowd = JoinSet::new();
    for seed in 0..CLIENTS {
        crowd.spawn(client(server.address, seed as u64, Arc::clone(&questions)));
    }
    timeout(PATIENCE * 20, crowd.join_all()).await.expect("nothing hangs");
    let (asked, runs) = (CLIENTS * REQUESTS, runs() - before);
    println!("{asked} requests were answered in {runs} runs");
    assert!(runs < asked as u64, "some did run together");
}
