//! Sending the load: threads with an event loop each, on which each connection is a task.
//!
//! The bytes of a request are made before the first is sent; sending one copies no more than its head.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::Builder,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::{
    runtime::{self, Handle},
    task::JoinSet,
};

use crate::{
    cli::{
        bench::{
            client::{Answer, Connection},
            patience::Patience,
            progress::Progress,
            schedule::{Closed, Extent, Open, Schedule, Share},
            tally::{Outcome, Tally, Unanswered},
        },
        page::count,
    },
    error::{Error, Result},
};

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(100);
/// How long a connection that could not be made is not tried again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// What is sent, and whereto.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// The requests, used in turn; at least one.
    pub(super) requests: Vec<PreparedRequest>,
    /// The longest wait for an answer.
    pub(super) timeout: Duration,
    pub(super) threads: usize,
}

/// A request, ready to be sent.
#[derive(Clone, Debug)]
pub(super) struct PreparedRequest {
    pub(super) request: Request<Full<Bytes>>,
    /// Its rows; none where they are not known.
    pub(super) rows: Option<u64>,
}

/// One measurement: how the load is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// How many connections there are.
    pub(super) connections: usize,
    /// Requests a second in an open loop; none in a closed one.
    pub(super) rate: Option<f64>,
    /// How long it goes on.
    pub(super) extent: Extent,
}

impl Run {
    pub(super) fn name(&self) -> String {
        let connections = count(self.connections, "connection");
        match self.rate {
            Some(rate) => format!("{connections}, {rate} requests a second"),
            None => connections,
        }
    }
}

/// What the threads of a run share.
struct Shared {
    load: Arc<Load>,
    run: Run,
    start: Barrier,
    cannot_start: AtomicBool,
    taken: Arc<AtomicU64>,
    done: AtomicU64,
}

/// Sends the load. Every connection is made before the first request is sent; every request that was sent is waited for.
/// Blocks.
///
/// # Errors
/// `Unavailable` where the daemon cannot be connected to.
pub(super) fn send(load: &Arc<Load>, run: Run, progress: &Progress) -> Result<Tally> {
    let threads = load.threads.min(run.connections);
    let shared = Arc::new(Shared {
        load: Arc::clone(load),
        run,
        start: Barrier::new(threads),
        cannot_start: AtomicBool::new(false),
        taken: Arc::default(),
        done: AtomicU64::new(0),
    });
    let (sender, receiver) = mpsc::sync_channel(threads);
    let mut handles = Vec::new();
    for index in 0..threads {
        let (shared, sender) = (Arc::clone(&shared), sender.clone());
        let share = Share { index: index as u64, threads: threads as u64 };
        let work = move || {
            // The receiver waits for every thread.
            let _received = sender.send(work(&shared, share));
        };
        handles.push(Builder::new().name("load".to_owned()).spawn(work).map_err(Error::internal)?);
    }
    drop(sender);
    let mut tally = Tally::new()?;
    let mut outcome = Ok(());
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(Ok(part)) => tally.merge(part)?,
            Ok(Err(error)) => outcome = Err(error),
            Err(RecvTimeoutError::Timeout) => progress.show(shared.done.load(Ordering::Relaxed)),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for handle in handles {
        handle.join().map_err(|_panic| Error::internal("a thread of the load panicked"))?;
    }
    outcome.map(|()| tally)
}

fn work(shared: &Arc<Shared>, share: Share) -> Result<Tally> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::internal);
    let connections = runtime.and_then(|runtime| Ok((runtime.block_on(connect(shared, share))?, runtime)));
    if connections.is_err() {
        shared.cannot_start.store(true, Ordering::Relaxed);
    }
    // Nobody sends before everybody is connected.
    shared.start.wait();
    let (connections, runtime) = connections?;
    if shared.cannot_start.load(Ordering::Relaxed) {
        return Tally::new();
    }
    runtime.block_on(measure(shared, share, connections))
}

async fn connect(shared: &Shared, share: Share) -> Result<Vec<Connection>> {
    let address = shared.load.address;
    let mut connections = Vec::new();
    for _ in 0..share.of(shared.run.connections as u64) {
        let connection = tokio::time::timeout(shared.load.timeout, Connection::open(address)).await;
        let refused = |reason: String| Error::unavailable(format!("cannot connect to {address}: {reason}"));
        let connection = connection.map_err(|_elapsed| refused("no answer in time".to_owned()))?;
        connections.push(connection.map_err(|error| refused(error.to_string()))?);
    }
    Ok(connections)
}

async fn measure(shared: &Arc<Shared>, share: Share, connections: Vec<Connection>) -> Result<Tally> {
    let (metrics, run) = (Handle::current().metrics(), shared.run);
    let (start, busy_before) = (Instant::now(), metrics.worker_total_busy_duration(0));
    let schedule = Arc::new(match run.rate {
        None => Schedule::Closed(Closed::new(start, run.extent, &shared.taken)),
        Some(rate) => Schedule::Open(Open::new(start, rate, run.extent, share, connections.len())),
    });
    let tally = Arc::new(Mutex::new(Tally::new()?));
    let mut clients = JoinSet::new();
    for connection in connections {
        let client = Client {
            shared: Arc::clone(shared),
            start,
            connection: Some(connection),
            patience: Patience::new(start + shared.load.timeout),
            tally: Arc::clone(&tally),
        };
        clients.spawn(client.take_turns(Arc::clone(&schedule)));
    }
    schedule.run().await;
    while let Some(client) = clients.join_next().await {
        client.map_err(Error::internal)??;
    }
    let busy = metrics.worker_total_busy_duration(0).saturating_sub(busy_before);
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tally.busy = (busy.as_secs_f64() / start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE)).min(1.0);
    Ok(tally)
}

/// One connection, made anew when it is lost.
struct Client {
    shared: Arc<Shared>,
    start: Instant,
    connection: Option<Connection>,
    patience: Patience,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    /// Sends requests until there are no more.
    async fn take_turns(mut self, schedule: Arc<Schedule>) -> Result<()> {
        let requests = self.shared.load.requests.len() as u64;
        let mut now = Instant::now();
        while let Some(turn) = schedule.next(now).await {
            let sent = Instant::now();
            let prepared = usize::try_from(turn.number % requests).unwrap_or(0);
            let outcome = self.ask(prepared, turn.due + self.shared.load.timeout).await;
            now = Instant::now();
            let is_unreachable = matches!(outcome, Outcome::Unanswered(Unanswered::NoConnection, _));
            self.record(outcome, prepared, now - turn.due, sent - turn.due, now)?;
            self.shared.done.fetch_add(1, Ordering::Relaxed);
            if is_unreachable {
                tokio::time::sleep(RECONNECT_PAUSE).await;
                now = Instant::now();
            }
        }
        Ok(())
    }

    /// Sends a request, unless its time is over before it could be sent.
    async fn ask(&mut self, prepared: usize, deadline: Instant) -> Outcome {
        let timed_out = || Outcome::Unanswered(Unanswered::TimedOut, "no answer in time".to_owned());
        if deadline <= Instant::now() {
            return timed_out();
        }
        let (kept, address) = (self.connection.take(), self.shared.load.address);
        let request = self.shared.load.requests[prepared].request.clone();
        let exchange = async {
            let mut connection = match reuse_or_open(kept, address).await {
                Ok(connection) => connection,
                Err(error) => return (Outcome::Unanswered(Unanswered::NoConnection, error.to_string()), None),
            };
            match connection.exchange(request, |status| !Answer::is_success(status)).await {
                Ok(answer) => (Outcome::Answered(answer), Some(connection)),
                Err(error) => (Outcome::Unanswered(Unanswered::Lost, error.to_string()), None),
            }
        };
        // An exchange that is given up drops its connection with it.
        match self.patience.until(deadline, exchange).await {
            Some((outcome, connection)) => {
                self.connection = connection;
                outcome
            }
            None => timed_out(),
        }
    }

    fn record(
        &self,
        outcome: Outcome,
        prepared: usize,
        latency: Duration,
        send_delay: Duration,
        now: Instant,
    ) -> Result<()> {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.requests += 1;
        tally.span = now - self.start;
        if self.shared.run.rate.is_some() {
            tally.send_delays.record(send_delay);
        }
        match outcome {
            Outcome::Answered(Answer { status, .. }) if Answer::is_success(status) => {
                tally.latencies.record(latency);
                if self.is_in_time(now) {
                    tally.answered_in_time += 1;
                    tally.rows_in_time += self.shared.load.requests[prepared].rows.unwrap_or(0);
                }
                Ok(())
            }
            outcome => tally.record_failure(outcome, latency),
        }
    }

    fn is_in_time(&self, now: Instant) -> bool {
        match self.shared.run.extent {
            Extent::Time(time) => now <= self.start + time,
            Extent::Requests(_) => true,
        }
    }
}

/// Goes on with a connection, or with a new one where the server has closed it meanwhile, as it may.
async fn reuse_or_open(kept: Option<Connection>, address: SocketAddr) -> io::Result<Connection> {
    if let Some(mut connection) = kept
        && connection.is_ready().await
    {
        return Ok(connection);
    }
    Connection::open(address).await
}
