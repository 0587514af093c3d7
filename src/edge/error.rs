//! THE table from what went wrong to what each protocol says of it.

use std::{any::Any, borrow::Cow, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tonic::{Code, Status, metadata::MetadataValue};

use crate::error::{Error, ErrorKind};

/// After how many seconds a client may try again, where trying again can help.
const RETRY_AFTER_SECONDS: &str = "1";

/// The metadata by which gRPC says the same, in milliseconds.
const RETRY_PUSHBACK: (&str, &str) = ("grpc-retry-pushback-ms", "1000");

/// The longest message that a client is told. gRPC's travel in a header, which clients take no longer than a few KiB.
const MAX_MESSAGE_BYTES: usize = 2000;

/// How the protocols say an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rendering {
    pub status: StatusCode,
    pub grpc: Code,
    /// The code in the body and in `prediction_errors_total`.
    pub code: &'static str,
    /// Whether a client may try again: `retry-after` is sent.
    pub retry: bool,
}

/// Returns how the protocols say a kind of error.
pub fn rendering(kind: ErrorKind) -> Rendering {
    let (status, grpc, code, retry) = match kind {
        ErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, Code::InvalidArgument, "invalid_argument", false),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, Code::NotFound, "not_found", false),
        ErrorKind::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, "request_timeout", false),
        ErrorKind::PayloadTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, "payload_too_large", false)
        }
        ErrorKind::UnsupportedMediaType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "unsupported_media_type", false)
        }
        ErrorKind::Overloaded => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, "overloaded", true),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "unavailable", true),
        // The status that Triton's clients know; trying again does not help.
        ErrorKind::NotEnabled => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "unavailable", false),
        ErrorKind::DeadlineExceeded => {
            (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded, "deadline_exceeded", false)
        }
        ErrorKind::Unimplemented => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented, "unimplemented", false),
        ErrorKind::Internal | ErrorKind::Crashed => {
            (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "internal", false)
        }
    };
    Rendering { status, grpc, code, retry }
}

/// Cuts a message to the length that a client is told: it may quote what the client sent, of whatever length.
pub fn told(message: &str) -> Cow<'_, str> {
    match message.len() {
        ..=MAX_MESSAGE_BYTES => message.into(),
        _ => format!("{}…", &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)]).into(),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let rendering = rendering(error.kind());
        let mut status = Self::new(rendering.grpc, told(error.message()));
        if rendering.retry {
            status.metadata_mut().insert(RETRY_PUSHBACK.0, MetadataValue::from_static(RETRY_PUSHBACK.1));
        }
        if error.kind() == ErrorKind::Internal {
            // Stays here: whoever answers the call writes it to the log.
            status.set_source(Arc::new(error));
        }
        status
    }
}

/// Makes an internal error of what a handler panicked with.
pub fn of_panic(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
    Error::internal(format!("a handler panicked: {text}"))
}

/// Returns the code of a status that no [`Error`] stands behind: those of the router and of tower's layers.
pub fn code_of_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported_media_type",
        status if status.is_client_error() => "invalid_argument",
        _ => "internal",
    }
}

/// Returns what MLflow calls an error of this status.
pub fn mlflow_code_of_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "RESOURCE_DOES_NOT_EXIST",
        StatusCode::TOO_MANY_REQUESTS => "RESOURCE_EXHAUSTED",
        StatusCode::NOT_IMPLEMENTED => "NOT_IMPLEMENTED",
        StatusCode::SERVICE_UNAVAILABLE => "TEMPORARILY_UNAVAILABLE",
        StatusCode::GATEWAY_TIMEOUT => "DEADLINE_EXCEEDED",
        status if status.is_client_error() => "BAD_REQUEST",
        _ => "INTERNAL_ERROR",
    }
}

/// The body of every error.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    /// What was wrong, for a person.
    pub error: &'a str,
    /// What was wrong, for a program.
    pub code: &'a str,
    /// The request's id, which the log has too.
    pub request_id: &'a str,
    /// What MLflow's clients look for, on MLflow's paths.
    #[serde(flatten)]
    pub mlflow: Option<MlflowError<'a>>,
}

/// The keys of an error that MLflow's clients look for.
#[derive(Debug, Serialize)]
pub struct MlflowError<'a> {
    /// What was wrong, for a program.
    pub error_code: &'a str,
    /// What was wrong, for a person.
    pub message: &'a str,
}

/// An error on its way out; the `errors` layer writes its body, which needs the request's id.
#[derive(Clone, Debug)]
pub struct ErrorResponse(pub Arc<Error>);

impl From<Error> for ErrorResponse {
    fn from(error: Error) -> Self {
        Self(Arc::new(error))
    }
}

impl IntoResponse for ErrorResponse {
    fn into_response(self) -> Response {
        let rendering = rendering(self.0.kind());
        let mut response = rendering.status.into_response();
        if rendering.retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response.extensions_mut().insert(self);
        response
    }
}
