//! An open-loop client: requests are sent when they are due, however slow the server is.
//!
//! Arrivals are Poisson (seeded). Latency counts from when a request was due, so a late client or
//! a full connection counts against the answer, not in its favour. A client gives up after
//! `--patience` seconds and closes its connection, as a person would. At most `--outstanding`
//! requests wait at a time; arrivals beyond that are counted as `not_sent`. Prints one JSON object.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use contestants::{Failure, argument, percentile};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};

type Connection = SendRequest<Full<Bytes>>;

/// How one arrival ended.
enum Outcome {
    Answered(u16),
    GaveUp,
    Failed(String),
    NotSent,
}

/// What every arrival shares.
struct Client {
    address: SocketAddr,
    path: String,
    body: Bytes,
    patience: Duration,
    outstanding: Semaphore,
    /// Whether a connection is used again after its answer.
    keep_alive: bool,
    /// Idle connections, kept open as a client library's pool would.
    idle: Mutex<Vec<Connection>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (rate, seconds) = (argument::<f64>("rate")?, argument::<f64>("seconds")?);
    let client = Arc::new(Client {
        address: argument("address")?,
        path: argument("path")?,
        body: fs::read(argument::<String>("body")?)?.into(),
        patience: Duration::from_secs_f64(argument("patience")?),
        outstanding: Semaphore::new(argument("outstanding")?),
        keep_alive: argument("keep-alive")?,
        idle: Mutex::new(Vec::new()),
    });
    let (mut arrivals, mut gaps) = (JoinSet::new(), Gaps::new(rate));
    let (mut results, start) = (Vec::new(), Instant::now());
    let mut due = start;
    while due < start + Duration::from_secs_f64(seconds) {
        wait_until(due).await;
        let lag_ms = due.elapsed().as_secs_f64() * 1e3;
        let client = Arc::clone(&client);
        arrivals.spawn(async move { (lag_ms, client.ask(due).await, due.elapsed().as_secs_f64() * 1e3) });
        while let Some(result) = arrivals.try_join_next() {
            results.push(result?);
        }
        due += gaps.next();
    }
    while let Some(result) = arrivals.join_next().await {
        results.push(result?);
    }
    println!("{}", summary(&results, seconds));
    Ok(())
}

/// tokio's timers tick by the millisecond, too coarse for refusals: it sleeps far off, and polls when near.
async fn wait_until(due: Instant) {
    const NEAR: Duration = Duration::from_millis(3);
    let left = due.saturating_duration_since(Instant::now());
    if left > NEAR {
        tokio::time::sleep(left - NEAR).await;
    }
    loop {
        tokio::task::yield_now().await;
        if Instant::now() >= due {
            return;
        }
    }
}

impl Client {
    async fn ask(&self, due: Instant) -> Outcome {
        let Ok(_place) = self.outstanding.try_acquire() else { return Outcome::NotSent };
        // Dropping the exchange closes its connection: that is how the server learns.
        match tokio::time::timeout_at((due + self.patience).into(), self.exchange()).await {
            Ok(Ok(status)) => Outcome::Answered(status),
            Ok(Err(error)) => Outcome::Failed(error.to_string()),
            Err(_) => Outcome::GaveUp,
        }
    }

    async fn exchange(&self) -> Result<u16, Failure> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let request = Request::post(&self.path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .body(Full::new(self.body.clone()))?;
        let response = connection.send_request(request).await?;
        let status = response.status().as_u16();
        response.into_body().collect().await?;
        if self.keep_alive {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        Ok(status)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        // The latest one back is the least likely to have been closed by the server meanwhile.
        let ready = idle.iter().rposition(Connection::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        #[expect(clippy::disallowed_methods, reason = "it ends when its sender is dropped, at the latest with main")]
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Exponential gaps between arrivals, from a fixed seed (xorshift64*).
struct Gaps {
    rate: f64,
    state: u64,
}

impl Gaps {
    fn new(rate: f64) -> Self {
        Self { rate, state: 0x9E37_79B9_7F4A_7C15 }
    }

    fn next(&mut self) -> Duration {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        let uniform = (bits as f64 + 0.5) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() / self.rate)
    }
}

fn summary(results: &[(f64, Outcome, f64)], seconds: f64) -> Value {
    let (mut statuses, mut errors) = (BTreeMap::<u16, Vec<f64>>::new(), BTreeMap::<&str, usize>::new());
    let (mut gave_up, mut not_sent) = (0, 0);
    for (_, outcome, latency_ms) in results {
        match outcome {
            Outcome::Answered(status) => statuses.entry(*status).or_default().push(*latency_ms),
            Outcome::Failed(error) => *errors.entry(error).or_default() += 1,
            Outcome::GaveUp => gave_up += 1,
            Outcome::NotSent => not_sent += 1,
        }
    }
    let mut lags = results.iter().map(|(lag, ..)| *lag).collect::<Vec<_>>();
    lags.sort_by(f64::total_cmp);
    let within = statuses.get(&200).map_or(0, |times| times.iter().filter(|time| **time <= 1000.0).count());
    let statuses = statuses.into_iter().map(|(status, mut times)| {
        times.sort_by(f64::total_cmp);
        let percentiles =
            json!({ "count": times.len(), "p50_ms": percentile(&times, 0.5), "p99_ms": percentile(&times, 0.99) });
        (status.to_string(), percentiles)
    });
    json!({
        "arrivals": results.len(),
        "seconds": seconds,
        "within_1s": within,
        "goodput_per_second": within as f64 / seconds,
        "gave_up": gave_up,
        "not_sent": not_sent,
        "errors": errors,
        "send_lag_p50_ms": percentile(&lags, 0.5),
        "send_lag_p99_ms": percentile(&lags, 0.99),
        "statuses": statuses.collect::<serde_json::Map<_, _>>(),
    })
}
