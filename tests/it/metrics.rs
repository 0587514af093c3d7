//! `GET /metrics`: every metric of the contract, its labels, and what it counts.

use std::{collections::BTreeMap, fs, sync::Arc};

use reqwest::Method;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::{
    connection::post_bytes,
    fake_engine::{FakeEngine, Run},
    harness::{TestServer, models, until},
};

const ROW: &str = r#"{"a":1,"b":2}"#;
const THREE_ROWS: &str = r#"{"instances":[{"a":1,"b":2},{"a":3,"b":4},{"a":5,"b":6}]}"#;
/// The model whose place the fake engine takes; its own names fit any signature.
const FAKE: &str = "digits";

/// One line of Prometheus' text format.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Everything that a scrape gave.
struct Scrape(Vec<Sample>);

impl Scrape {
    async fn of(server: &TestServer) -> Self {
        Self::parse(&server.get("/metrics").await.text().await.unwrap())
    }

    /// Reads the text format; label values here hold no escapes.
    fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split_terminator("\",").map(|pair| {
                let (label, value) = pair.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                (label.to_owned(), value.trim_end_matches('"').to_owned())
            });
            Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().unwrap() }
        };
        Self(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect())
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        };
        self.0.iter().find(fits).map(|sample| sample.value)
    }

    /// Returns the value of a series, which must be there.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name}{labels:?}"))
    }

    /// Returns the names of the labels of a metric, without the buckets' own.
    fn label_names(&self, name: &str) -> Vec<&str> {
        let sample = self.0.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no {name}"));
        sample.labels.keys().map(String::as_str).collect()
    }
}

async fn fake_server() -> (TestServer, FakeEngine) {
    let engine = FakeEngine::new();
    (TestServer::start_on(Arc::new(engine.clone()), models(FAKE), |_| {}).await, engine)
}

#[tokio::test]
async fn models_that_do_not_serve_are_seen_in_the_metrics() {
    let repository = tempfile::tempdir().unwrap();
    fs::copy(models("iris/1/model.onnx"), repository.path().join("good.onnx")).unwrap();
    fs::write(repository.path().join("corrupt.onnx"), "not a model").unwrap();
    fs::create_dir_all(repository.path().join("misspelt/1")).unwrap();
    fs::write(repository.path().join("misspelt/model.toml"), "[batchin]").unwrap();
    let server = TestServer::start_with(repository.path(), |_| {}).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("model_ready", &[("model", "good"), ("version", "1")]), 1.0);
    assert_eq!(scrape.value("model_ready", &[("model", "corrupt"), ("version", "1")]), 0.0);
    assert_eq!(scrape.value("model_ready", &[("model", "misspelt"), ("version", "")]), 0.0);
}

#[tokio::test]
async fn every_metric_of_the_contract_is_there_after_traffic_with_its_labels() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", ROW).await;
    server.refuse("/predict", "{}", 400).await;
    let scrape = Scrape::of(&server).await;
    let metrics: [(&str, &[&str]); 16] = [
        ("model_predictions_total", &["model", "version"]),
        ("prediction_latency_seconds_sum", &["model", "version"]),
        ("prediction_latency_seconds_count", &["model", "version"]),
        ("prediction_latency_seconds_bucket", &["le", "model", "version"]),
        ("prediction_errors_total", &["code", "model", "version"]),
        ("prediction_stage_seconds_count", &["model", "stage", "version"]),
        ("prediction_batch_rows_count", &["model", "version"]),
        ("prediction_queue_depth", &["model", "version"]),
        ("prediction_inflight", &["model", "version"]),
        ("http_requests_total", &["method", "path", "status"]),
        ("http_request_duration_seconds_count", &["method", "path"]),
        ("http_request_duration_seconds_bucket", &["le", "method", "path"]),
        ("model_info", &["model", "sha256", "version"]),
        ("model_ready", &["model", "version"]),
        ("model_load_seconds", &["model", "version"]),
        ("onnxd_build_info", &["onnxruntime", "version"]),
    ];
    for (name, labels) in metrics {
        assert_eq!(scrape.label_names(name), labels, "{name}");
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn metrics_of_the_process_are_there() {
    let (server, _engine) = fake_server().await;
    let scrape = Scrape::of(&server).await;
    for name in [
        "cpu_seconds_total",
        "resident_memory_bytes",
        "virtual_memory_bytes",
        "open_fds",
        "max_fds",
        "start_time_seconds",
    ] {
        assert!(scrape.find(&format!("process_{name}"), &[]).is_some(), "process_{name}");
    }
}

#[tokio::test]
async fn content_type_is_that_of_the_text_format() {
    let (server, _engine) = fake_server().await;
    let response = server.get("/metrics").await;
    let content_type = response.headers()["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
}

#[tokio::test]
async fn predictions_are_counted_in_rows() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", THREE_ROWS).await;
    server.predict("/predict", ROW).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("model_predictions_total", &[("model", FAKE), ("version", "1")]), 4.0);
}

#[tokio::test]
async fn latency_counts_requests_not_rows() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", THREE_ROWS).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("prediction_latency_seconds_count", &[("model", FAKE)]), 1.0);
}

#[tokio::test]
async fn each_stage_of_a_request_is_observed_once() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", ROW).await;
    let scrape = Scrape::of(&server).await;
    for stage in ["decode", "queue", "compute", "encode"] {
        assert_eq!(scrape.value("prediction_stage_seconds_count", &[("stage", stage)]), 1.0, "{stage}");
    }
}

#[tokio::test]
async fn rows_of_a_run_are_observed() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", THREE_ROWS).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("prediction_batch_rows_sum", &[("model", FAKE)]), 3.0);
}

#[tokio::test]
async fn errors_are_counted_by_code() {
    let (server, engine) = fake_server().await;
    server.refuse("/predict", "not JSON", 400).await;
    server.refuse("/predict", r#"{"a":1}"#, 400).await;
    engine.0.set_run(Run::Fail);
    server.refuse("/predict", ROW, 500).await;
    let scrape = Scrape::of(&server).await;
    let count = |code| scrape.value("prediction_errors_total", &[("model", FAKE), ("version", "1"), ("code", code)]);
    assert_eq!((count("invalid_argument"), count("internal")), (2.0, 1.0));
}

#[tokio::test]
async fn failed_requests_are_no_predictions() {
    let (server, engine) = fake_server().await;
    engine.0.set_run(Run::Fail);
    server.refuse("/predict", ROW, 500).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("model_predictions_total", &[("model", FAKE)]), 0.0);
}

#[tokio::test]
async fn path_label_is_the_routes_template() {
    let (server, _engine) = fake_server().await;
    server.predict("/models/digits/versions/1/predict", ROW).await;
    let scrape = Scrape::of(&server).await;
    let labels = [("method", "POST"), ("path", "/models/{model}/versions/{version}/predict"), ("status", "200")];
    assert_eq!(scrape.value("http_requests_total", &labels), 1.0);
    assert_eq!(scrape.value("http_request_duration_seconds_count", &labels[..2]), 1.0);
}

#[tokio::test]
async fn what_clients_invent_becomes_no_label() {
    let (server, _engine) = fake_server().await;
    server.get("/invented-path").await;
    server.get("/models/invented-model").await;
    server.refuse("/models/invented-model/predict", ROW, 404).await;
    server.refuse("/models/digits/versions/4711/predict", ROW, 404).await;
    server.request(Method::from_bytes(b"INVENTED").unwrap(), "/predict").send().await.unwrap();
    let text = server.get("/metrics").await.text().await.unwrap();
    assert!(!text.to_lowercase().contains("invented") && !text.contains("\"4711\""), "{text}");
}

#[tokio::test]
async fn client_that_leaves_is_counted_with_status_499() {
    let (server, engine) = fake_server().await;
    let before = engine.0.started();
    engine.0.close_gate();
    let mut connection = server.connect().await;
    connection.write(&post_bytes("/predict", ROW)).await.unwrap();
    until(async || engine.0.started() == before + 1).await;
    drop(connection);
    let labels = [("method", "POST"), ("path", "/predict"), ("status", "499")];
    until(async || Scrape::of(&server).await.find("http_requests_total", &labels) == Some(1.0)).await;
    engine.0.open_gate();
}

#[tokio::test]
async fn unknown_paths_are_counted_as_one() {
    let (server, _engine) = fake_server().await;
    for path in ["/one", "/two", "/three/four"] {
        server.get(path).await;
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("http_requests_total", &[("method", "GET"), ("status", "404")]), 3.0);
}

#[tokio::test]
async fn queue_depth_and_inflight_are_what_waits_and_what_is_unanswered() {
    let (server, engine) = fake_server().await;
    let gauges = async || {
        let scrape = Scrape::of(&server).await;
        let value = |name| scrape.value(name, &[("model", FAKE), ("version", "1")]);
        (value("prediction_queue_depth"), value("prediction_inflight"))
    };
    let before = engine.0.started();
    engine.0.close_gate();
    let mut requests = JoinSet::new();
    let mut send = || drop(requests.spawn(server.request(Method::POST, "/predict").body(ROW).send()));
    send();
    until(async || engine.0.started() == before + 1).await;
    send();
    send();
    // One is in the session, two wait.
    until(async || gauges().await == (2.0, 3.0)).await;
    engine.0.open_gate();
    requests.join_all().await;
    until(async || gauges().await == (0.0, 0.0)).await;
}

#[tokio::test]
async fn buckets_begin_at_fifty_microseconds() {
    let (server, _engine) = fake_server().await;
    server.predict("/predict", ROW).await;
    let scrape = Scrape::of(&server).await;
    for name in ["prediction_latency_seconds", "prediction_stage_seconds", "http_request_duration_seconds"] {
        let buckets = scrape.0.iter().filter(|sample| sample.name == format!("{name}_bucket"));
        let bounds = buckets.map(|sample| sample.labels["le"].parse::<f64>().unwrap());
        assert_eq!(bounds.reduce(f64::min), Some(50e-6), "{name}");
    }
}

#[tokio::test]
async fn model_info_has_the_hash_of_the_file_that_is_served() {
    let (server, _engine) = fake_server().await;
    let digest = Sha256::digest(fs::read(models("digits/1/model.onnx")).unwrap());
    let sha256: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("model_info", &[("model", FAKE), ("version", "1"), ("sha256", &sha256)]), 1.0);
}

#[tokio::test]
async fn build_info_has_both_versions() {
    let (server, _engine) = fake_server().await;
    let scrape = Scrape::of(&server).await;
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("onnxruntime", crate::fake_engine::FAKE_VERSION)];
    assert_eq!(scrape.value("onnxd_build_info", &labels), 1.0);
}
