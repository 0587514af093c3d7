//! The time a request has: `--request-timeout`, or less if `x-request-timeout-ms` says so.

#![expect(missing_docs, reason = "pin_project! takes no documentation on the fields of variants")]

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::Request,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::{Layer, Service};

use crate::{
    api::{error::ErrorResponse, prediction::Deadline},
    error::{Error, ErrorKind, Result},
};

/// The header by which a client asks for less time.
pub const X_REQUEST_TIMEOUT_MS: &str = "x-request-timeout-ms";

impl Deadline {
    /// Returns the deadline that the layer has set.
    ///
    /// # Errors
    /// `Internal` where the layer is missing.
    pub fn of(request: &Request) -> Result<Self> {
        let deadline = request.extensions().get().copied();
        deadline.ok_or_else(|| Error::internal("the deadline layer is missing"))
    }
}

/// Sets the deadline and answers 504 when it passes; the handler's future is dropped then, which cancels the request.
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    /// The most time a request may have.
    pub limit: Duration,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner, limit: self.limit }
    }
}

/// The service of [`DeadlineLayer`].
#[derive(Clone, Debug)]
pub struct Deadlines<S> {
    inner: S,
    limit: Duration,
}

impl<S: Service<Request, Response = Response>> Service<Request> for Deadlines<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = InTime<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> InTime<S::Future> {
        let allowed = match allowed(request.headers(), self.limit) {
            Ok(allowed) => allowed,
            Err(error) => return InTime::Refused { error: Some(error) },
        };
        let deadline = Deadline { at: Instant::now() + allowed, allowed };
        let timer = request.extensions_mut().remove().unwrap_or_else(|| ConnectionTimer::new(allowed));
        request.extensions_mut().insert(deadline);
        InTime::Asked { answer: self.inner.call(request), timer, deadline }
    }
}

/// A timer that the requests of a connection use one after the other.
///
/// Setting a timer for each request would wake the event loop's driver each time, by a system call, since it is the
/// earliest that the driver knows. This one stays set: when it goes off for a request that was answered long ago, it is
/// set again for the one that is there.
#[derive(Clone, Debug)]
pub struct ConnectionTimer(Arc<Mutex<Pin<Box<Sleep>>>>);

impl ConnectionTimer {
    /// Makes a timer that is first set when a request has waited.
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(tokio::time::sleep(limit)))))
    }

    fn poll_until(&self, at: Instant, context: &mut Context<'_>) -> Poll<()> {
        // Never contended: a connection has one request at a time.
        let mut sleep = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}

pin_project! {
    /// The response to come, or the end of the time that it has.
    #[project = InTimeProjection]
    #[derive(Debug)]
    pub enum InTime<F> {
        /// The handler has the request.
        Asked {
            #[pin]
            answer: F,
            timer: ConnectionTimer,
            deadline: Deadline,
        },
        /// The header was wrong.
        Refused { error: Option<Error> },
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for InTime<F> {
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let error = match self.project() {
            InTimeProjection::Asked { answer, timer, deadline } => {
                if let Poll::Ready(answer) = answer.poll(context) {
                    return Poll::Ready(answer);
                }
                ready!(timer.poll_until(deadline.at, context));
                let allowed = deadline.allowed;
                Error::new(ErrorKind::DeadlineExceeded, format!("there was no answer within {allowed:?}"))
            }
            InTimeProjection::Refused { error } => error.take().unwrap_or_else(|| Error::internal("polled again")),
        };
        Poll::Ready(Ok(ErrorResponse::from(error).into_response()))
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
