//! One prediction, as every protocol makes it: what is counted, limited and kept off the event loop on its way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::Instant as TokioInstant;

use crate::{
    edge::error::rendering,
    error::{Error, ErrorKind, Result},
    metrics::{InFlight, ModelMetrics},
    request::{InferRequest, InferResponse},
    serving::{served_model::ServedModel, service::InferenceService},
};

/// From this many bytes of text on, reading or writing takes the event loop longer than half a millisecond and goes to
/// the blocking threads.
const OFFLOAD_BYTES: usize = 64 * 1024;

/// When an answer is no longer wanted.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: TokioInstant,
    /// The time that was allowed.
    pub allowed: Duration,
}

impl Deadline {
    /// Returns the moment from which the time is counted: when the request arrived.
    fn counted_from(self) -> Instant {
        (self.at - self.allowed).into_std()
    }

    /// Says that it has passed.
    pub fn passed(&self) -> Error {
        Error::new(ErrorKind::DeadlineExceeded, format!("there was no answer within {:?}", self.allowed))
    }

    /// Words an error alike if the lane was the first to notice that the deadline has passed.
    fn worded(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::DeadlineExceeded => self.passed(),
            _ => error,
        }
    }
}

/// A wire protocol: decodes bodies into requests and encodes responses. Everything else is in [`predict`].
pub trait Protocol: Send + 'static {
    type Body: Send + 'static;
    /// What the encoder must know of the request.
    type Form: Send + 'static;
    type Answer: Send + 'static;

    /// Whether requests are rows; else they are tensors, whose axis 0 may be any dimension.
    const IS_OF_ROWS: bool;

    /// Returns how many bytes of text decoding has to walk through; what is only sliced does not count.
    fn decoded_bytes(&self, body: &Self::Body) -> usize;

    /// Makes tensors of a body.
    ///
    /// # Errors
    /// `InvalidArgument`.
    fn decode(&self, model: &ServedModel, body: Self::Body) -> Result<(InferRequest, Self::Form)>;

    /// Returns the time that a request gives itself, if it does; counted from when its body was there.
    fn timeout(&self, _form: &Self::Form) -> Option<Duration> {
        None
    }

    /// Returns about how many bytes of text encoding writes.
    fn encoded_bytes(&self, response: &InferResponse, form: &Self::Form) -> usize;

    /// Makes an answer of the outputs, which are in signature order.
    ///
    /// # Errors
    /// `InvalidArgument` where the protocol has no way to say a value; `Internal` where the outputs do not fit the model.
    fn encode(&self, model: &ServedModel, response: InferResponse, form: Self::Form) -> Result<Self::Answer>;
}

/// Decodes, runs and encodes. Counts the prediction, also when it fails or its future is dropped, which cancels it.
///
/// `read` returns the body with what it was charged, which is freed after the answer is made. A body that is still being
/// read holds no place among the predictions in flight.
///
/// # Errors
/// `Overloaded` where there is no place; otherwise those of the body, the protocol and
/// [`InferenceService::check_rows`] and [`ServedModel::infer`].
pub async fn predict<P: Protocol, C, R: Future<Output = Result<(P::Body, C)>>>(
    service: &InferenceService,
    model: &Arc<ServedModel>,
    deadline: Deadline,
    protocol: P,
    read: impl FnOnce() -> R,
) -> Result<P::Answer> {
    let mut record = Record::new(&model.metrics, deadline);
    let outcome = answer(service, &mut record, model, protocol, read).await;
    record.finish(&outcome);
    outcome
}

async fn answer<P: Protocol, C, R: Future<Output = Result<(P::Body, C)>>>(
    service: &InferenceService,
    record: &mut Record,
    model: &Arc<ServedModel>,
    protocol: P,
    read: impl FnOnce() -> R,
) -> Result<P::Answer> {
    let (body, _charge) = read().await?;
    record.has_body = true;
    let _place = service.enter()?;
    let started = Instant::now();
    let (protocol, decoded) = match protocol.decoded_bytes(&body) {
        ..OFFLOAD_BYTES => {
            let decoded = protocol.decode(model, body);
            (protocol, decoded)
        }
        _ => {
            let model = Arc::clone(model);
            let decode = move || {
                let decoded = protocol.decode(&model, body);
                (protocol, decoded)
            };
            tokio::task::spawn_blocking(decode).await.map_err(Error::internal)?
        }
    };
    let (request, form) = decoded?;
    service.check_rows(model, &request, P::IS_OF_ROWS)?;
    model.metrics.decode.observe(started.elapsed().as_secs_f64());
    let deadline = record.deadline;
    let asked = protocol.timeout(&form).and_then(|allowed| {
        let at = TokioInstant::from_std(started).checked_add(allowed).filter(|at| *at < deadline.at)?;
        Some(Deadline { at, allowed })
    });
    let response = match asked {
        None => model.infer(request, Some(deadline.at.into_std())).await.map_err(|error| deadline.worded(error))?,
        // Rare: in a box, so that the others' futures stay small.
        Some(deadline) => Box::pin(infer_within(model, request, deadline)).await?,
    };
    let rows = response.outputs.first().and_then(|output| output.shape().first().copied()).unwrap_or(1);
    let started = Instant::now();
    let answer = match protocol.encoded_bytes(&response, &form) {
        ..OFFLOAD_BYTES => protocol.encode(model, response, form)?,
        _ => {
            let model = Arc::clone(model);
            let encode = move || protocol.encode(&model, response, form);
            tokio::task::spawn_blocking(encode).await.map_err(Error::internal)??
        }
    };
    let ended = Instant::now();
    model.metrics.predictions.inc_by(rows as u64);
    model.metrics.encode.observe(ended.saturating_duration_since(started).as_secs_f64());
    record.ended = Some(ended);
    Ok(answer)
}

/// Runs a request that gives itself less time than it has.
async fn infer_within(model: &ServedModel, request: InferRequest, deadline: Deadline) -> Result<InferResponse> {
    let infer = model.infer(request, Some(deadline.at.into_std()));
    match tokio::time::timeout_at(deadline.at, infer).await {
        Ok(answered) => answered.map_err(|error| deadline.worded(error)),
        Err(_elapsed) => Err(deadline.passed()),
    }
}

/// Counts one prediction request, also when its future is dropped before it ends.
struct Record {
    metrics: Arc<ModelMetrics>,
    deadline: Deadline,
    has_body: bool,
    /// When the answer was there.
    ended: Option<Instant>,
    finished: bool,
    _in_flight: InFlight,
}

impl Record {
    fn new(metrics: &Arc<ModelMetrics>, deadline: Deadline) -> Self {
        let _in_flight = metrics.enter();
        Self { metrics: Arc::clone(metrics), deadline, has_body: false, ended: None, finished: false, _in_flight }
    }

    fn finish<T>(&mut self, outcome: &Result<T>) {
        self.finished = true;
        self.count(outcome.as_ref().err().map(|error| rendering(error.kind()).code));
    }

    fn count(&self, error: Option<&str>) {
        let ended = self.ended.unwrap_or_else(Instant::now);
        let taken = ended.saturating_duration_since(self.deadline.counted_from());
        self.metrics.latency.observe(taken.as_secs_f64());
        self.metrics.statistics.count_request(taken, error.is_some());
        if let Some(code) = error {
            self.metrics.count_error(code);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // The handler panicked, or else its future was dropped: the deadline passed, or the client left.
        let kind = match self.has_body {
            _ if std::thread::panicking() => Some(ErrorKind::Internal),
            _ if TokioInstant::now() < self.deadline.at => None,
            true => Some(ErrorKind::DeadlineExceeded),
            false => Some(ErrorKind::RequestTimeout),
        };
        self.count(Some(kind.map_or("cancelled", |kind| rendering(kind).code)));
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

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
        let model = metrics.model(&Loaded {
            name: &name,
            version,
            sha256: "",
            load_time,
            instances: 1,
            max_queue_size: 1,
            restarts: None,
        });
        let allowed = Duration::from_secs(60);
        let record = Record::new(&model, Deadline { at: TokioInstant::now() + allowed, allowed });
        let _panicked = catch_unwind(AssertUnwindSafe(|| end(record)));
        String::from_utf8(metrics.render(std::iter::empty()).unwrap()).unwrap()
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
