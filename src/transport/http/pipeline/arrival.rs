//! A request on its way through the layers.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    Error,
    body::{Body, Bytes},
    extract::{self, FromRequest},
    http::Request,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    edge::error::ErrorResponse,
    transport::http::pipeline::{call::Call, unread::WatchedBody},
};

/// A request whose call is known. The call travels with the body: the extensions, where handlers find it behind the router, are
/// a map that is allocated for each request.
pub type Arrival = Request<CalledBody>;

/// A request's body, and the call that the request is.
#[derive(Debug)]
pub struct CalledBody {
    pub call: Call,
    pub body: RequestBody,
}

/// The body of a request: as it comes by the connection, or through whatever stands before the handler.
#[derive(Debug)]
pub enum RequestBody {
    Watched(WatchedBody),
    /// Through the router, or decompressed.
    Boxed(Body),
}

/// Makes of a request one that the router takes.
pub fn to_routed(arrival: Arrival) -> extract::Request {
    let (mut head, CalledBody { call, body }) = arrival.into_parts();
    head.extensions.insert(call);
    Request::from_parts(head, Body::new(body))
}

/// Extracts the request as it arrived, behind the router.
#[derive(Debug)]
pub struct Routed(pub Arrival);

impl<S: Sync> FromRequest<S> for Routed {
    type Rejection = ErrorResponse;

    async fn from_request(request: extract::Request, _state: &S) -> Result<Self, ErrorResponse> {
        let call = Call::of(&request)?.clone();
        Ok(Self(request.map(|body| CalledBody { call, body: RequestBody::Boxed(body) })))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Watched(body) => Pin::new(body).poll_frame(context).map_err(Error::new),
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Watched(body) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Watched(body) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
