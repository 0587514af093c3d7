//! Lingering: reading on after an answer that was sent before the request's body was read.
//!
//! Most clients send the whole body before they read the answer. A connection that is closed with unread bytes is reset,
//! and a reset discards an answer that the client has not read. Over HTTP/2 the same holds for a stream: curl, httpx and
//! Node take RST_STREAM for a failure, whatever its code.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{sleep, timeout},
};

use crate::transport::closing::Closing;

/// How long a client may go on sending.
const LONGEST: Duration = Duration::from_secs(30);
/// How long a client may pause while it sends.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long it may still send once the server stops: others may wait for its connection to end.
const AT_SHUTDOWN: Duration = Duration::from_millis(200);
/// How many bytes are read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Reads and drops what a client sends, until it closes its side: at most `max_bytes`.
pub async fn drop_input<S: AsyncRead + Unpin>(stream: &mut S, max_bytes: usize, shutdown: &mut Closing) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let read = |context: &mut Context<'_>| {
        let mut buffer = ReadBuf::new(&mut buffer);
        let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer));
        Poll::Ready(read.is_ok().then_some(buffer.filled().len()).filter(|length| *length > 0))
    };
    read_on(read, max_bytes, shutdown).await;
}

/// Reads and drops the rest of a body: at most `max_bytes`.
pub async fn drop_body(mut body: Incoming, max_bytes: usize, mut shutdown: Closing) {
    let read = |context: &mut Context<'_>| {
        let frame = ready!(Pin::new(&mut body).poll_frame(context));
        Poll::Ready(frame.and_then(Result::ok).map(|frame| frame.data_ref().map_or(0, Bytes::len)))
    };
    read_on(read, max_bytes, &mut shutdown).await;
}

/// Calls `read`, which returns how many bytes it dropped, until it returns `None` or a bound is reached.
async fn read_on(
    mut read: impl FnMut(&mut Context<'_>) -> Poll<Option<usize>>,
    max_bytes: usize,
    shutdown: &mut Closing,
) {
    let mut left = max_bytes;
    let reading = async {
        while left > 0
            && let Ok(Some(length)) = timeout(LONGEST_PAUSE, poll_fn(&mut read)).await
        {
            left = left.saturating_sub(length);
        }
    };
    let shutting_down = async {
        // A sender that is gone means the same: the server has ended.
        let _told = shutdown.changed().await;
        sleep(AT_SHUTDOWN).await;
    };
    tokio::select! {
        () = reading => {}
        () = sleep(LONGEST) => {}
        () = shutting_down => {}
    }
}
