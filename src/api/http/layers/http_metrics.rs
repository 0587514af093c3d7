//! `http_requests_total` and `http_request_duration_seconds`.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    response::Response,
};

use crate::{
    api::http::layers::{CLIENT_CLOSED_REQUEST, NO_ROUTE, route},
    metrics::Metrics,
};

/// What is remembered of a request until it can be counted. It counts when it is dropped, so that a request whose client
/// leaves is counted too.
#[derive(Debug)]
pub struct Seen {
    metrics: Arc<Metrics>,
    status: u16,
    started: Instant,
    method: &'static str,
    path: Option<MatchedPath>,
}

/// Looks at a request before it is answered.
pub fn see(metrics: &Arc<Metrics>, request: &Request) -> Seen {
    Seen {
        metrics: Arc::clone(metrics),
        status: CLIENT_CLOSED_REQUEST,
        started: Instant::now(),
        method: method_label(request.method()),
        path: route(request),
    }
}

/// Counts the request when its response is ready.
pub fn count(mut seen: Seen, response: Response) -> Response {
    seen.status = response.status().as_u16();
    response
}

impl Drop for Seen {
    fn drop(&mut self) {
        let path = self.path.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
        let mut buffer = itoa::Buffer::new();
        self.metrics.count_http(self.method, path, buffer.format(self.status), self.started.elapsed());
    }
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
