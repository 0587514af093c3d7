//! An end to connections whose client does not read its answer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use smallvec::SmallVec;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::transport::http::pipeline::activity::Activity;

/// Up to this many bytes, which are the head and the body of a small answer, are put together and sent as one piece: the
/// system takes longer to gather pieces than this takes to copy them.
const COPIED_BYTES: usize = 1024;

/// A stream whose writes fail once none of them has made progress for `patience`. Without that, a client that does not
/// read would hold its connection, and the answer's memory, for ever.
#[derive(Debug)]
pub struct StallGuard<S> {
    stream: S,
    patience: Duration,
    activity: Arc<Activity>,
    // Set only while a write is waiting, which most never are; it costs nothing otherwise.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> StallGuard<S> {
    /// Guards the writes of a connection's stream.
    pub fn new(stream: S, patience: Duration, activity: Arc<Activity>) -> Self {
        Self { stream, patience, activity, timer: None }
    }

    /// Passes a write's outcome on; one that waits is given an end.
    fn limited<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.timer.take().is_some() {
                self.activity.wrote(Instant::now().into_std());
            }
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| {
            self.activity.stalled();
            Box::pin(sleep(self.patience))
        });
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.limited(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length > COPIED_BYTES {
            let this = self.get_mut();
            let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
            return this.limited(written, context);
        }
        let mut together = SmallVec::<[u8; COPIED_BYTES]>::new();
        slices.iter().for_each(|slice| together.extend_from_slice(slice));
        self.poll_write(context, &together)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// A stream that takes so many bytes at once, and notes each piece that it was given.
    #[derive(Default)]
    struct Recorder {
        at_once: usize,
        pieces: Vec<Vec<usize>>,
        taken: Vec<u8>,
    }

    impl Recorder {
        fn take(&mut self, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
            self.pieces.push(slices.iter().map(|slice| slice.len()).collect());
            let whole = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = self.taken.len();
            self.taken.extend(whole.take(self.at_once));
            Poll::Ready(Ok(self.taken.len() - before))
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.take(&[io::IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.take(slices)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes a head and a body until all is written, and returns the stream.
    async fn written(at_once: usize, mut head: &[u8], mut body: &[u8]) -> Recorder {
        let stream = Recorder { at_once, ..Recorder::default() };
        let mut guard = StallGuard::new(stream, Duration::from_secs(60), Arc::new(Activity::new()));
        while head.len() + body.len() > 0 {
            let slices = [io::IoSlice::new(head), io::IoSlice::new(body)];
            let taken = poll_fn(|context| Pin::new(&mut guard).poll_write_vectored(context, &slices)).await.unwrap();
            let of_head = taken.min(head.len());
            (head, body) = (&head[of_head..], &body[taken - of_head..]);
        }
        guard.stream
    }

    #[tokio::test]
    async fn small_answer_is_one_piece_and_a_large_one_is_not_copied() {
        let (head, body) = ([b'h'; 200], [b'b'; COPIED_BYTES]);
        let rest = COPIED_BYTES - head.len();
        assert_eq!(written(usize::MAX, &head, &body[..rest]).await.pieces, [[COPIED_BYTES]]);
        assert_eq!(written(usize::MAX, &head, &body[..=rest]).await.pieces, [[head.len(), rest + 1]]);
    }

    #[tokio::test]
    async fn answer_that_is_taken_in_parts_comes_whole_and_in_order() {
        let (head, body): (Vec<u8>, Vec<u8>) = ((0..200).collect(), (0..250).cycle().take(2000).collect());
        for at_once in [1, 7, 200, 201, 1500] {
            assert_eq!(written(at_once, &head, &body).await.taken, [&head[..], &body].concat(), "{at_once} at once");
        }
    }
}
