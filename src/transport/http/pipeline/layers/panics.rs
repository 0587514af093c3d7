//! Turns a panic in a handler into an internal error.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use axum::response::Response;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::transport::http::pipeline::{arrival::Arrival, layers::errors::from_panic};

#[derive(Clone, Copy, Debug)]
pub struct PanicLayer;

impl<S> Layer<S> for PanicLayer {
    type Service = Caught<S>;

    fn layer(&self, inner: S) -> Caught<S> {
        Caught { inner }
    }
}

#[derive(Clone, Debug)]
pub struct Caught<S> {
    inner: S,
}

impl<S: Service<Arrival, Response = Response>> Service<Arrival> for Caught<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = CaughtFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        match catch_unwind(AssertUnwindSafe(|| self.inner.call(arrival))) {
            Ok(response) => CaughtFuture::Asked { response },
            Err(panic) => CaughtFuture::Panicked { response: Some(from_panic(&*panic)) },
        }
    }
}

pin_project! {
    /// The response to come, or what a panic became.
    #[project = CaughtProjection]
    #[derive(Debug)]
    pub enum CaughtFuture<F> {
        /// The handler has the request.
        Asked {
            #[pin]
            response: F,
        },
        /// The handler panicked before it returned a future.
        Panicked {
            response: Option<Response>,
        },
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for CaughtFuture<F> {
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CaughtProjection::Asked { response } => catch_unwind(AssertUnwindSafe(|| response.poll(context)))
                .unwrap_or_else(|panic| Poll::Ready(Ok(from_panic(&*panic)))),
            CaughtProjection::Panicked { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
    }
}
