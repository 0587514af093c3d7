//! Batches: what is run together answers what it answers alone, and what cannot be run together is not.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use fastrand::Rng;
use futures_util::future::join_all;
use onnxd::model::golden::first_difference;
use onnxd::serving::catalog::ModelRef;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fake_engine::Run,
    fake_server::{Fake, row_values},
    harness::{PATIENCE, TestServer, error_text, models, within_patience},
    onnx,
};

const LANES: [&str; 2] = ["inline", "worker"];
const FLOAT: i32 = 1;

/// The bundled models.
pub const BUNDLED: [&str; 6] = ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"];

/// Copies the bundled models into a repository, each for a lane.
pub fn copy_bundled(folder: &Path, lane: impl Fn(&str) -> &'static str) {
    for name in BUNDLED {
        let (from, to, lane) = (models(name), folder.join(name), lane(name));
        fs::create_dir_all(to.join("1")).unwrap();
        fs::copy(from.join("1/model.onnx"), to.join("1/model.onnx")).unwrap();
        let manifest = fs::read_to_string(from.join("model.toml")).unwrap();
        fs::write(to.join("model.toml"), format!("{manifest}\n[batching]\nlane = {lane:?}\n")).unwrap();
    }
}

/// Serves the bundled models in a lane, with batches as large as they may be.
async fn serve_bundled(lane: &'static str) -> (TestServer, TempDir) {
    let folder = TempDir::new().unwrap();
    copy_bundled(folder.path(), |_model| lane);
    let server = TestServer::start_with(folder.path(), |config| config.limits.inline_budget = PATIENCE).await;
    (server, folder)
}

/// Serves `y = x` in a lane.
async fn serve_identity(dims: &[i64], batching: &str) -> (TestServer, TempDir) {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("identity/1")).unwrap();
    fs::write(folder.path().join("identity/1/model.onnx"), onnx::identity(FLOAT, dims)).unwrap();
    fs::write(folder.path().join("identity/model.toml"), format!("[batching]\n{batching}\n")).unwrap();
    let server = TestServer::start_with(folder.path(), |config| config.limits.inline_budget = PATIENCE).await;
    (server, folder)
}

/// Makes up a body of some rows for a bundled model.
pub fn made_up(model: &str, rows: usize, rng: &mut Rng) -> String {
    let mut list = |count: usize, most: f64| {
        let values: Vec<_> = (0..count).map(|_| format!("{:.3}", rng.f64() * most)).collect();
        format!("[{}]", values.join(","))
    };
    let rows: Vec<String> = match model {
        "iris" | "iris_zipmap" => (0..rows).map(|_| list(4, 8.0)).collect(),
        "breast_cancer" => (0..rows).map(|_| list(30, 100.0)).collect(),
        "digits" => {
            let images: Vec<_> = (0..rows)
                .map(|_| format!("[[{}]]", (0..8).map(|_| list(8, 1.0)).collect::<Vec<_>>().join(",")))
                .collect();
            return format!(r#"{{"inputs":{{"image":[{}]}}}}"#, images.join(","));
        }
        "ride_duration" => (0..rows)
            .map(|_| {
                let (from, to, distance) = (rng.u8(1..200), rng.u8(1..200), rng.f64() * 20.0);
                format!(r#"{{"PULocationID":{from},"DOLocationID":{to},"trip_distance":{distance:.2}}}"#)
            })
            .collect(),
        _ => (0..rows)
            .map(|_| {
                let words = ["iris", "petals", "faces", "of", "wine", "cells", "the", "handwritten", "news", "digits"];
                let sentence = (0..rng.usize(1..9)).fold(String::new(), |mut sentence, _| {
                    let _infallible = write!(sentence, "{} ", words[rng.usize(..words.len())]);
                    sentence
                });
                format!(r#"["{}"]"#, sentence.trim_end())
            })
            .collect(),
    };
    format!(r#"{{"instances":[{}]}}"#, rows.join(","))
}

/// Takes away what differs from answer to answer.
pub fn without_time(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("prediction_time");
    answer
}

#[tokio::test]
async fn requests_that_run_together_answer_what_each_answers_alone() {
    for lane in LANES {
        let (server, _folder) = serve_bundled(lane).await;
        for name in BUNDLED {
            let model = server.service.resolve(ModelRef::new(Some(name), None)).unwrap();
            assert!(model.plan.lane.batched, "{name}: {}", model.plan.batching_reason);
            let (path, mut rng) = (format!("/models/{name}/predict"), Rng::with_seed(7));
            let bodies: Vec<_> = (0..24).map(|index| made_up(name, index % 4 + 1, &mut rng)).collect();
            let mut alone = Vec::new();
            for body in &bodies {
                alone.push(without_time(server.predict(&path, body).await));
            }
            let runs = || model.metrics.batch_rows.get_sample_count();
            within_patience(async {
                // Until some did run together, which is almost always at once.
                loop {
                    let before = runs();
                    let together = join_all(bodies.iter().map(|body| server.predict(&path, body))).await;
                    for ((alone, together), body) in alone.iter().zip(together).zip(&bodies) {
                        let difference = first_difference(alone, &without_time(together), 1e-6);
                        assert_eq!(difference, None, "{lane}, {name}: {body}");
                    }
                    if runs() - before < bodies.len() as u64 {
                        break;
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn requests_of_different_shapes_are_not_mixed() {
    for lane in LANES {
        let (server, _folder) = serve_identity(&[-1, -1], &format!("lane = {lane:?}")).await;
        assert!(server.service.resolve(ModelRef::DEFAULT).unwrap().plan.lane.batched);
        let mut rng = Rng::with_seed(3);
        let tensors: Vec<Value> = (0..32)
            .map(|_| {
                let (rows, columns) = (rng.usize(1..4), rng.usize(1..4));
                (0..rows).map(|_| (0..columns).map(|_| f64::from(rng.u16(..))).collect::<Vec<_>>()).collect::<Vec<_>>()
            })
            .map(|tensor| json!(tensor))
            .collect();
        let bodies = tensors.iter().map(|tensor| json!({"inputs": {"x": tensor}}).to_string());
        let answers = join_all(bodies.map(async |body| server.predict("/predict", &body).await)).await;
        for (tensor, answer) in tensors.iter().zip(answers) {
            assert_eq!(first_difference(tensor, &answer["outputs"]["y"], 0.0), None, "{lane}: {answer}");
        }
    }
}

#[tokio::test]
async fn request_larger_than_a_batch_is_split_and_put_together_in_order() {
    for lane in LANES {
        for (queue, instances) in [(1, 2), (2, 1), (1024, 1)] {
            let batching = format!(
                "lane = {lane:?}\nmax_batch_size = 8\nmax_queue_size = {queue}\n[instances]\ncount = {instances}"
            );
            let (server, _folder) = serve_identity(&[-1, 2], &batching).await;
            let metrics = server.service.resolve(ModelRef::DEFAULT).unwrap().metrics.clone();
            let rows: Value = (0..83).map(|row| json!([f64::from(row), 0.5])).collect();
            let answer = server.predict("/predict", &json!({"inputs": {"x": rows}}).to_string()).await;
            assert_eq!(first_difference(&rows, &answer["outputs"]["y"], 0.0), None, "{batching}: {answer}");
            assert_eq!(metrics.batch_rows.get_sample_sum(), 83.0);
            assert!(metrics.batch_rows.get_sample_count() >= 11);
        }
    }
}

#[tokio::test]
async fn rows_are_counted_and_not_requests() {
    let fake = Fake::start("batching.max_batch_size = 6", |_config| {}).await;
    fake.control.close_gate();
    let crowd = async {
        fake.until_running(1).await;
        tokio::join!(
            fake.post_rows(&[1.0, 2.0, 3.0]),
            async {
                fake.until_queued(1).await;
                fake.post_rows(&[4.0, 5.0, 6.0]).await
            },
            async {
                fake.until_queued(2).await;
                fake.post_rows(&[7.0, 8.0, 9.0]).await
            },
            async {
                fake.until_queued(3).await;
                fake.control.open_gate();
            },
        )
    };
    let (_running, (first, second, third, ())) = tokio::join!(fake.post(), crowd);
    assert_eq!(row_values(first).await, [1.0, 2.0, 3.0]);
    assert_eq!(row_values(second).await, [4.0, 5.0, 6.0]);
    assert_eq!(row_values(third).await, [7.0, 8.0, 9.0]);
    assert_eq!(fake.rows(), [1, 6, 3]);
}

#[tokio::test]
async fn full_batch_does_not_wait_for_the_queue_delay() {
    let delay = "[batching]\nmax_batch_size = 2\nmax_queue_delay_microseconds = 10_000_000";
    let fake = Fake::start(delay, |config| config.limits.request_timeout = PATIENCE * 2).await;
    let second = async {
        fake.until_queued(1).await;
        assert_eq!(fake.runs(), 0, "the first waits for company");
        fake.post().await
    };
    let (first, second) = tokio::join!(fake.post(), second);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert_eq!(fake.rows(), [2]);
}

#[tokio::test]
async fn lone_request_does_not_wait_longer_than_the_queue_delay() {
    let fake = Fake::start("batching.max_queue_delay_microseconds = 2000", |_config| {}).await;
    assert_eq!(fake.post().await.status(), 200);
    assert_eq!(fake.rows(), [1]);
}

#[tokio::test]
async fn without_a_queue_delay_a_lone_request_is_run_at_once() {
    for lane in LANES {
        let fake = Fake::start(&format!("batching.lane = {lane:?}"), |config| {
            config.limits.inline_budget = PATIENCE;
        })
        .await;
        assert_eq!(fake.post().await.status(), 200);
        assert_eq!(fake.rows(), [1]);
    }
}

/// Lets rows of these values run together, one request each, in their order.
async fn run_together(fake: &Fake, values: &[f32]) -> Vec<reqwest::Response> {
    fake.control.close_gate();
    let one_by_one = values.iter().enumerate().map(async |(index, value)| {
        fake.until_running(1).await;
        fake.until_queued(index).await;
        fake.post_rows(&[*value]).await
    });
    let opening = async {
        fake.until_running(1).await;
        fake.until_queued(values.len()).await;
        fake.control.open_gate();
    };
    let (_running, responses, ()) = tokio::join!(fake.post(), join_all(one_by_one), opening);
    responses
}

#[tokio::test]
async fn bad_request_in_a_batch_fails_alone() {
    let fake = Fake::start("", |_config| {}).await;
    fake.control.set_run(Run::FailOnNegative);
    let mut responses = run_together(&fake, &[1.0, -2.0, 3.0]).await;
    assert_eq!(row_values(responses.pop().unwrap()).await, [3.0]);
    error_text(responses.pop().unwrap(), 500).await;
    assert_eq!(row_values(responses.pop().unwrap()).await, [1.0]);
    assert_eq!(fake.rows(), [1, 3, 1, 1, 1]);
    assert_eq!(fake.server.get("/health/ready").await.status(), 200);
    // Whatever is run again has waited once all the same.
    let model = fake.server.service.resolve(ModelRef::DEFAULT).unwrap();
    assert_eq!(model.metrics.queue.get_sample_count(), 4);
}

#[tokio::test]
async fn panic_in_a_batch_fails_all_of_it_and_the_model() {
    let manifest = "batching.max_batch_size = 3";
    let fake = Fake::start_models(&["fake", "other"], manifest, |config| {
        config.default_model = Some("fake".to_owned());
    })
    .await;
    fake.control.set_run(Run::PanicOnNegative);
    let responses = run_together(&fake, &[1.0, -2.0, 3.0, 4.0]).await;
    let statuses: Vec<_> = responses.iter().map(|response| response.status().as_u16()).collect();
    assert_eq!(statuses, [500, 500, 500, 503], "what waited behind the batch is not run");
    assert_eq!(fake.rows(), [1, 3]);
    assert_eq!(fake.server.get("/health/ready").await.status(), 503);
    let other = fake.server.post("/models/other/predict", crate::fake_server::rows_body(&[5.0])).await;
    assert_eq!(row_values(other).await, [5.0]);
}

#[tokio::test]
async fn inline_panic_is_a_500_and_takes_the_model_out_of_service() {
    let fake = Fake::start("batching.lane = \"inline\"", |config| {
        config.limits.inline_budget = Duration::from_secs(1);
    })
    .await;
    fake.control.set_run(Run::PanicOnNegative);
    error_text(fake.post_rows(&[-1.0]).await, 500).await;
    error_text(fake.post().await, 503).await;
    assert_eq!(fake.server.get("/health/ready").await.status(), 503);
}
