//! One connection to a daemon. It has no task of its own: whoever asks drives it, so that nothing is woken to wake another.

use std::{
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest body of an answer that is looked at.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Why there is no answer, in words.
type Failure = Box<dyn Error + Send + Sync>;

/// A keep-alive connection, with at most one request under way.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
}

/// The side of a connection that reads and writes the socket, until it has ended.
#[derive(Debug)]
struct Driver(Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>);

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The body, where it was asked for.
    pub(super) body: Bytes,
}

impl Answer {
    /// Tells whether it is one of success.
    pub(super) fn is_good(&self) -> bool {
        Self::is_success(self.status)
    }

    /// Tells whether a status is one of success.
    pub(super) fn is_success(status: u16) -> bool {
        (200..300).contains(&status)
    }
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Driver(Some(connection)) })
    }

    /// Tells whether it can take a request: the other side may have closed it since the last.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Self { sender, driver } = self;
        driver.until(sender.ready()).await.is_ok()
    }

    /// Sends a request and reads the answer to its end. The body is kept where `is_wanted` says so of the status.
    ///
    /// A future that is dropped before it is done leaves the connection of no further use.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        is_wanted: impl Fn(u16) -> bool,
    ) -> Result<Answer, Failure> {
        let Self { sender, driver } = self;
        driver.until(async { read(sender.send_request(request).await?, is_wanted).await }).await
    }
}

impl Driver {
    /// Reads and writes the socket until `future`, which waits for that, is done.
    async fn until<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            // The first turn reads what has come, the second writes what the future then wants to send.
            for _ in 0..2 {
                // Dropped when it has ended, for only then does whoever waits for it get an error.
                self.0.take_if(|connection| Pin::new(connection).poll(context).is_ready());
                if let Poll::Ready(output) = future.as_mut().poll(context) {
                    return Poll::Ready(output);
                }
            }
            Poll::Pending
        })
        .await
    }
}

async fn read(response: Response<Incoming>, is_wanted: impl Fn(u16) -> bool) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    if is_wanted(status) {
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await?.to_bytes();
        return Ok(Answer { status, body });
    }
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(Answer { status, body: Bytes::new() })
}
