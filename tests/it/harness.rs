//! A server on a free port, and verbs to talk to it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Once},
    time::Duration,
};

use onnxd::{
    config::{RuntimeSettings, ServerConfig},
    engine::{Engine, onnx_runtime::OrtEngine},
    server::{self, Ending},
    serving::service::InferenceService,
};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::connection::Connection;

use crate::fake_engine::FAKE_VERSION;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

static RUNTIME: LazyLock<Arc<OrtEngine>> = LazyLock::new(|| {
    let engine = OrtEngine::new(&RuntimeSettings::default().library_candidates());
    let engine = engine.expect("ONNX Runtime is there: `make fetch` puts it there");
    // This process is not onnxd.
    Arc::new(engine.isolating_with(env!("CARGO_BIN_EXE_onnxd").into()))
});

/// Returns ONNX Runtime, which all tests of the process share.
pub fn runtime() -> Arc<OrtEngine> {
    Arc::clone(&RUNTIME)
}

/// Returns the path of the bundled models, or of something inside.
pub fn models(inside: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(inside)
}

/// A server that runs until it is stopped.
pub struct TestServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for gRPC alone, if it does.
    pub grpc_address: Option<SocketAddr>,
    /// Its models and state.
    pub service: Arc<InferenceService>,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    run: JoinHandle<Ending>,
    _folder: Option<TempDir>,
}

impl TestServer {
    /// Serves all bundled models on ONNX Runtime, `iris` by default.
    pub async fn start() -> Self {
        Self::start_with(models(""), |config| config.default_model = Some("iris".to_owned())).await
    }

    /// Serves one of the bundled models.
    pub async fn serving(model: &str) -> Self {
        Self::start_with(models(model), |_config| {}).await
    }

    /// Serves what lies at `path` on ONNX Runtime, with settings changed by `change`; returns when all is loaded.
    pub async fn start_with(path: impl Into<PathBuf>, change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::start_on(runtime(), path, change).await
    }

    /// Serves what lies at `path` on `engine`; returns when all is loaded or failed.
    pub async fn start_on(
        engine: Arc<dyn Engine>,
        path: impl Into<PathBuf>,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let server = Self::start_loading(engine, path, change).await;
        within_patience(server.service.loaded()).await;
        server
    }

    /// Like [`Self::start_on`], but returns as soon as the port is taken.
    #[expect(clippy::disallowed_methods, reason = "`stop` awaits the task")]
    pub async fn start_loading(
        engine: Arc<dyn Engine>,
        path: impl Into<PathBuf>,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        show_logs();
        let mut config = ServerConfig::for_testing(path);
        // Fake sessions wait for the test, which the event loop must not.
        if engine.version() == FAKE_VERSION {
            config.limits.inline_budget = Duration::from_nanos(1);
        }
        change(&mut config);
        let server = server::bind(config, engine).await.expect("the settings are right");
        let (address, grpc_address) = (server.address(), server.grpc_address());
        let service = Arc::clone(server.service());
        let (stop, stopped) = oneshot::channel();
        let run = tokio::spawn(server.run_until(async {
            // A test that ends without stopping its server drops the sender, which stops it too.
            let _dropped = stopped.await;
        }));
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("the client's settings are right");
        Self { address, grpc_address, service, client, stop: Some(stop), run, _folder: None }
    }

    /// Keeps the folder of its models for as long as it serves.
    pub fn keeping(self, folder: TempDir) -> Self {
        Self { _folder: Some(folder), ..self }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends `GET path`.
    pub async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.expect("the server answers")
    }

    /// Sends `GET path` and parses the answer, whatever its status.
    pub async fn get_json(&self, path: &str) -> Value {
        self.get(path).await.json().await.expect("the answer is JSON")
    }

    /// Starts a request, for tests that need headers.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends `POST path` with this body, as `curl -d` would.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        let request =
            self.request(reqwest::Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("the server answers")
    }

    /// Posts a body that must be answered 200, and returns the answer.
    pub async fn predict(&self, path: &str, body: &str) -> Value {
        let response = self.post(path, body.to_owned()).await;
        let (status, text) = (response.status(), response.text().await.expect("the answer is text"));
        assert_eq!(status, StatusCode::OK, "{body} was answered {text}");
        serde_json::from_str(&text).expect("the answer is JSON")
    }

    /// Posts a body that must be refused with this status; returns the error's text, after checking the shape of its body.
    pub async fn refuse(&self, path: &str, body: impl Into<reqwest::Body>, status: u16) -> String {
        error_text(self.post(path, body).await, status).await
    }

    /// Writes bytes to a connection of its own and returns all that is answered until the server closes it.
    pub async fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut connection = self.connect().await;
        // The server may close before it has read everything; what it said by then still counts.
        let _closed = connection.write(bytes.as_ref()).await;
        connection.until_closed().await
    }

    /// Opens a connection, to write what no HTTP client would.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.address).await.expect("the server accepts")
    }

    /// Returns the value of a metric, written with its labels as in `prediction_inflight{model="iris",version="1"}`.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.expect("metrics are text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().expect("the value is a number"))
    }

    /// Asks the server to drain, and returns at once.
    pub fn start_stopping(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("the server is still running");
        }
    }

    /// Stops the server and says how it ended.
    pub async fn stop(mut self) -> Ending {
        self.start_stopping();
        within_patience(self.run).await.expect("the server did not panic")
    }
}

/// Checks that a response is an error as the contract has it, and returns its text.
pub async fn error_text(response: Response, status: u16) -> String {
    let request_id = response.headers().get("x-request-id").expect("every response has x-request-id");
    let request_id = request_id.to_str().expect("the id is text").to_owned();
    let got = response.status().as_u16();
    let body: Value = response.json().await.expect("every error is JSON");
    assert_eq!(got, status, "{body}");
    assert_eq!(body["request_id"], *request_id, "{body}");
    let code = match status {
        405 => "method_not_allowed",
        413 => "payload_too_large",
        404 => "not_found",
        408 => "request_timeout",
        415 => "unsupported_media_type",
        429 => "overloaded",
        500 => "internal",
        501 => "unimplemented",
        503 => "unavailable",
        504 => "deadline_exceeded",
        _ => "invalid_argument",
    };
    assert_eq!(body["code"], code, "{body}");
    body["error"].as_str().expect("the error is text").to_owned()
}

/// Waits, but not for ever.
pub async fn within_patience<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens within a minute")
}

/// Asks again and again until the answer is yes; for what only the server can know, such as a gauge.
pub async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    within_patience(async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn show_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
        if let Ok(filter) = std::env::var("TEST_LOG") {
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
        }
    });
}
