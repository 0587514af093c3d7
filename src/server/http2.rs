//! Connections of HTTP/2, which carry gRPC, and on the HTTP port everything else too.

mod stall;

use std::{
    convert::Infallible,
    future::pending,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, http::header, response::IntoResponse as _};
use hyper::{Request, body::Incoming, rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};
use tower::ServiceExt as _;

use crate::{
    edge::error::ErrorResponse,
    server::http2::stall::{ending_when_stalled, in_pieces},
    transport::{
        closing::{Closing, ClosingStage, stopping},
        grpc::{
            app::{GrpcApp, is_grpc},
            arriving::Arriving,
        },
        http::{
            connection::{linger::drop_body, stall::StallGuard},
            pipeline::{activity::Activity, layers::deadline::ConnectionTimer},
            router::Http,
        },
    },
};

/// The most requests of one connection at a time.
const MAX_STREAMS: u32 = 256;
/// How long a client may take to answer a ping before it counts as gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that never had a request may take to end once it was told to.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often a connection that must end looks whether only requests are left that have not arrived whole.
const LOOK: Duration = Duration::from_millis(50);

/// What answers requests of HTTP/2.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    /// What is not gRPC; `None` where nothing else is answered.
    pub(super) http: Option<Arc<Http>>,
    pub(super) grpc: GrpcApp,
    /// How long a connection may go without requests; also how often a client that is silent is asked whether it lives.
    pub(super) keep_alive: Duration,
}

impl Http2 {
    /// Serves one connection until it ends. Once `closing` changes, or nothing has been asked for long, it takes no new
    /// requests (GOAWAY) and ends after those in flight.
    pub(super) async fn serve(self, stream: TcpStream, activity: Arc<Activity>, mut closing: Closing) {
        // A small answer must not wait for the acknowledgement of the one before it.
        let _unsupported = stream.set_nodelay(true);
        let keep_alive = self.keep_alive;
        let streams = Streams::new(keep_alive, Arc::clone(&activity));
        let (unfinished, told) = (closing.clone(), closing.clone());
        let of_connection = streams.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            self.clone().answer(request, of_connection.clone(), told.clone())
        });
        let mut http = http2::Builder::new(streams.clone());
        http.timer(TokioTimer::new())
            .keep_alive_interval(keep_alive)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS);
        let io = TokioIo::new(StallGuard::new(stream, keep_alive, Arc::clone(&activity)));
        let mut connection = pin!(http.serve_connection(io, answer));
        // An error here is the client's: it left, or sent what is not HTTP/2.
        let must_end = async {
            tokio::select! {
                // A sender that is gone means the same: the server has ended.
                _told = closing.changed() => keep_alive,
                () = streams.unused(keep_alive) => keep_alive,
                () = streams.evicted() => LAST_WORDS,
            }
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            patience = must_end => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = streams.never_used(LAST_WORDS) => return,
                    () = streams.only_arriving(unfinished) => return,
                    // What is left is the end of answers that are not taken.
                    () = streams.unused(patience) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended early: {error}");
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        streams: Streams,
        closing: Closing,
    ) -> Result<hyper::Response<Body>, Infallible> {
        match &self.http {
            Some(http) if !is_grpc(&request) => {
                // A connection of HTTP/1 has one of each, since it has one request at a time.
                let (timer, activity) = (ConnectionTimer::new(self.keep_alive), Arc::new(Activity::of_stream()));
                let given_up = activity.given_up(closing.clone());
                let mut response = tokio::select! {
                    response = http.service(timer, Arc::clone(&activity)).oneshot(request) => response?,
                    () = given_up => ErrorResponse::from(stopping()).into_response(),
                };
                if let Some(body) = activity.take_unread() {
                    streams.execute(drop_body(body, http.max_unread_bytes, closing));
                }
                // HTTP/2 has GOAWAY for that.
                response.headers_mut().remove(header::CONNECTION);
                Ok(response.map(in_pieces))
            }
            _ => {
                let request = request.map(|body| Arriving::new(body, Arc::clone(&streams.arriving)));
                Ok(self.grpc.answer(request, closing).await.map(in_pieces))
            }
        }
    }
}

/// The requests of one connection, each a task that ends with it at the latest.
#[derive(Clone, Debug)]
struct Streams {
    // Held while a task is added or counted.
    tasks: Arc<Mutex<JoinSet<()>>>,
    started: Arc<AtomicU64>,
    /// How many of them are calls of gRPC that have not arrived whole.
    arriving: Arc<AtomicUsize>,
    /// How many have not ended, which the connection's activity is told.
    open: Arc<AtomicUsize>,
    activity: Arc<Activity>,
    /// How long an answer may wait for its client to take more of it.
    patience: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.started.fetch_add(1, Ordering::Relaxed);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        self.open.fetch_add(1, Ordering::AcqRel);
        self.activity.begin(true);
        let (stream, open) = (ending_when_stalled(stream, self.patience), Arc::clone(&self.open));
        let activity = Arc::clone(&self.activity);
        tasks.spawn(async move {
            stream.await;
            if open.fetch_sub(1, Ordering::AcqRel) == 1 {
                activity.end(Instant::now());
            }
        });
    }
}

impl Streams {
    fn new(patience: Duration, activity: Arc<Activity>) -> Self {
        Self {
            tasks: Arc::default(),
            started: Arc::default(),
            arriving: Arc::default(),
            open: Arc::default(),
            activity,
            patience,
        }
    }

    /// Waits until there has been no request for `patience` at least, and twice that at most.
    async fn unused(&self, patience: Duration) {
        loop {
            let started = self.started.load(Ordering::Relaxed);
            sleep(patience).await;
            if self.started.load(Ordering::Relaxed) == started && self.open() == 0 {
                return;
            }
        }
    }

    /// Waits until the connection is asked to close while it has no request.
    async fn evicted(&self) {
        loop {
            self.activity.evicted().await;
            if self.open() == 0 {
                return;
            }
        }
    }

    /// Waits for `patience`, and for ever if there has been a request: its answer may still be on its way. A client without
    /// one may not even have said that it speaks HTTP/2, and would never hear that it is to end.
    async fn never_used(&self, patience: Duration) {
        sleep(patience).await;
        if self.started.load(Ordering::Relaxed) > 0 {
            pending::<()>().await;
        }
    }

    /// Waits until the server gives up requests that have not arrived whole, and no others are left.
    async fn only_arriving(&self, mut closing: Closing) {
        // A sender that is gone means the same: the server has ended.
        drop(closing.wait_for(|stage| *stage == ClosingStage::Unfinished).await);
        loop {
            let arriving = self.arriving.load(Ordering::Relaxed);
            if arriving > 0 && arriving == self.open() {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn open(&self) -> usize {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.len()
    }
}
