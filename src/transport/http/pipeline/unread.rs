//! Whether a request's body was read to its end, which decides whether its connection can go on; and the rest of one that
//! was not.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::transport::http::pipeline::activity::Activity;

/// A request's body that tells its connection when it has been read to its end.
#[derive(Debug)]
pub struct WatchedBody {
    /// `None` only once this is dropped.
    body: Option<Incoming>,
    activity: Arc<Activity>,
}

impl WatchedBody {
    /// Takes a body, and the connection that it comes by.
    pub fn new(body: Incoming, activity: Arc<Activity>) -> Self {
        Self { body: Some(body), activity }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        // A chunked body says only by having no more frames that it has ended.
        if matches!(polled, Poll::Ready(None)) || body.is_end_stream() {
            this.activity.body_read();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        if !self.activity.has_body() {
            self.activity.keep_unread(self.body.take());
        }
    }
}
