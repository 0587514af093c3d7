//! The worker lane: each instance is a thread that owns one session and pulls batches from one queue.
//!
//! While all of them are busy the queue grows, and the next batch is larger. The wait for company is a wait on a condition
//! variable: the event loop's timers tick once a millisecond, too coarse for a delay in microseconds.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::{
    batching::{
        policy::{Decision, Limits},
        queue::{Entry, QueueLimits, Reply, RequestQueue, dropped_reply},
        run::Runner,
        ticket::Ticket,
        watchdog::WatchedSession,
    },
    engine::Outage,
    error::{Error, Result},
    request::InferResponse,
};

/// How often a worker whose session is down looks whether it is up again.
const LOOK: Duration = Duration::from_millis(20);

/// Sessions that have threads of their own. Dropping it waits for what is queued.
#[derive(Debug)]
pub struct WorkerLane {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    // Held for a few instructions at a time and never across a run; workers sleep on the condition variable beside it.
    state: Mutex<State>,
    changed: Condvar,
    /// Workers whose session is down sleep here, so that they are not woken in place of one that can run.
    down: Condvar,
    runner: Runner,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    queue: RequestQueue,
    closed: bool,
}

impl WorkerLane {
    /// Starts one thread per session, named after the model.
    ///
    /// # Errors
    /// `Internal` where the system gives no thread.
    pub fn start(
        model: &str,
        sessions: Vec<WatchedSession>,
        queue: QueueLimits,
        limits: Limits,
        runner: Runner,
    ) -> Result<Self> {
        let state = State { queue: RequestQueue::new(queue, sessions.len()), closed: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            down: Condvar::new(),
            runner,
            limits,
        });
        let mut lane = Self { shared: Arc::clone(&shared), workers: Vec::new() };
        for session in sessions {
            let shared = Arc::clone(&shared);
            let worker = Builder::new().name(format!("model-{model}")).spawn(move || shared.work(session));
            lane.workers.push(worker.map_err(Error::internal)?);
        }
        Ok(lane)
    }

    /// Returns what the lane runs with.
    pub fn runner(&self) -> &Runner {
        &self.shared.runner
    }

    /// Queues a request at once; the future waits for its answer. Dropping it takes the request out of the queue's
    /// reckoning, and ends the run that it is in if nobody else waits for that.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full or the wait too long; otherwise what the run gave.
    pub fn run(
        &self,
        mut entry: Entry,
        answer: oneshot::Receiver<Reply>,
    ) -> impl Future<Output = Result<InferResponse>> + Send + use<> {
        let ticket = Ticket::default();
        entry.ticket = Some(ticket.clone());
        let pushed = self.shared.push(entry);
        let waiting = Waiting { ticket, answered: false };
        async move {
            // All of it, and not only the flag, so that dropping the future gives the request up.
            let mut waiting = waiting;
            pushed?;
            let result = match answer.await {
                Ok(Reply::Answer(answer)) => answer,
                Ok(Reply::YourTurn(_)) | Err(_) => Err(dropped_reply()),
            };
            waiting.answered = true;
            result
        }
    }
}

/// Gives the request up if it is dropped before the answer is there.
struct Waiting {
    ticket: Ticket,
    answered: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.answered {
            self.ticket.give_up();
        }
    }
}

impl Drop for WorkerLane {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        self.shared.down.notify_all();
        for worker in self.workers.drain(..) {
            // A panic outside a run has been reported by the panic hook; there is nothing left to do for it here.
            let _panicked = worker.join();
        }
    }
}

impl Shared {
    fn push(&self, entry: Entry) -> Result<()> {
        let mut state = self.lock();
        let pushed = state.queue.push(entry);
        self.note_depth(&state);
        self.runner.metrics.cancelled.inc_by(pushed? as u64);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    fn work(&self, mut session: WatchedSession) {
        let outage = session.session.outage();
        while let Some(batch) = self.next_batch(outage.as_deref()) {
            let requests = batch.len();
            let taken = self.runner.run_batch(&mut session, batch, Instant::now());
            self.lock().queue.note_run(requests, taken);
        }
    }

    /// Waits for a batch that is due. `None` once the lane is closed and nothing waits.
    ///
    /// A session that is down leaves the queue to the others. Once all are down, what is queued is taken and refused.
    fn next_batch(&self, outage: Option<&dyn Outage>) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        loop {
            let is_down = outage.is_some_and(|outage| outage.reason().is_some());
            if is_down && !state.closed && self.runner.failure().is_none() {
                // What woke this worker is for another.
                if !state.queue.is_empty() {
                    self.changed.notify_one();
                }
                state = self.down.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let now = Instant::now();
            state = match state.queue.decide(now, self.limits) {
                // Nobody waits for what is left in a lane that is closed, so it need not wait for company either.
                Decision::WaitUntil(_) if state.closed => return Some(state.queue.take(1)),
                Decision::Take(count) => {
                    let batch = state.queue.take(count);
                    self.note_depth(&state);
                    // What is left is for the next worker that sleeps.
                    if !state.queue.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(batch);
                }
                Decision::WaitForMore if state.closed => return None,
                Decision::WaitForMore => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Decision::WaitUntil(due) => {
                    let wait = due.saturating_duration_since(now);
                    self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    #[expect(clippy::cast_possible_wrap, reason = "a queue's length is far below 2^63")]
    fn note_depth(&self, state: &State) {
        self.runner.metrics.queue_depth.set(state.queue.len() as i64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
