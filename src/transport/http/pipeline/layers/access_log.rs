//! One line a request, and a span that carries the request's id into what is logged inside.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tower::{Layer, Service};
use tracing::{Instrument as _, instrument::Instrumented};
use uuid::Uuid;

use crate::{
    logging::ACCESS_TARGET as TARGET,
    transport::http::pipeline::{arrival::Arrival, call::Call},
};

/// Tells whether lines are written at all.
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// Writes the line of a call that is over.
pub fn write(call: &Call, status: u16, duration: Duration) {
    if !is_on() {
        return;
    }
    // All as text already: formatting each part through `fmt` takes as long as a prediction by a small model.
    let mut buffer = Uuid::encode_buffer();
    let request_id = call.id().as_str(&mut buffer);
    let (method, path) = (call.method().as_str(), call.route().path());
    let duration_ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
    let (mut status_text, mut duration_text, mut version_text) =
        (itoa::Buffer::new(), zmij::Buffer::new(), itoa::Buffer::new());
    let message = [method, path, status_text.format(status), duration_text.format(duration_ms), "ms"].join(" ");
    let message = message.as_str();
    match call.answered_by() {
        Some(model) => {
            let (model, version) = (model.name.as_str(), version_text.format(model.version.number()));
            tracing::info!(target: TARGET, message, method, path, status, duration_ms, request_id, model, version);
        }
        None => tracing::info!(target: TARGET, message, method, path, status, duration_ms, request_id),
    }
}

/// Puts everything inside into a span with the request's id, while debug lines are written. Without these nothing inside of
/// a request is logged but what fails, which names the id itself, and a span costs as much as the request's own line.
#[derive(Clone, Copy, Debug)]
pub struct SpanLayer;

impl<S> Layer<S> for SpanLayer {
    type Service = Spanned<S>;

    fn layer(&self, inner: S) -> Spanned<S> {
        Spanned { inner }
    }
}

#[derive(Clone, Debug)]
pub struct Spanned<S> {
    inner: S,
}

impl<S: Service<Arrival>> Service<Arrival> for Spanned<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, arrival: Arrival) -> Self::Future {
        let span = tracing::debug_span!("request", request_id = %arrival.body().call.id());
        // Handlers that are called past the router begin before their future is polled.
        span.in_scope(|| self.inner.call(arrival)).instrument(span)
    }
}
