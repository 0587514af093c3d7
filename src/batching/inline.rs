//! The inline lane: batches are run inside the event loop, by the requests themselves.
//!
//! A request that finds a session idle takes it and yields once, so that everything that is already readable on the
//! sockets is parsed and queued too; then it cuts a batch, runs it on the spot and answers everyone in it. A request that
//! finds no session idle just waits: whoever holds one runs it too (flat combining), goes on until it is answered itself,
//! and then gives its turn to the next that waits. There is no hop to another thread and no timer; under load batches
//! grow by themselves. The event loop waits while a batch runs, so this is for models whose batches are short, and the
//! lane's limits keep them so.
//!
//! While something is queued, somebody has a turn or was told to take one: a request whose client leaves passes on both.
//! So the future of a request must be polled until it is answered. A caller that stops polling it, to wait for its own client
//! for example, stops everyone else in the queue.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::oneshot::{self, error::TryRecvError},
    task::yield_now,
};

use crate::{
    batching::{
        policy::{Decision, Limits},
        queue::{Entry, QueueLimits, Reply, RequestQueue, dropped_reply},
        run::Runner,
        watchdog::WatchedSession,
    },
    error::Result,
    request::InferResponse,
};

/// Sessions that are run by whoever asks.
pub struct InlineLane {
    // Held for a few instructions at a time and never across a run or an await.
    state: Mutex<State>,
    runner: Runner,
    limits: Limits,
}

struct State {
    queue: RequestQueue,
    idle: Vec<WatchedSession>,
}

impl InlineLane {
    /// Makes a lane over idle sessions. The queue delay of the limits does not apply: nothing ever waits for company.
    pub fn new(sessions: Vec<WatchedSession>, queue: QueueLimits, limits: Limits, runner: Runner) -> Self {
        let state = State { queue: RequestQueue::new(queue, sessions.len()), idle: sessions };
        let limits = Limits { max_queue_delay: Duration::ZERO, ..limits };
        Self { state: Mutex::new(state), runner, limits }
    }

    /// Returns what the lane runs with.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Queues a request at once; the future waits for its answer, and runs whatever is queued if a session is idle.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full or the wait too long; otherwise what the run gave.
    pub fn run(
        &self,
        entry: Entry,
        replies: oneshot::Receiver<Reply>,
    ) -> impl Future<Output = Result<InferResponse>> + Send {
        let pushed = self.push(entry);
        let waiting = Waiting { lane: self, replies };
        async move { self.wait(pushed?, waiting).await }
    }

    async fn wait(&self, mut turn: Option<Turn<'_>>, mut waiting: Waiting<'_>) -> Result<InferResponse> {
        loop {
            let reply = match &mut turn {
                Some(held) => {
                    yield_now().await;
                    if !held.run_one_batch() {
                        turn = None;
                    }
                    waiting.replies.try_recv()
                }
                None => (&mut waiting.replies).await.map_err(|_| TryRecvError::Closed),
            };
            match reply {
                Ok(Reply::Answer(answer)) => return answer,
                Ok(Reply::YourTurn(replies)) => {
                    waiting.replies = replies;
                    turn = turn.or_else(|| self.lock().turn(self));
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => return Err(dropped_reply()),
            }
        }
    }

    fn push(&self, entry: Entry) -> Result<Option<Turn<'_>>> {
        let mut state = self.lock();
        let pushed = state.queue.push(entry);
        self.note(&state, *pushed.as_ref().unwrap_or(&0));
        pushed.map(|_| state.turn(self))
    }

    /// Gives the turn to the request at the front, if there are both a request and a session for it.
    fn pass_turn_on(&self, state: &mut State) {
        if !state.idle.is_empty() {
            let buried = state.queue.give_turn();
            self.note(state, buried);
        }
    }

    #[expect(clippy::cast_possible_wrap, reason = "a queue's length is far below 2^63")]
    fn note(&self, state: &State, buried: usize) {
        self.runner.metrics.queue_depth.set(state.queue.len() as i64);
        self.runner.metrics.cancelled.inc_by(buried as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a turn, if something is queued and a session is idle.
    fn turn<'a>(&mut self, lane: &'a InlineLane) -> Option<Turn<'a>> {
        let session = if self.queue.is_empty() { None } else { self.idle.pop() };
        session.map(|session| Turn { lane, session: Some(session) })
    }
}

/// One request's wait. A turn that it was given and has not taken is passed on when its client leaves.
struct Waiting<'a> {
    lane: &'a InlineLane,
    replies: oneshot::Receiver<Reply>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // From here on nobody can give it a turn.
        self.replies.close();
        // What it was told goes first: as long as that is there, the queue takes the request for one that waits.
        let has_turn = matches!(self.replies.try_recv(), Ok(Reply::YourTurn(_)));
        if has_turn {
            self.lane.pass_turn_on(&mut self.lane.lock());
        }
    }
}

/// One request's turn at running what is queued. Dropping it gives the session back, and the turn to the next.
struct Turn<'a> {
    lane: &'a InlineLane,
    session: Option<WatchedSession>,
}

impl Turn<'_> {
    /// Runs the next batch; false once nothing is queued, when the turn is over.
    fn run_one_batch(&mut self) -> bool {
        let Some(session) = &mut self.session else { return false };
        let now = Instant::now();
        let batch = {
            let mut state = self.lane.lock();
            let batch = match state.queue.decide(now, self.lane.limits) {
                Decision::Take(count) => state.queue.take(count),
                Decision::WaitUntil(_) | Decision::WaitForMore => Vec::new(),
            };
            self.lane.note(&state, 0);
            batch
        };
        let requests = batch.len();
        let taken = self.lane.runner.run_batch(session, batch, now);
        let mut state = self.lane.lock();
        state.queue.note_run(requests, taken);
        if state.queue.is_empty() {
            state.idle.extend(self.session.take());
        }
        self.session.is_some()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            let mut state = self.lane.lock();
            state.idle.push(session);
            self.lane.pass_turn_on(&mut state);
        }
    }
}
