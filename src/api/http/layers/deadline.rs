//! The time a request has: `--request-timeout`, or less if `x-request-timeout-ms` says so.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use crate::{
    api::error::ErrorResponse,
    config::ServerConfig,
    error::{Error, ErrorKind, Result},
};

/// The header by which a client asks for less time.
pub const X_REQUEST_TIMEOUT_MS: &str = "x-request-timeout-ms";

/// When the answer is no longer wanted, in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The time that was allowed.
    pub allowed: Duration,
}

/// Sets the deadline and answers 504 when it passes; the handler's future is dropped then, which cancels the request.
pub async fn deadline(State(config): State<Arc<ServerConfig>>, mut request: Request, next: Next) -> Response {
    let allowed = match allowed(request.headers(), config.limits.request_timeout) {
        Ok(allowed) => allowed,
        Err(error) => return ErrorResponse::from(error).into_response(),
    };
    let deadline = Deadline { at: Instant::now() + allowed, allowed };
    request.extensions_mut().insert(deadline);
    match tokio::time::timeout_at(deadline.at, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            let error = Error::new(ErrorKind::DeadlineExceeded, format!("there was no answer within {allowed:?}"));
            ErrorResponse::from(error).into_response()
        }
    }
}

fn allowed(headers: &HeaderMap, limit: Duration) -> Result<Duration> {
    let Some(value) = headers.get(X_REQUEST_TIMEOUT_MS) else { return Ok(limit) };
    let milliseconds =
        value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|milliseconds| *milliseconds > 0);
    match milliseconds {
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds).min(limit)),
        None => Err(Error::invalid(format!(
            "{X_REQUEST_TIMEOUT_MS}: expected a positive number of milliseconds, got {value:?}"
        ))),
    }
}
