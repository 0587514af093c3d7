//! The bounded queue in front of a model.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    error::{Error, ErrorKind, Result},
    request::{InferResponse, ValidRequest},
};

/// A request that waits, with the place where its answer goes.
///
/// A closed reply means that nobody waits any more: the client left or its time ran out. It is the only cancellation.
#[derive(Debug)]
pub struct Entry {
    /// What to run.
    pub request: ValidRequest,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<InferResponse>>,
    /// When it was queued.
    pub queued_at: Instant,
}

/// Entries in the order they came, at most as many as the limit says.
#[derive(Debug)]
pub struct RequestQueue {
    // Held for a few instructions at a time and never across a run; workers sleep on the condvar beside it.
    state: Mutex<State>,
    not_empty: Condvar,
    max_queue_size: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    closed: bool,
}

impl RequestQueue {
    /// Makes an empty queue for at most `max_queue_size` requests.
    pub fn new(max_queue_size: usize) -> Self {
        Self { state: Mutex::default(), not_empty: Condvar::new(), max_queue_size }
    }

    /// Appends a request. Never blocks for space.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full, `Unavailable` where it is closed.
    pub fn push(&self, entry: Entry) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::unavailable("the model is being unloaded"));
        }
        if state.entries.len() >= self.max_queue_size {
            return Err(Error::new(
                ErrorKind::Overloaded,
                format!("the model's queue is full: {} requests wait; retry later", self.max_queue_size),
            ));
        }
        state.entries.push_back(entry);
        drop(state);
        self.not_empty.notify_one();
        Ok(())
    }

    /// Takes the oldest request. Blocks while there is none; `None` once closed and empty.
    pub fn take(&self) -> Option<Entry> {
        let mut state = self.lock();
        loop {
            if let Some(entry) = state.entries.pop_front() {
                return Some(entry);
            }
            if state.closed {
                return None;
            }
            state = self.not_empty.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets nothing more in. What waits is still taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.not_empty.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
