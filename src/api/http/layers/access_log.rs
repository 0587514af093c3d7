//! One line a request, inside a span that carries the request's id.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use tracing::Instrument as _;

use crate::{
    api::http::layers::{NO_ROUTE, request_id::RequestId, route},
    logging::ACCESS_TARGET as TARGET,
    model::name::{ModelName, ModelVersion},
};

/// The model that answered, left in the response's extensions by the handler.
#[derive(Clone, Debug)]
pub struct AnsweredBy(pub ModelName, pub ModelVersion);

/// Writes the line when the response is ready. Costs nothing while the target is off.
pub async fn access_log(request: Request, next: Next) -> Response {
    if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
        return next.run(request).await;
    }
    let started = Instant::now();
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.as_ref().map_or("", RequestId::as_str);
    let (method, path) = (request.method().clone(), route(&request));
    let span = tracing::info_span!("request", request_id = id);
    let response = next.run(request).instrument(span).await;
    log(id, method.as_str(), path.as_ref().map_or(NO_ROUTE, |path| path.as_str()), &response, started);
    response
}

fn log(id: &str, method: &str, path: &str, response: &Response, started: Instant) {
    let status = response.status().as_u16();
    let duration_ms = (started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    match response.extensions().get::<AnsweredBy>() {
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
