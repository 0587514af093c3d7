//! A server whose runs do as a test tells them.

use std::sync::Arc;

use onnxd::config::ServerConfig;
use reqwest::{Method, Response};
use tempfile::TempDir;

use crate::{
    connection::{Connection, post_bytes},
    fake_engine::{Control, FakeEngine, fake_repository},
    harness::{TestServer, until},
};

/// A request of one row.
pub const ROW: &str = r#"{"a":1.5,"b":2}"#;

/// A server with models whose runs do as they are told.
pub struct Fake {
    /// The server.
    pub server: TestServer,
    /// What tells the runs.
    pub control: Arc<Control>,
    /// Runs that warmed the models up.
    warm_ups: usize,
    _models: TempDir,
}

impl Fake {
    /// Starts a server with one model, `fake`.
    pub async fn start(manifest: &str, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_models(&["fake"], manifest, change).await
    }

    /// Starts a server with these models, each with this model.toml.
    pub async fn start_models(names: &[&str], manifest: &str, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let (engine, models) = (FakeEngine::new(), fake_repository(names, manifest));
        let control = Arc::clone(&engine.0);
        let server = TestServer::start_on(Arc::new(engine), models.path(), change).await;
        Self { server, warm_ups: control.started(), control, _models: models }
    }

    /// Returns how many runs have started since the model was ready.
    pub fn runs(&self) -> usize {
        self.control.started() - self.warm_ups
    }

    /// Returns the rows of each of them.
    pub fn rows(&self) -> Vec<usize> {
        self.control.rows()[self.warm_ups..].to_vec()
    }

    /// Waits until so many runs have started.
    pub async fn until_running(&self, runs: usize) {
        until(|| async { self.runs() == runs }).await;
    }

    /// Waits until so many requests wait for `fake`.
    pub async fn until_queued(&self, requests: usize) {
        until(|| async { self.gauge("prediction_queue_depth").await == requests as f64 }).await;
    }

    /// Waits until so many requests for `fake` are without their answers.
    pub async fn until_in_flight(&self, requests: usize) {
        until(|| async { self.gauge("prediction_inflight").await == requests as f64 }).await;
    }

    /// Returns a metric of `fake`.
    pub async fn gauge(&self, name: &str) -> f64 {
        self.server.metric(&format!(r#"{name}{{model="fake",version="1"}}"#)).await
    }

    /// Posts a row.
    pub async fn post(&self) -> Response {
        self.server.post("/predict", ROW).await
    }

    /// Posts rows with these values of `a`, which are what a run answers.
    pub async fn post_rows(&self, values: &[f32]) -> Response {
        self.server.post("/predict", rows_body(values)).await
    }

    /// Posts a row that has only so much time.
    pub async fn post_within(&self, milliseconds: u32) -> Response {
        let request = self.server.request(Method::POST, "/predict").header("x-request-timeout-ms", milliseconds);
        request.body(ROW).send().await.expect("the server answers")
    }

    /// Posts a row on a connection of its own, whose answer is not waited for.
    pub async fn post_on_connection(&self) -> Connection {
        let mut connection = self.server.connect().await;
        connection.write(&post_bytes("/predict", ROW)).await.expect("the server reads");
        connection
    }
}

/// Writes a body of rows with these values of `a`.
pub fn rows_body(values: &[f32]) -> String {
    let rows: Vec<_> = values.iter().map(|value| format!(r#"{{"a":{value},"b":0}}"#)).collect();
    format!(r#"{{"instances":[{}]}}"#, rows.join(","))
}

/// Returns the values that rows were answered with.
pub async fn row_values(response: Response) -> Vec<f64> {
    assert_eq!(response.status(), 200);
    let answer: serde_json::Value = response.json().await.expect("the answer is JSON");
    let predictions = answer["predictions"].as_array().expect("rows are answered in a list");
    predictions.iter().map(|row| row["prediction"].as_f64().expect("a regression answers numbers")).collect()
}
