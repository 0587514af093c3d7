//! One HTTP request, as all layers and handlers know it.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};

use crate::{
    edge::{error::ErrorResponse, prediction::Deadline, request_id::RequestId},
    error::{Error, Result},
    metrics::routes::RouteMetrics,
    serving::served_model::ServedModel,
    transport::http::pipeline::routes::{Route, RouteTable, Wire},
};

/// The header by which a client asks for less time.
pub const X_REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// A request from its arrival to its answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Call(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    id: RequestId,
    started: Instant,
    deadline: Result<Deadline, ErrorResponse>,
    method: Method,
    route: Arc<Route>,
    content_encoding: Option<HeaderValue>,
    answered_by: OnceLock<Arc<ServedModel>>,
}

impl Call {
    /// Looks at a request that has just arrived, which may take as long as `limit`.
    pub fn begin<B>(request: &hyper::Request<B>, routes: &RouteTable, limit: Duration) -> Self {
        let (started, headers) = (Instant::now(), request.headers());
        let deadline = allowed(headers, limit).map_err(ErrorResponse::from);
        Self(Arc::new(Facts {
            id: RequestId::of(headers),
            started,
            deadline: deadline.map(|allowed| Deadline { at: (started + allowed).into(), allowed }),
            method: request.method().clone(),
            route: Arc::clone(routes.at(request.uri().path())),
            content_encoding: headers.get(header::CONTENT_ENCODING).cloned(),
            answered_by: OnceLock::new(),
        }))
    }

    /// Returns the call that a request is.
    ///
    /// # Errors
    /// `Internal` where the layer that begins calls is missing.
    pub fn of(request: &Request) -> Result<&Self> {
        request.extensions().get().ok_or_else(|| Error::internal("the layer that begins calls is missing"))
    }

    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// Returns when the answer is no longer wanted.
    ///
    /// # Errors
    /// `InvalidArgument` where the client's own wish is not a number.
    pub fn deadline(&self) -> Result<Deadline, ErrorResponse> {
        self.0.deadline.clone()
    }

    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// Returns the route, which counts its requests.
    pub fn route(&self) -> &RouteMetrics {
        &self.0.route.metrics
    }

    /// Returns the wire protocol of the route's predictions, if they go past the router.
    pub fn wire(&self) -> Option<Wire> {
        self.0.route.wire
    }

    /// Returns the request's content coding.
    pub fn content_encoding(&self) -> Option<&HeaderValue> {
        self.0.content_encoding.as_ref()
    }

    /// Returns when the request arrived.
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Notes which model a prediction went to.
    pub fn answer_by(&self, model: &Arc<ServedModel>) {
        let _asked_before = self.0.answered_by.set(Arc::clone(model));
    }

    /// Returns the model that a prediction went to.
    pub fn answered_by(&self) -> Option<&ServedModel> {
        self.0.answered_by.get().map(AsRef::as_ref)
    }
}

fn allowed(headers: &HeaderMap, limit: Duration) -> Result<Duration> {
    let Some(value) = headers.get(X_REQUEST_TIMEOUT_MS) else { return Ok(limit) };
    let milliseconds =
        value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|milliseconds| *milliseconds > 0);
    match milliseconds {
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds).min(limit)),
        None => Err(Error::invalid(format!(
            "{X_REQUEST_TIMEOUT_MS}: expected a positive number of milliseconds, got {value:?}"
        ))),
    }
}
