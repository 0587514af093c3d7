//! Every metric: name, help, labels, buckets. Nothing else registers one, and nothing is global.
//!
//! Base units; a histogram counts too, so no counter doubles it. Label values come from loaded models and fixed sets.

pub mod methods;
pub mod routes;
pub mod saturation;
pub mod statistics;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use tracing_appender::non_blocking::ErrorCounter;

use crate::{
    error::{Error, Result},
    metrics::{
        methods::MethodMetrics,
        routes::RouteMetrics,
        saturation::Saturation,
        statistics::{Statistics, Total},
    },
    model::name::{ModelName, ModelVersion},
};

/// Upper bounds in seconds, from 50 µs: predictions of small models take less than most servers' first bucket.
const LATENCY_BUCKETS: &[f64] = &[
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1.0, 2.5, 5.0,
    10.0, 30.0,
];
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
const MODEL_LABELS: &[&str] = &["model", "version"];
const LOAD_HELP: &str = "Time from opening the file to ready.";
const RESTARTS_HELP: &str = "Restarts of the processes of an isolated model.";

/// All metrics of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    predictions: IntCounterVec,
    latency: HistogramVec,
    errors: IntCounterVec,
    stages: HistogramVec,
    batch_rows: HistogramVec,
    queue_depth: IntGaugeVec,
    inflight: IntGaugeVec,
    cancelled: IntCounterVec,
    restarts: IntCounterVec,
    model_info: IntGaugeVec,
    model_load: GaugeVec,
    model_ready: IntGaugeVec,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
    grpc: GrpcMetrics,
    log_lines_dropped: IntCounter,
    log: OnceLock<ErrorCounter>,
    saturation: GaugeVec,
    // Held at a load and at a scrape.
    models: Mutex<Vec<Arc<ModelMetrics>>>,
}

#[derive(Debug)]
struct GrpcMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl GrpcMetrics {
    fn new(register: &Registrar<'_>) -> Result<Self> {
        let requests = ("grpc_requests_total", "gRPC calls by method and code.");
        let duration =
            ("grpc_request_duration_seconds", "gRPC calls by method; streams from their beginning to their end.");
        Ok(Self {
            requests: register.counters(requests.0, requests.1, &["service", "method", "code"])?,
            duration: register.latencies(duration.0, duration.1, &["service", "method"])?,
        })
    }
}

/// The metrics of one model version, with the labels resolved.
#[derive(Debug)]
pub struct ModelMetrics {
    /// Rows answered.
    pub predictions: IntCounter,
    /// Whole requests, from the first byte read to the last byte encoded.
    pub latency: Histogram,
    /// Reading and checking the body.
    pub decode: Histogram,
    pub queue: Histogram,
    pub compute: Histogram,
    pub encode: Histogram,
    /// Rows per run.
    pub batch_rows: Histogram,
    pub queue_depth: IntGauge,
    /// Requests between arrival and answer.
    pub inflight: IntGauge,
    /// Requests not run because nobody waited for them any more.
    pub cancelled: IntCounter,
    errors: IntCounterVec,
    /// How near the model is to its limit.
    pub saturation: Saturation,
    pub statistics: Statistics,
    saturation_gauge: Gauge,
    restarts: Option<Restarts>,
    name: ModelName,
    version: String,
}

/// The restarts of a model's processes: the metric, and the count that it follows at each scrape.
#[derive(Debug)]
struct Restarts {
    metric: IntCounter,
    count: Arc<AtomicU64>,
}

/// What is known of a model version when it is ready.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    pub name: &'a ModelName,
    pub version: ModelVersion,
    /// The SHA-256 of its file.
    pub sha256: &'a str,
    /// The time from opening the file to ready.
    pub load_time: Duration,
    pub instances: usize,
    /// The places in its queue.
    pub max_queue_size: usize,
    /// Of an isolated model: counts the restarts of its processes.
    pub restarts: Option<&'a Arc<AtomicU64>>,
}

impl Metrics {
    /// Registers every metric. `runtime_version` is ONNX Runtime's.
    ///
    /// # Errors
    /// `Internal` where a metric's definition is not valid, which a test would show.
    pub fn new(runtime_version: &str) -> Result<Self> {
        let registry = Registry::new_custom(None, None).map_err(Error::internal)?;
        let register = Registrar(&registry);
        register.what_runs(runtime_version)?;
        Ok(Self {
            predictions: register.counters("model_predictions_total", "Rows answered.", MODEL_LABELS)?,
            latency: register.latencies("prediction_latency_seconds", "Whole prediction requests.", MODEL_LABELS)?,
            errors: register.counters(
                "prediction_errors_total",
                "Prediction requests that failed, by error code.",
                &["model", "version", "code"],
            )?,
            stages: register.latencies(
                "prediction_stage_seconds",
                "Parts of a prediction request.",
                &["model", "version", "stage"],
            )?,
            batch_rows: register.histograms(
                "prediction_batch_rows",
                "Rows per run of the model.",
                MODEL_LABELS,
                BATCH_BUCKETS,
            )?,
            queue_depth: register.gauges(
                "prediction_queue_depth",
                "Requests that wait for the model.",
                MODEL_LABELS,
            )?,
            inflight: register.gauges("prediction_inflight", "Requests between arrival and answer.", MODEL_LABELS)?,
            cancelled: register.counters(
                "prediction_cancelled_total",
                "Requests not run because nobody waited any more.",
                MODEL_LABELS,
            )?,
            restarts: register.counters("model_restarts_total", RESTARTS_HELP, MODEL_LABELS)?,
            model_info: register.gauges(
                "model_info",
                "Always 1; the SHA-256 of the file that is served.",
                &["model", "version", "sha256"],
            )?,
            model_load: register.gauges_f64("model_load_seconds", LOAD_HELP, MODEL_LABELS)?,
            model_ready: register.gauges("model_ready", "1 while the model serves, else 0.", MODEL_LABELS)?,
            http_requests: register.counters(
                "http_requests_total",
                "HTTP requests by route and status.",
                &["method", "path", "status"],
            )?,
            http_duration: register.latencies(
                "http_request_duration_seconds",
                "HTTP requests by route.",
                &["method", "path"],
            )?,
            grpc: GrpcMetrics::new(&register)?,
            log_lines_dropped: register.counter(
                "onnxd_log_lines_dropped_total",
                "Log lines lost because the log could not be written fast enough.",
            )?,
            log: OnceLock::new(),
            saturation: register.gauges_f64(
                "prediction_saturation",
                "How near the model is to its limit, 0 to 1: busy time or queue, whichever is more.",
                MODEL_LABELS,
            )?,
            models: Mutex::default(),
            registry,
        })
    }

    /// Makes the metrics of a model version that is now ready.
    pub fn model(&self, loaded: &Loaded<'_>) -> Arc<ModelMetrics> {
        let version = loaded.version.to_string();
        let labels = [loaded.name.as_str(), version.as_str()];
        let stage = |stage: &str| self.stages.with_label_values(&[labels[0], labels[1], stage]);
        self.model_info.with_label_values(&[labels[0], labels[1], loaded.sha256]).set(1);
        self.model_load.with_label_values(&labels).set(loaded.load_time.as_secs_f64());
        let metrics = Arc::new(ModelMetrics {
            predictions: self.predictions.with_label_values(&labels),
            latency: self.latency.with_label_values(&labels),
            decode: stage("decode"),
            queue: stage("queue"),
            compute: stage("compute"),
            encode: stage("encode"),
            batch_rows: self.batch_rows.with_label_values(&labels),
            queue_depth: self.queue_depth.with_label_values(&labels),
            inflight: self.inflight.with_label_values(&labels),
            cancelled: self.cancelled.with_label_values(&labels),
            saturation: Saturation::new(loaded.instances, loaded.max_queue_size),
            statistics: Statistics::default(),
            saturation_gauge: self.saturation.with_label_values(&labels),
            restarts: loaded
                .restarts
                .map(|count| Restarts { metric: self.restarts.with_label_values(&labels), count: Arc::clone(count) }),
            errors: self.errors.clone(),
            name: loaded.name.clone(),
            version: version.clone(),
        });
        self.models.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&metrics));
        metrics
    }

    /// Makes the counters of a route. `path` is its template, or one word for all paths that have none.
    pub fn route(&self, path: &str) -> RouteMetrics {
        RouteMetrics::new(path, self.http_requests.clone(), self.http_duration.clone())
    }

    /// Makes the counters of a gRPC method. `service` and `method` are those of one that is served, or a word for all others.
    pub fn method(&self, service: &str, method: &str) -> MethodMetrics {
        MethodMetrics::new(service, method, self.grpc.requests.clone(), self.grpc.duration.clone())
    }

    /// Takes the log's own count of lost lines, which is read at each scrape.
    pub fn watch_log(&self, dropped_lines: ErrorCounter) {
        let _watched_already = self.log.set(dropped_lines);
    }

    /// Writes everything in Prometheus' text format. `readiness` has each model version, and whether it serves now.
    ///
    /// # Errors
    /// `Internal` where the encoder fails.
    pub fn render(&self, readiness: impl Iterator<Item = (ModelName, Option<ModelVersion>, bool)>) -> Result<Vec<u8>> {
        let dropped_lines = self.log.get().map_or(0, ErrorCounter::dropped_lines) as u64;
        self.log_lines_dropped.inc_by(dropped_lines.saturating_sub(self.log_lines_dropped.get()));
        // Held until all is written, so that no other scrape sees the gauges half set.
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        self.model_ready.reset();
        for (name, version, is_ready) in readiness {
            let version = version.map(|version| version.to_string()).unwrap_or_default();
            self.model_ready.with_label_values(&[name.as_str(), &version]).set(is_ready.into());
        }
        for model in &*models {
            model.saturation_gauge.set(model.saturation.read(model.queue_depth.get(), Instant::now()));
            if let Some(Restarts { metric, count }) = &model.restarts {
                metric.inc_by(count.load(Ordering::Relaxed).saturating_sub(metric.get()));
            }
        }
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text).map_err(Error::internal)?;
        Ok(text)
    }

    /// The content type of [`Self::render`].
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;
}

impl ModelMetrics {
    /// Counts a failed prediction under the code of its kind.
    pub fn count_error(&self, code: &str) {
        self.errors.with_label_values(&[self.name.as_str(), &self.version, code]).inc();
    }

    /// Counts a request as in flight until the guard is dropped, on whatever way that happens.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.inflight.inc();
        InFlight(Arc::clone(self))
    }
}

/// Returns how often a duration was observed, and their sum.
pub fn total(durations: &Histogram) -> Total {
    let nanoseconds = Duration::try_from_secs_f64(durations.get_sample_sum()).unwrap_or_default().as_nanos();
    Total { count: durations.get_sample_count(), nanoseconds: u64::try_from(nanoseconds).unwrap_or(u64::MAX) }
}

/// Holds one request's place in `prediction_inflight`.
#[derive(Debug)]
pub struct InFlight(Arc<ModelMetrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.inflight.dec();
    }
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    /// Registers what is known of the program and the process.
    fn what_runs(&self, runtime_version: &str) -> Result<()> {
        let help = "Always 1; the version of onnxd and of ONNX Runtime.";
        let build = self.gauges("onnxd_build_info", help, &["version", "onnxruntime"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), runtime_version]).set(1);
        #[cfg(target_os = "linux")]
        self.keep(prometheus::process_collector::ProcessCollector::for_self())?;
        Ok(())
    }

    fn keep<C: Collector + 'static>(&self, collector: C) -> Result<()> {
        self.0.register(Box::new(collector)).map_err(Error::internal)
    }

    fn kept<C: Collector + Clone + 'static>(&self, collector: prometheus::Result<C>) -> Result<C> {
        let collector = collector.map_err(Error::internal)?;
        self.keep(collector.clone())?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.kept(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec> {
        self.kept(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.kept(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn gauges_f64(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.kept(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn latencies(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec> {
        self.histograms(name, help, labels, LATENCY_BUCKETS)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec> {
        self.kept(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }
}
