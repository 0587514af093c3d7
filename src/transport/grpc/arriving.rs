//! Counting the requests of a connection that have not arrived whole.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

/// A request's body that is counted until it has been read to its end or is dropped.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    /// The count; `None` once this body is not in it any more.
    count: Option<Arc<AtomicUsize>>,
}

impl Arriving {
    /// Takes a body, and the count of its connection.
    pub fn new(body: Incoming, count: Arc<AtomicUsize>) -> Self {
        let count = (!body.is_end_stream()).then_some(count);
        if let Some(count) = &count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self { body, count }
    }

    fn arrived(&mut self) {
        if let Some(count) = self.count.take() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.arrived();
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || this.body.is_end_stream() {
            this.arrived();
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
