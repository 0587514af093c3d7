//! The outermost layer: what is done once a request, before everything and after everything.
//!
//! Before: the call is begun. After: an error gets its body, the answer its id, the log its line, the metrics their counts.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderValue, Request, header},
    response::Response,
};
use hyper::body::{Body as _, Incoming};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    edge::request_id::X_REQUEST_ID,
    serving::service::InferenceService,
    transport::http::{
        pipeline::activity::Activity,
        pipeline::{
            arrival::{Arrival, CalledBody, RequestBody},
            call::Call,
            layers::{access_log, errors},
            routes::RouteTable,
            unread::WatchedBody,
        },
    },
};

/// The status by which metrics and logs know a request whose client left before the answer, as nginx does. Never sent.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Begins calls and ends them.
#[derive(Clone, Debug)]
pub struct CallLayer {
    /// The routes that a request may have.
    pub routes: Arc<RouteTable>,
    /// The most time a request may have.
    pub limit: Duration,
    /// Tells whether the server drains.
    pub service: Arc<InferenceService>,
    /// The connection that the requests come by, one after the other.
    pub activity: Arc<Activity>,
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, shared: self.clone() }
    }
}

#[derive(Clone, Debug)]
pub struct Calls<S> {
    inner: S,
    shared: CallLayer,
}

impl<S: Service<Arrival, Response = Response>> Service<Request<Incoming>> for Calls<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let CallLayer { routes, limit, service, activity } = &self.shared;
        let call = Call::begin(&request, routes, *limit);
        activity.begin(request.body().is_end_stream());
        let open = Open { call: call.clone(), status: CLIENT_CLOSED_REQUEST, activity: Arc::clone(activity) };
        let watched = |body| RequestBody::Watched(WatchedBody::new(body, Arc::clone(activity)));
        let arrival = request.map(|body| CalledBody { call, body: watched(body) });
        CallFuture { response: self.inner.call(arrival), service: Arc::clone(service), open }
    }
}

pin_project! {
    #[derive(Debug)]
    pub struct CallFuture<F> {
        #[pin]
        response: F,
        service: Arc<InferenceService>,
        open: Open,
    }
}

impl<F: Future<Output = Result<Response, E>>, E> Future for CallFuture<F> {
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(context))?;
        errors::describe(&this.open.call, &mut response);
        response.headers_mut().insert(X_REQUEST_ID, this.open.call.id().to_header());
        this.open.status = response.status().as_u16();
        // hyper closes a connection on which a body was left unread; a client that is not told would send its next
        // request into the closed connection.
        if !this.open.activity.has_body() || this.service.is_draining() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

/// A call that is not over. It is counted and logged when it is dropped, so that a request whose client leaves is too.
#[derive(Debug)]
struct Open {
    call: Call,
    status: u16,
    activity: Arc<Activity>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.call.started());
        self.activity.end(now);
        self.call.route().count(self.call.method().as_str(), self.status, elapsed);
        access_log::write(&self.call, self.status, elapsed);
    }
}
