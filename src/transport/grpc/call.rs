//! One call: what its handler is told, and what is counted and logged of it when it ends.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use tonic::Code;
use uuid::Uuid;

use crate::{
    edge::{prediction::Deadline, request_id::RequestId},
    error::{Error, Result},
    logging::ACCESS_TARGET as TARGET,
    serving::{budget::SharedCharge, served_model::ServedModel},
    transport::{closing::Closing, grpc::methods::Method, http::pipeline::layers::access_log},
};

/// What a handler is told of a call beside its message; in the extensions of the request.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// When the answer is no longer wanted.
    pub(super) deadline: Deadline,
    /// Tells when a stream must end.
    pub(super) closing: Closing,
    answered_by: Arc<OnceLock<Arc<ServedModel>>>,
    /// What the messages of the call were charged.
    pub(super) charge: Arc<SharedCharge>,
}

impl Caller {
    pub(super) fn new(deadline: Deadline, closing: Closing, charge: Arc<SharedCharge>) -> Self {
        Self { deadline, closing, answered_by: Arc::default(), charge }
    }

    /// Takes the caller out of a request.
    ///
    /// # Errors
    /// `Internal` where there is none.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Result<Self> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("a call came past the application"))
    }

    /// Leaves word for the log which model answers.
    pub(super) fn answered_by(&self, model: &Arc<ServedModel>) {
        let _first = self.answered_by.set(Arc::clone(model));
    }
}

/// A call that is counted and logged when this is dropped; until it has a code, its client counts as gone.
#[derive(Debug)]
pub(super) struct Call {
    method: Arc<Method>,
    started: Instant,
    id: RequestId,
    answered_by: Option<Arc<OnceLock<Arc<ServedModel>>>>,
    code: Code,
}

impl Call {
    pub(super) fn new(method: Arc<Method>, id: RequestId) -> Self {
        Self { method, started: Instant::now(), id, answered_by: None, code: Code::Cancelled }
    }

    /// Remembers where the handler leaves word of the model.
    pub(super) fn watch(&mut self, caller: &Caller) {
        self.answered_by = Some(Arc::clone(&caller.answered_by));
    }

    /// Says how the call ends.
    pub(super) fn set_code(&mut self, code: Code) {
        self.code = code;
    }

    /// Returns the id of the request.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    fn log(&self, code: &str) {
        // As text, as the line of HTTP is.
        let mut buffer = Uuid::encode_buffer();
        let (path, protocol, request_id) = (&*self.method.path, "grpc", self.id.as_str(&mut buffer));
        let duration_ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let (mut duration_text, mut version_text) = (zmij::Buffer::new(), itoa::Buffer::new());
        let message = ["gRPC", path, code, duration_text.format(duration_ms), "ms"].join(" ");
        let message = message.as_str();
        match self.answered_by.as_ref().and_then(|slot| slot.get()) {
            Some(model) => {
                let (model, version) = (model.name.as_str(), version_text.format(model.version.number()));
                tracing::info!(target: TARGET, message, protocol, path, code, duration_ms, request_id, model, version);
            }
            None => tracing::info!(target: TARGET, message, protocol, path, code, duration_ms, request_id),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = code_name(self.code);
        self.method.metrics.count(code, self.started.elapsed());
        if access_log::is_on() {
            self.log(code);
        }
    }
}

/// Returns a code as the protocol writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
