//! Our own layers, one a file; `router.rs` says in which order they run.

pub mod access_log;
pub mod deadline;
pub mod errors;
pub mod http_metrics;
pub mod request_id;

use axum::{extract::MatchedPath, http::Request};

/// Returns the template of the route, as `/models/{model}/predict`; the same word for every path that is none.
pub fn route<B>(request: &Request<B>) -> Option<MatchedPath> {
    request.extensions().get::<MatchedPath>().cloned()
}

/// What metrics and logs call a path that no route has.
pub const NO_ROUTE: &str = "unmatched";
