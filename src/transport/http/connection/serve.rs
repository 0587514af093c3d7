//! One HTTP/1 connection: serving it, and ending it when nothing comes of it.

use std::{cell::RefCell, pin::pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, future::Either, stream::FuturesUnordered};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service as _;

use crate::transport::{
    closing::Closing,
    http::{
        connection::{linger::drop_input, stall::StallGuard},
        pipeline::{activity::Activity, layers::deadline::ConnectionTimer},
        router::Http,
    },
};

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
