//! `http_requests_total` and `http_request_duration_seconds`.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};

use crate::{
    api::http::layers::{NO_ROUTE, route},
    metrics::Metrics,
};

/// Counts the request when its response is ready.
pub async fn http_metrics(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (method, path) = (method_label(request.method()), route(&request));
    let response = next.run(request).await;
    let path = path.as_ref().map_or(NO_ROUTE, |path| path.as_str());
    metrics.count_http(method, path, response.status().as_str(), started.elapsed());
    response
}

/// Methods are the client's to invent; labels are not.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
