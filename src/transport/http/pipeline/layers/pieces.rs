//! Gives a body in pieces, and only so many a turn, to whoever does something long with each.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::task::coop;

/// How much is given at once.
const PIECE_BYTES: usize = 2048;
/// How many units of the task's budget a piece costs. Of 128 a turn, which tokio gives a task, that leaves 16 pieces:
/// 32 KiB, which compress within about a millisecond.
const UNITS_OF_A_PIECE: usize = 8;
/// Bodies up to this size are given whole.
const WHOLE_BYTES: u64 = 32 * 1024;

pin_project! {
    /// A body in pieces; once a turn's share is given, the event loop has its turn.
    #[derive(Debug)]
    pub struct Pieces {
        #[pin]
        body: Body,
        rest: Bytes,
        // Of the next piece's cost, what is paid.
        paid: usize,
    }
}

/// Cuts a body into pieces if it is large.
pub fn in_pieces(body: Body) -> Body {
    match body.size_hint().exact() {
        Some(..=WHOLE_BYTES) => body,
        _ => Body::new(Pieces { body, rest: Bytes::new(), paid: 0 }),
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        while *this.paid < UNITS_OF_A_PIECE {
            // The budget is the task's: whoever polls again in this turn is told again to wait.
            ready!(coop::poll_proceed(context)).made_progress();
            *this.paid += 1;
        }
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(context)?) {
                None => return Poll::Ready(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
            }
        }
        *this.paid = 0;
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::pin};

    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn large_body_gives_way_while_it_is_read_and_comes_whole() {
        let whole = Bytes::from((0..4_u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
        let mut reading = pin!(in_pieces(Body::from(whole.clone())).collect());
        let mut turns = 0;
        let read = poll_fn(|context| {
            turns += 1;
            reading.as_mut().poll(context)
        });
        assert_eq!(read.await.unwrap().to_bytes(), whole);
        assert!(turns * WHOLE_BYTES >= whole.len() as u64, "{turns} turns");
    }

    #[tokio::test]
    async fn length_of_a_body_is_known_before_and_while_it_is_cut() {
        let mut body = in_pieces(Body::from(vec![0; 100_000]));
        assert_eq!(body.size_hint().exact(), Some(100_000));
        body.frame().await.unwrap().unwrap();
        assert_eq!(body.size_hint().exact(), Some(100_000 - PIECE_BYTES as u64));
    }
}
