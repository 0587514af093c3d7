//! `POST /predict` and its longer forms.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use crate::{
    api::{
        error::{ErrorResponse, rendering},
        http::{
            app::App,
            body,
            layers::{access_log::AnsweredBy, deadline::Deadline},
            native::decode::{Decoded, Form, decode},
            url_path::UrlPath,
        },
    },
    error::{Error, ErrorKind, Result},
    metrics::{InFlight, ModelMetrics},
    request::{InferRequest, InferResponse},
    serving::served_model::ServedModel,
    tensor::tensor::Tensor,
};

/// From this many bytes on, reading or writing JSON takes the event loop longer than half a millisecond and goes to
/// the blocking threads.
const OFFLOAD_BYTES: usize = 64 * 1024;

/// `POST /predict`
pub async fn default_model(State(app): State<App>, request: Request) -> Result<Response, ErrorResponse> {
    predict(app, None, None, request).await
}

/// `POST /models/{model}/predict`
pub async fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    predict(app, Some(&model), None, request).await
}

/// `POST /models/{model}/versions/{version}/predict`
pub async fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    predict(app, Some(&model), Some(&version), request).await
}

async fn predict(
    app: App,
    model: Option<&str>,
    version: Option<&str>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let served_model = app.service.find(model, version)?;
    let deadline = request.extensions().get::<Deadline>().copied();
    let deadline = deadline.ok_or_else(|| Error::internal("the deadline layer is missing"))?;
    let mut record = Record::new(&served_model.metrics, deadline);
    let outcome = match app.enter() {
        Ok(_place) => answer(&app, &served_model, request, deadline).await,
        Err(error) => Err(error),
    };
    record.finish(&outcome);
    let mut response = match outcome {
        Ok(json) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response(),
        Err(error) => ErrorResponse::from(error).into_response(),
    };
    response.extensions_mut().insert(AnsweredBy(served_model.name.clone(), served_model.version));
    Ok(response)
}

/// Decodes, runs and encodes, and observes how long decoding and encoding take.
async fn answer(app: &App, served_model: &Arc<ServedModel>, request: Request, deadline: Deadline) -> Result<Vec<u8>> {
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, app.config.limits.max_body_bytes, deadline).await?;
    let started = Instant::now();
    let Decoded { request, form } = decode_body(served_model, body).await?;
    check_rows(served_model, &request, app.config.limits.max_rows)?;
    served_model.metrics.decode.observe(started.elapsed().as_secs_f64());
    let response = served_model.infer(request, Some(deadline.at.into_std())).await?;
    let started = Instant::now();
    let json = encode_response(app, served_model, response, form).await?;
    served_model.metrics.encode.observe(started.elapsed().as_secs_f64());
    Ok(json)
}

/// Checks the number of rows of a model whose inputs are rows of features.
fn check_rows(served_model: &ServedModel, request: &InferRequest, max_rows: usize) -> Result<()> {
    let rows = request.inputs.first().and_then(|input| input.tensor.shape().first().copied()).unwrap_or(1);
    if served_model.schema.rows.is_none() || rows <= max_rows {
        return Ok(());
    }
    let message =
        format!("expected at most {max_rows} rows (--max-rows), but got {rows}: send them in several requests");
    Err(Error::new(ErrorKind::PayloadTooLarge, message))
}

async fn decode_body(served_model: &Arc<ServedModel>, body: Bytes) -> Result<Decoded> {
    if body.len() < OFFLOAD_BYTES {
        return decode(&served_model.schema, &body);
    }
    let served_model = Arc::clone(served_model);
    let decoded = tokio::task::spawn_blocking(move || decode(&served_model.schema, &body)).await;
    decoded.map_err(Error::internal)?
}

async fn encode_response(
    app: &App,
    served_model: &Arc<ServedModel>,
    response: InferResponse,
    form: Form,
) -> Result<Vec<u8>> {
    let values: usize = response.outputs.iter().map(Tensor::len).sum();
    let rows = response.outputs.first().and_then(|output| output.shape().first().copied()).unwrap_or(1);
    let (app, served_model) = (app.clone(), Arc::clone(served_model));
    let encode = move || {
        let json = app.with_encoder(&served_model, |encoder| encoder.encode(&response, form, Timestamp::now()));
        json.inspect(|_| served_model.metrics.predictions.inc_by(rows as u64))
    };
    // A value takes some ten bytes.
    if values < OFFLOAD_BYTES / 10 {
        return encode();
    }
    tokio::task::spawn_blocking(encode).await.map_err(Error::internal)?
}

/// Counts one prediction request, also when its future is dropped before it ends.
struct Record {
    metrics: Arc<ModelMetrics>,
    deadline: Deadline,
    started: Instant,
    finished: bool,
    _in_flight: InFlight,
}

impl Record {
    fn new(metrics: &Arc<ModelMetrics>, deadline: Deadline) -> Self {
        let _in_flight = metrics.enter();
        Self { metrics: Arc::clone(metrics), deadline, started: Instant::now(), finished: false, _in_flight }
    }

    fn finish<T>(&mut self, outcome: &Result<T>) {
        self.finished = true;
        self.metrics.latency.observe(self.started.elapsed().as_secs_f64());
        if let Err(error) = outcome {
            self.metrics.count_error(rendering(error.kind()).code);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The handler panicked, or else its future was dropped: the deadline passed, or the client left.
        self.metrics.latency.observe(self.started.elapsed().as_secs_f64());
        self.metrics.count_error(match () {
            () if std::thread::panicking() => rendering(ErrorKind::Internal).code,
            () if tokio::time::Instant::now() >= self.deadline.at => rendering(ErrorKind::DeadlineExceeded).code,
            () => "cancelled",
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        time::Duration,
    };

    use super::*;
    use crate::{
        metrics::{Loaded, Metrics},
        model::name::{ModelName, ModelVersion},
    };

    /// Lets a prediction end without an outcome, and returns the metrics of what came of it.
    fn metrics_after(end: impl FnOnce(Record)) -> String {
        let metrics = Metrics::new("0").unwrap();
        let (name, version) = (ModelName::nearest("a"), ModelVersion::new(1).unwrap());
        let load_time = Duration::ZERO;
        let model =
            metrics.model(&Loaded { name: &name, version, sha256: "", load_time, instances: 1, max_queue_size: 1 });
        let allowed = Duration::from_secs(60);
        let record = Record::new(&model, Deadline { at: tokio::time::Instant::now() + allowed, allowed });
        let _panicked = catch_unwind(AssertUnwindSafe(|| end(record)));
        String::from_utf8(metrics.render().unwrap()).unwrap()
    }

    #[test]
    fn handler_that_panics_counts_as_internal() {
        let metrics = metrics_after(|_record| panic!("this is part of the test"));
        assert!(metrics.contains(r#"prediction_errors_total{code="internal",model="a",version="1"} 1"#), "{metrics}");
    }

    #[test]
    fn client_that_leaves_counts_as_cancelled() {
        let metrics = metrics_after(drop);
        assert!(metrics.contains(r#"prediction_errors_total{code="cancelled",model="a",version="1"} 1"#), "{metrics}");
    }
}
