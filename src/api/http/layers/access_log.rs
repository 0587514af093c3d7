//! One line a request, inside a span that carries the request's id.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    response::Response,
};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, instrument::Instrumented};

use crate::{
    api::http::layers::{CLIENT_CLOSED_REQUEST, NO_ROUTE, request_id::RequestId, route},
    logging::ACCESS_TARGET as TARGET,
    model::name::{ModelName, ModelVersion},
};

/// The model that answered, left in the response's extensions by the handler.
#[derive(Clone, Debug)]
pub struct AnsweredBy(pub ModelName, pub ModelVersion);

/// Tells whether lines are written at all.
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// What is remembered of a request for its line; nothing while there are no lines. Dropped before there is a response, it
/// writes the line all the same.
#[derive(Debug)]
pub struct Seen(Option<Facts>);

#[derive(Debug)]
struct Facts {
    started: Instant,
    id: Option<RequestId>,
    method: Method,
    path: Option<MatchedPath>,
}

/// Looks at a request before it is answered.
pub fn see(request: &mut Request) -> Seen {
    Seen(is_on().then(|| Facts {
        started: Instant::now(),
        id: request.extensions().get::<RequestId>().cloned(),
        method: request.method().clone(),
        path: route(request),
    }))
}

/// Writes the line when the response is ready.
pub fn write(mut seen: Seen, response: Response) -> Response {
    if let Some(facts) = seen.0.take() {
        facts.log(response.status().as_u16(), response.extensions().get());
    }
    response
}

impl Drop for Seen {
    fn drop(&mut self) {
        if let Some(facts) = self.0.take() {
            facts.log(CLIENT_CLOSED_REQUEST, None);
        }
    }
}

impl Facts {
    fn log(&self, status: u16, answered_by: Option<&AnsweredBy>) {
        let id = self.id.as_ref().map_or("", RequestId::as_str);
        let method = self.method.as_str();
        let path = self.path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let duration_ms = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        match answered_by {
            Some(AnsweredBy(model, version)) => tracing::info!(
                target: TARGET,
                method, path, status, duration_ms, request_id = id, model = %model, version = %version,
                "{method} {path} {status} {duration_ms} ms"
            ),
            None => tracing::info!(
                target: TARGET,
                method, path, status, duration_ms, request_id = id,
                "{method} {path} {status} {duration_ms} ms"
            ),
        }
    }
}

/// Puts everything inside into a span with the request's id, while lines are written.
#[derive(Clone, Copy, Debug)]
pub struct SpanLayer;

impl<S> Layer<S> for SpanLayer {
    type Service = Spanned<S>;

    fn layer(&self, inner: S) -> Spanned<S> {
        Spanned { inner }
    }
}

/// The service of [`SpanLayer`].
#[derive(Clone, Debug)]
pub struct Spanned<S> {
    inner: S,
}

impl<S: Service<Request>> Service<Request> for Spanned<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let id = || request.extensions().get::<RequestId>().map_or("", RequestId::as_str);
        let span = if is_on() { tracing::info_span!("request", request_id = id()) } else { Span::none() };
        self.inner.call(request).instrument(span)
    }
}
