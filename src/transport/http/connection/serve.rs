//! One HTTP/1 connection: serving it, and ending it when nothing comes of it.

use std::{
    cell::RefCell,
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::Either, stream::FuturesUnordered};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Notify, time::sleep_until};
use tower::Service as _;

use crate::transport::{
    closing::{Closing, ClosingStage},
    http::{
        connection::{linger::drop_input, stall::StallGuard},
        pipeline::layers::deadline::ConnectionTimer,
        router::Http,
    },
};

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
    /// Begins with no request.
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
    async fn idle_for(&self, keep_alive: Duration) {
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

/// Why a connection is ended from this side.
enum End {
    Idle,
    Evicted,
    Told,
}

/// Serves one connection until it ends. Once the server drains, each answer says `connection: close`; once `closing`
/// changes, the connection ends after the request in flight, or at once if there is none.
pub async fn serve_connection(
    stream: TcpStream,
    http: Arc<Http>,
    activity: Arc<Activity>,
    closing: Closing,
    keep_alive: Duration,
) {
    // A small answer must not wait for the acknowledgement of the one before it.
    let _unsupported = stream.set_nodelay(true);
    let mut stream = StallGuard::new(stream, keep_alive, Arc::clone(&activity));
    let mut shutdown = closing.clone();
    let Some(ended) = answer_requests(&mut stream, &http, closing, keep_alive, &activity).await else { return };
    if let Err(error) = &ended {
        // The client's: it left, or sent bytes that are not HTTP, and hyper has answered those.
        tracing::debug!("a connection ended early: {error}");
    }
    if ended.map_or_else(|error| error.is_parse(), |()| !activity.has_body()) {
        drop_input(&mut stream, http.max_unread_bytes, &mut shutdown).await;
    }
}

/// Answers requests until the connection ends; returns `None` where this side ends it without an answer.
async fn answer_requests(
    stream: &mut StallGuard<TcpStream>,
    http: &Http,
    mut closing: Closing,
    keep_alive: Duration,
    activity: &Arc<Activity>,
) -> Option<hyper::Result<()>> {
    let service = RefCell::new(http.service(ConnectionTimer::new(keep_alive), Arc::clone(activity)));
    let answer = service_fn(move |request: Request<Incoming>| service.borrow_mut().call(request));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    let given_up = activity.given_up(closing.clone());
    // Polled only when one of them is woken, and not with each request.
    let mut ends = FuturesUnordered::new();
    ends.push(Either::Left(Either::Left(async {
        activity.idle_for(keep_alive).await;
        End::Idle
    })));
    ends.push(Either::Left(Either::Right(async {
        activity.evicted().await;
        End::Evicted
    })));
    ends.push(Either::Right(async {
        // A sender that is gone means the same: the server has ended.
        let _told = closing.changed().await;
        End::Told
    }));
    tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        Some(end) = ends.next() => match end {
            End::Idle => {
                tracing::debug!("a connection was idle for {keep_alive:?}");
                None
            }
            End::Evicted if activity.idle_since().is_some() => {
                tracing::debug!("an idle connection was closed to make room");
                None
            }
            End::Evicted | End::Told => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => Some(ended),
                    () = given_up => {
                        tracing::debug!("a connection was closed before its request had arrived whole");
                        None
                    }
                }
            }
        }
    }
}
