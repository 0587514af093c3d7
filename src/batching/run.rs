//! Running a batch on a session, and answering everyone in it.

use std::{
    any::Any,
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    batching::{
        batch::{scatter, stack},
        queue::Entry,
        ticket::Run,
        watchdog::WatchedSession,
    },
    engine::{Outage, Session},
    error::{Error, ErrorKind, Result},
    metrics::ModelMetrics,
    request::{InferResponse, Tensors, ValidRequest},
    tensor::tensor::Tensor,
};

/// How long after its deadline a run of the worker lane is terminated, if the event loop has not done so by then.
const LATE: Duration = Duration::from_millis(100);

/// What a lane runs batches with.
#[derive(Debug)]
pub struct Runner {
    pub metrics: Arc<ModelMetrics>,
    /// In the inline lane: how long a run may hold the event loop.
    hold: Option<Hold>,
    failure: OnceLock<String>,
    /// Of sessions that can have any: one for each.
    outages: Vec<Arc<dyn Outage>>,
}

/// How long a run may hold the event loop: far longer than it was measured to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The least, for a run of any number of rows.
    pub least: Duration,
    /// For each row, if that is more.
    pub per_row: Duration,
}

impl Runner {
    /// Makes a runner of a model that has not failed.
    pub fn new(sessions: &[Box<dyn Session>], metrics: Arc<ModelMetrics>, hold: Option<Hold>) -> Self {
        let outages = sessions.iter().filter_map(|session| session.outage()).collect();
        Self { metrics, hold, failure: OnceLock::new(), outages }
    }

    /// Returns why the model does not run now: a run of it panicked, which is for good, or all of its sessions are down.
    pub fn failure(&self) -> Option<Cow<'_, str>> {
        match self.failure.get() {
            Some(reason) => Some(Cow::Borrowed(reason)),
            None if self.outages.is_empty() => None,
            None => self.outage().map(Cow::Owned),
        }
    }

    /// Returns why all sessions are down, if they are.
    fn outage(&self) -> Option<String> {
        let mut last = None;
        for outage in &self.outages {
            last = Some(outage.reason()?);
        }
        last
    }

    /// Runs a batch, cut `now`, and answers everyone in it who still waits. Blocks for as long as the model takes.
    ///
    /// If a batch of several fails, its requests are run again one by one, so that only the culprit gets the error. If it
    /// panics, all of them get the error, and nothing is run any more: a session that panicked can give anything.
    ///
    /// Returns the time since `now`.
    pub fn run_batch(&self, session: &mut WatchedSession, batch: Vec<Entry>, now: Instant) -> Duration {
        for entry in &batch {
            self.metrics.queue.observe(now.saturating_duration_since(entry.queued_at).as_secs_f64());
        }
        match self.failure() {
            None => self.run_living(session, batch, now),
            Some(reason) => {
                let refuse = |entry: Entry| {
                    entry.answer(Err(Error::unavailable(format!("the model has failed: {reason}"))));
                };
                batch.into_iter().for_each(refuse);
            }
        }
        now.elapsed()
    }

    fn run_living(&self, session: &mut WatchedSession, mut batch: Vec<Entry>, now: Instant) {
        let run = batch.iter().any(|entry| entry.ticket.is_some()).then(|| Run::new(session.session.terminator()));
        self.drop_dead(&mut batch, run.as_ref(), now);
        let result = match &batch[..] {
            [] => return,
            [alone] => self
                .run(session, alone.request.inputs(), alone.request.rows(), 1, alone.deadline)
                .map(|outputs| vec![InferResponse { outputs }]),
            several => self.run_stacked(session, several),
        };
        if let Some(run) = run {
            run.finish();
        }
        match result {
            Ok(responses) => batch.into_iter().zip(responses).for_each(|(entry, response)| entry.answer(Ok(response))),
            // Nobody can tell whose values crashed it, and the next of them would crash it again.
            Err(error) if error.kind() == ErrorKind::Crashed => {
                let crashed = || Error::new(error.kind(), error.message());
                batch.into_iter().for_each(|entry| entry.answer(Err(crashed())));
            }
            Err(error) => match <[Entry; 1]>::try_from(batch) {
                Ok([alone]) => alone.answer(Err(error)),
                Err(several) => several.into_iter().for_each(|entry| self.run_again(session, entry)),
            },
        }
    }

    /// Runs one of a batch that failed by itself, unless the batch panicked.
    fn run_again(&self, session: &mut WatchedSession, entry: Entry) {
        match self.failure() {
            None => self.run_living(session, vec![entry], Instant::now()),
            Some(reason) => entry.answer(Err(Error::internal(reason.into_owned()))),
        }
    }

    /// Drops those that nobody waits for any more: their clients left or their time ran out.
    fn drop_dead(&self, batch: &mut Vec<Entry>, run: Option<&Run>, now: Instant) {
        let given_up = |entry: &Entry| match (&entry.ticket, run) {
            (Some(ticket), Some(run)) => !ticket.enter(run),
            _ => false,
        };
        for entry in batch.extract_if(.., |entry| entry.is_dead(now) || given_up(entry)) {
            self.metrics.cancelled.inc();
            entry.bury();
        }
    }

    fn run_stacked(&self, session: &mut WatchedSession, batch: &[Entry]) -> Result<Vec<InferResponse>> {
        let requests: Vec<&ValidRequest> = batch.iter().map(|entry| &entry.request).collect();
        let rows: Vec<usize> = requests.iter().map(|request| request.rows()).collect();
        let deadline = latest_deadline(batch);
        let outputs = self.run(session, &stack(&requests)?, rows.iter().sum(), requests.len(), deadline)?;
        scatter(&outputs, &rows)
    }

    fn run(
        &self,
        session: &mut WatchedSession,
        inputs: &[Tensor],
        rows: usize,
        requests: usize,
        deadline: Option<Instant>,
    ) -> Result<Tensors> {
        let started = Instant::now();
        let until = self.end_of_run(started, rows, deadline);
        let (outcome, terminated) =
            session.run_until(until, |session| catch_unwind(AssertUnwindSafe(|| session.run(inputs))));
        let taken = started.elapsed();
        self.metrics.compute.observe(taken.as_secs_f64());
        self.metrics.saturation.add(taken);
        self.metrics.batch_rows.observe(rows as f64);
        self.metrics.statistics.count_run(rows, requests, taken);
        if terminated && matches!(outcome, Ok(Err(_))) {
            return Err(overdue(taken, deadline));
        }
        outcome.unwrap_or_else(|panic| {
            // Clients read why a model has failed; what the panic said is for the log.
            let _already = self.failure.set("a run panicked; the log has the cause".to_owned());
            Err(Error::internal(format!("a run panicked: {}", panic_message(&*panic))))
        })
    }

    /// Returns when a run that begins now must end: when nobody waits for it any more, and in the inline lane also when it
    /// has held the event loop for too long.
    fn end_of_run(&self, started: Instant, rows: usize, deadline: Option<Instant>) -> Option<Instant> {
        let Some(hold) = self.hold else { return deadline.map(|deadline| deadline + LATE) };
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let released = started + hold.least.max(hold.per_row.saturating_mul(rows));
        Some(deadline.map_or(released, |deadline| released.min(deadline)))
    }
}

/// Returns the deadline of the request that may wait longest; `None` if one of them may wait for ever.
fn latest_deadline(batch: &[Entry]) -> Option<Instant> {
    batch
        .iter()
        .map(|entry| entry.deadline)
        .reduce(|latest, next| latest.zip(next).map(|(latest, next)| latest.max(next)))?
}

/// Makes the error of a run that was terminated.
fn overdue(taken: Duration, deadline: Option<Instant>) -> Error {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => {
            Error::new(ErrorKind::DeadlineExceeded, "the deadline passed while the request was running")
        }
        _ => Error::internal(format!(
            "a run was terminated after it had held the event loop for {taken:?}; set [batching] lane = \"worker\" in \
             model.toml"
        )),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
