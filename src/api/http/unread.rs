//! Whether a request's body was read to its end, which decides whether its connection can go on.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A request's body that leaves word when it has been read to its end.
#[derive(Debug)]
pub struct WatchedBody {
    body: Incoming,
    read: Arc<AtomicBool>,
}

/// Tells whether a [`WatchedBody`] has been read to its end, also when it is gone.
#[derive(Debug)]
pub struct BodyWatch(Arc<AtomicBool>);

impl WatchedBody {
    /// Takes a body, and returns it with its watch.
    pub fn new(body: Incoming) -> (Self, BodyWatch) {
        let read = Arc::new(AtomicBool::new(body.is_end_stream()));
        (Self { body, read: Arc::clone(&read) }, BodyWatch(read))
    }
}

impl BodyWatch {
    /// Tells whether nothing of the body is left to read.
    pub fn is_read(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        // A chunked body says only by having no more frames that it has ended.
        if matches!(polled, Poll::Ready(None)) || this.body.is_end_stream() {
            this.read.store(true, Ordering::Release);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
