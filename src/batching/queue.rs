//! Requests that wait for a model, in the order they came, at most as many as the limit says.

use std::{collections::VecDeque, mem, time::Instant};

use tokio::sync::oneshot;

use crate::{
    batching::{
        policy::{Decision, Limits, Waiting, decide},
        ticket::Ticket,
    },
    error::{Error, ErrorKind, Result},
    request::{BatchKey, InferResponse, ValidRequest},
};

/// A request that waits, with the place where its answer goes.
///
/// A closed reply means that nobody waits any more: the client left or its time ran out. It is the only cancellation.
#[derive(Debug)]
pub struct Entry {
    /// What to run.
    pub request: ValidRequest,
    /// What it can be stacked by.
    pub key: Option<BatchKey>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Reply>,
    /// When it was queued.
    pub queued_at: Instant,
    /// When the answer is no longer wanted.
    pub deadline: Option<Instant>,
    /// Ends the run that this is in once nobody waits for any of it; in the worker lane.
    pub ticket: Option<Ticket>,
    /// Whether this is the rest of a request that has begun to run, which a full queue does not refuse any more.
    pub begun: bool,
}

/// What whoever waits is told.
#[derive(Debug)]
pub enum Reply {
    /// The answer.
    Answer(Result<InferResponse>),
    /// That it is its turn to run what is queued, in the inline lane; what comes next comes here.
    YourTurn(oneshot::Receiver<Reply>),
}

/// A queue; whoever owns it puts a lock around it.
#[derive(Debug)]
pub struct RequestQueue {
    entries: VecDeque<Entry>,
    max_queue_size: usize,
}

impl Entry {
    /// Tells whether nobody waits for the answer any more at `now`.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.reply.is_closed() || self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Answers the request.
    pub fn answer(self, answer: Result<InferResponse>) {
        // A closed reply is no failure: whoever asked is gone.
        drop(self.reply.send(Reply::Answer(answer)));
    }

    /// Answers a request that is dead; only one whose time ran out may still be listened to.
    pub fn bury(self) {
        self.answer(Err(Error::new(ErrorKind::DeadlineExceeded, "the deadline passed while the request was waiting")));
    }

    fn waiting(&self) -> Waiting<&BatchKey> {
        Waiting { key: self.key.as_ref(), rows: self.request.rows(), queued_at: self.queued_at }
    }
}

impl RequestQueue {
    /// Makes an empty queue for at most `max_queue_size` requests.
    pub fn new(max_queue_size: usize) -> Self {
        Self { entries: VecDeque::new(), max_queue_size }
    }

    /// Appends a request. Never waits for space. Returns how many dead ones made room for it.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full.
    pub fn push(&mut self, entry: Entry) -> Result<usize> {
        let mut buried = 0;
        if self.entries.len() >= self.max_queue_size {
            // Whoever has given up must not keep others out.
            let now = Instant::now();
            let (dead, living): (VecDeque<_>, _) = self.entries.drain(..).partition(|entry| entry.is_dead(now));
            self.entries = living;
            buried = dead.len();
            dead.into_iter().for_each(Entry::bury);
        }
        // What has begun is a few parts for each request in flight, which has a limit of its own.
        if self.entries.len() >= self.max_queue_size && !entry.begun {
            return Err(Error::new(
                ErrorKind::Overloaded,
                format!("the model's queue is full: {} requests wait; retry later", self.max_queue_size),
            ));
        }
        self.entries.push_back(entry);
        Ok(buried)
    }

    /// Tells the request at the front that it is its turn to run what is queued; it stays in the queue. Those whose
    /// clients have left are taken out on the way. Returns how many that were.
    pub fn give_turn(&mut self) -> usize {
        let mut buried = 0;
        while let Some(front) = self.entries.front_mut() {
            let (reply, next) = oneshot::channel();
            if mem::replace(&mut front.reply, reply).send(Reply::YourTurn(next)).is_ok() {
                break;
            }
            self.entries.pop_front();
            buried += 1;
        }
        buried
    }

    /// Says what to do now.
    pub fn decide(&self, now: Instant, limits: Limits) -> Decision {
        decide(self.entries.iter().map(Entry::waiting), now, limits)
    }

    /// Takes requests from the front.
    pub fn take(&mut self, count: usize) -> Vec<Entry> {
        self.entries.drain(..count.min(self.entries.len())).collect()
    }

    /// Tells whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many requests wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
