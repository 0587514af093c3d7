//! Innermost: to the handler.
//!
//! Predictions are nearly all that is asked, and the router clones and boxes itself, and matches the path once more, with each
//! request. So their handlers are called from here; the router has everything else.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, http::Method, response::Response, routing::future::RouteFuture};
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use tower::Service;

use crate::transport::http::{
    endpoints::{native, oip},
    pipeline::{
        app::App,
        arrival::{Arrival, to_routed},
        routes::Wire,
    },
};

/// Calls handlers, or the router.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The state that handlers need.
    pub app: App,
    /// For what has no direct handler.
    pub router: Router,
}

impl Service<Arrival> for Dispatch {
    type Response = Response;
    type Error = Infallible;
    type Future = Dispatched;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, arrival: Arrival) -> Dispatched {
        // A name with percent signs is the router's to decode.
        let is_plain = arrival.method() == Method::POST && !arrival.uri().path().contains('%');
        match arrival.body().call.wire().filter(|_| is_plain) {
            Some(Wire::Native) => Dispatched::Directly { response: native::predict::directly(&self.app, arrival) },
            Some(Wire::OpenInference) => Dispatched::Directly { response: oip::infer::directly(&self.app, arrival) },
            None => Dispatched::Routed { response: self.router.call(to_routed(arrival)) },
        }
    }
}

pin_project! {
    #[project = DispatchedProjection]
    pub enum Dispatched {
        Directly { response: BoxFuture<'static, Response> },
        Routed {
            #[pin]
            response: RouteFuture<Infallible>,
        },
    }
}

impl Future for Dispatched {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            DispatchedProjection::Directly { response } => response.as_mut().poll(context).map(Ok),
            DispatchedProjection::Routed { response } => response.poll(context),
        }
    }
}
