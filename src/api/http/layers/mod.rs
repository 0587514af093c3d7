//! Our own layers, one a file; `router.rs` says in which order they run.

pub mod access_log;
pub mod around;
pub mod codings;
pub mod deadline;
pub mod errors;
pub mod http_metrics;
pub mod panics;
pub mod request_id;

use axum::{extract::MatchedPath, http::Request};

/// Returns the template of the route, as `/models/{model}/predict`; the same word for every path that is none.
pub fn route<B>(request: &Request<B>) -> Option<MatchedPath> {
    request.extensions().get::<MatchedPath>().cloned()
}

/// What metrics and logs call a path that no route has.
pub const NO_ROUTE: &str = "unmatched";

/// The status by which metrics and logs know a request whose client left before the answer, as nginx does. Never sent.
pub const CLIENT_CLOSED_REQUEST: u16 = 499;
