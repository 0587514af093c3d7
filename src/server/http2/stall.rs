//! An end to answers that their client does not take, though it lives: HTTP/2 lets it keep a request's window shut while it
//! answers pings, and other requests of the connection are none the worse for it.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    task_local,
    time::{Instant, Sleep, sleep_until},
};

/// How much of an answer is handed over at a time: a client that takes less than this within its patience takes nothing.
const PIECE_BYTES: usize = 64 * 1024;

task_local! {
    static HANDED_OVER: Arc<HandedOver>;
}

/// When a piece of an answer was handed over; nothing while the next is not asked for because it is not there yet.
#[derive(Debug, Default)]
struct HandedOver(Mutex<Option<Instant>>);

impl HandedOver {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn get(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the task of a request, and ends it once a piece of its answer has waited for `patience` to be taken.
pub(super) async fn ending_when_stalled(stream: impl Future<Output = ()>, patience: Duration) {
    let handed_over = Arc::new(HandedOver::default());
    let mut stream = pin!(HANDED_OVER.scope(Arc::clone(&handed_over), stream));
    // Set only while an answer waits for its client, which most never do.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = handed_over.get() else {
            timer = None;
            return Poll::Pending;
        };
        let end = since + patience;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(context)
    })
    .await;
}

pin_project! {
    /// An answer in pieces, which tells when each was handed over.
    struct Pieces {
        #[pin]
        body: Body,
        rest: Bytes,
        is_cut: bool,
        handed_over: Arc<HandedOver>,
    }
}

/// Hands an answer over in pieces. Outside of a request's task it stays as it is.
pub(super) fn in_pieces(body: Body) -> Body {
    let handed_over = HANDED_OVER.try_with(Arc::clone);
    match handed_over {
        Ok(handed_over) => Body::new(Pieces { body, rest: Bytes::new(), is_cut: false, handed_over }),
        Err(_outside) => body,
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        this.handed_over.set(None);
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(context)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => (*this.rest, *this.is_cut) = (data, false),
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = match this.rest.len() {
            ..=PIECE_BYTES if *this.is_cut => {
                // Nobody waits for the last one: it must not keep all the others' memory.
                Bytes::copy_from_slice(&mem::take(this.rest))
            }
            ..=PIECE_BYTES => mem::take(this.rest),
            _ => {
                *this.is_cut = true;
                this.rest.split_to(PIECE_BYTES)
            }
        };
        this.handed_over.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
