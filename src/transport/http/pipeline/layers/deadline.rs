//! The time a request has: `--request-timeout`, or less if `x-request-timeout-ms` says so.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower::{Layer, Service};

use crate::{
    edge::{error::ErrorResponse, prediction::Deadline},
    error::{Error, ErrorKind},
    transport::http::{pipeline::activity::Activity, pipeline::arrival::Arrival},
};

/// Answers 504 when a call's deadline passes; the handler's future is dropped then, which cancels the request.
///
/// If the request's own body is what did not arrive, the answer is 408.
#[derive(Clone, Debug)]
pub struct DeadlineLayer {
    /// The timer of the requests of this connection.
    pub timer: ConnectionTimer,
    pub activity: Arc<Activity>,
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadlines<S>;

    fn layer(&self, inner: S) -> Deadlines<S> {
        Deadlines { inner, shared: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub struct Deadlines<S> {
    inner: S,
    shared: DeadlineLayer,
}

impl<S: Service<Arrival, Response = Response>> Service<Arrival> for Deadlines<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = InTime<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> InTime<S::Future> {
        match arrival.body().call.deadline() {
            Ok(deadline) => InTime::Asked { answer: self.inner.call(arrival), shared: self.shared.clone(), deadline },
            Err(error) => InTime::Refused { error: Some(error) },
        }
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
            shared: DeadlineLayer,
            deadline: Deadline,
        },
        Refused { error: Option<ErrorResponse> },
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for InTime<F> {
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let error = match self.project() {
            InTimeProjection::Asked { answer, shared, deadline } => {
                if let Poll::Ready(answer) = answer.poll(context) {
                    return Poll::Ready(answer);
                }
                ready!(shared.timer.poll_until(deadline.at, context));
                let error = match shared.activity.has_body() {
                    true => deadline.passed(),
                    false => {
                        let message = format!("the request body did not arrive within {:?}", deadline.allowed);
                        Error::new(ErrorKind::RequestTimeout, message)
                    }
                };
                error.into()
            }
            InTimeProjection::Refused { error } => {
                error.take().unwrap_or_else(|| Error::internal("polled again").into())
            }
        };
        Poll::Ready(Ok(error.into_response()))
    }
}
