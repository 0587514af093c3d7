//! What goes on on a connection: whether it answers, waits, or has an unread body.

use std::{
    future::pending,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::body::Incoming;
use tokio::{sync::Notify, time::sleep_until};

use crate::transport::closing::{Closing, ClosingStage};

/// What is going on on a connection.
#[derive(Debug)]
pub struct Activity {
    /// Whether there has been a request.
    begun: AtomicBool,
    /// Whether a request is being answered.
    answering: AtomicBool,
    /// Whether the client has not taken all that was written.
    stalled: AtomicBool,
    /// Whether the body of that request has been read to its end.
    body_read: AtomicBool,
    /// When the connection was opened, or the last answer made or written. Held for an instant, and never contended.
    waiting_since: Mutex<Instant>,
    /// Signalled when another connection needs the place of this one.
    evicted: Notify,
    /// The rest of a body that nobody reads; only a stream of HTTP/2 keeps it.
    unread: Option<Mutex<Option<Incoming>>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

impl Activity {
    pub fn new() -> Self {
        let (begun, answering, body_read) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(true));
        let (stalled, evicted, unread) = (AtomicBool::new(false), Notify::new(), None);
        Self { begun, answering, stalled, body_read, waiting_since: Mutex::new(Instant::now()), evicted, unread }
    }

    /// Begins with no request, for one stream of HTTP/2.
    pub fn of_stream() -> Self {
        Self { unread: Some(Mutex::default()), ..Self::new() }
    }

    /// Says that a request is here, and whether its body ends with its head.
    pub fn begin(&self, body_read: bool) {
        self.begun.store(true, Ordering::Relaxed);
        self.body_read.store(body_read, Ordering::Release);
        self.answering.store(true, Ordering::Release);
    }

    /// Says that the request's body has been read to its end.
    pub fn body_read(&self) {
        self.body_read.store(true, Ordering::Release);
    }

    /// Tells whether the request's body has been read to its end.
    pub fn has_body(&self) -> bool {
        self.body_read.load(Ordering::Acquire)
    }

    /// Keeps the rest of a body that is dropped, for [`Self::take_unread`]; drops it on a connection of HTTP/1, which reads on
    /// without its framing.
    pub fn keep_unread(&self, body: Option<Incoming>) {
        if let Some(unread) = &self.unread {
            *unread.lock().unwrap_or_else(PoisonError::into_inner) = body;
        }
    }

    /// Takes the rest of a body that was dropped unread.
    pub fn take_unread(&self) -> Option<Incoming> {
        self.unread.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says that the request is answered `now`.
    pub fn end(&self, now: Instant) {
        self.answering.store(false, Ordering::Release);
        self.wait_since(now);
    }

    /// Notes that a write waits for the client.
    pub fn stalled(&self) {
        self.stalled.store(true, Ordering::Release);
    }

    /// Waits until the server gives up requests that have not arrived whole; for ever if this one has.
    pub async fn given_up(&self, mut closing: Closing) {
        // A sender that is gone means the same: the server has ended.
        drop(closing.wait_for(|stage| *stage == ClosingStage::Unfinished).await);
        let has_arrived =
            self.begun.load(Ordering::Relaxed) && (!self.answering.load(Ordering::Acquire) || self.has_body());
        if has_arrived {
            pending::<()>().await;
        }
    }

    /// Says that something was written `now`, after a wait.
    pub fn wrote(&self, now: Instant) {
        self.stalled.store(false, Ordering::Release);
        self.wait_since(now);
    }

    fn wait_since(&self, now: Instant) {
        *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Returns when the last request ended, or `None` while one is being answered or its answer is being taken.
    pub fn idle_since(&self) -> Option<Instant> {
        let since = || *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.answering.load(Ordering::Acquire) && !self.stalled.load(Ordering::Acquire)).then(since)
    }

    /// Asks the connection to close if it is still idle.
    pub fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits until the connection is asked to close.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Waits until there has been no request for `keep_alive`: neither a whole head of one, nor one being answered.
    ///
    /// One timer for all of a connection's requests: hyper's own is set, and its driver told, with each.
    pub async fn idle_for(&self, keep_alive: Duration) {
        let mut until = Instant::now() + keep_alive;
        loop {
            sleep_until(until.into()).await;
            let now = Instant::now();
            until = match self.answering.load(Ordering::Acquire) {
                true => now + keep_alive,
                false => *self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner) + keep_alive,
            };
            if until <= now {
                return;
            }
        }
    }
}
