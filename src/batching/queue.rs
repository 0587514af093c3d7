//! Requests that wait for a model, in the order they came, at most as many as the limit says.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

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

/// How many requests may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// The most requests that wait.
    pub max_queue_size: usize,
    /// The longest that a request may expect to wait, once there are [`ALWAYS_QUEUED`] before it; zero for ever.
    pub max_queue_wait: Duration,
}

/// So many requests may wait however long that takes: clients that wait for one answer before they ask again are no
/// overload, slow as the model may be.
pub const ALWAYS_QUEUED: usize = 128;

/// How much a run says of the next ones.
const WEIGHT_OF_A_RUN: f64 = 0.125;

/// A queue; whoever owns it puts a lock around it.
#[derive(Debug)]
pub struct RequestQueue {
    entries: VecDeque<Entry>,
    limits: QueueLimits,
    instances: usize,
    /// The time that a session takes for a request, on average, in seconds; 0 before the first run.
    pace: f64,
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
    /// Makes an empty queue for so many instances.
    pub fn new(limits: QueueLimits, instances: usize) -> Self {
        Self { entries: VecDeque::new(), limits, instances, pace: 0.0 }
    }

    /// Takes note of how long a session took for a batch of so many requests.
    pub fn note_run(&mut self, requests: usize, taken: Duration) {
        let seconds = taken.as_secs_f64() / requests.max(1) as f64;
        let weight = if self.pace == 0.0 { 1.0 } else { WEIGHT_OF_A_RUN };
        self.pace += (seconds - self.pace) * weight;
    }

    /// Appends a request. Never waits for space. Returns how many dead ones made room for it.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full, or the wait would be too long.
    pub fn push(&mut self, entry: Entry) -> Result<usize> {
        let mut buried = 0;
        if self.refusal().is_some() {
            // Whoever has given up must not keep others out.
            let now = Instant::now();
            let (dead, living): (VecDeque<_>, _) = self.entries.drain(..).partition(|entry| entry.is_dead(now));
            self.entries = living;
            buried = dead.len();
            dead.into_iter().for_each(Entry::bury);
        }
        // What has begun is a few parts for each request in flight, which has a limit of its own.
        match self.refusal() {
            Some(reason) if !entry.begun => Err(Error::new(ErrorKind::Overloaded, reason)),
            _ => {
                self.entries.push_back(entry);
                Ok(buried)
            }
        }
    }

    /// Says why one more request may not wait, if it may not.
    ///
    /// The wait is bounded because a queue that is as long as clients are patient answers nobody in time: once every
    /// answer is as old as that, the server is busy with what nobody waits for any more.
    fn refusal(&self) -> Option<String> {
        let (waiting, QueueLimits { max_queue_size, max_queue_wait }) = (self.entries.len(), self.limits);
        if waiting >= max_queue_size {
            return Some(format!("the model's queue is full: {waiting} requests wait; retry later"));
        }
        let expected = Duration::from_secs_f64(waiting as f64 * self.pace / self.instances as f64);
        let too_long = waiting >= ALWAYS_QUEUED && !max_queue_wait.is_zero() && expected > max_queue_wait;
        too_long.then(|| {
            let expected = Duration::from_millis(u64::try_from(expected.as_millis()).unwrap_or(u64::MAX));
            format!(
                "the model is overloaded: {waiting} requests wait, for which it takes about {expected:?} \
                 (at most {max_queue_wait:?}, max_queue_wait_milliseconds); retry later"
            )
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batching::testing::request;

    fn entry() -> Entry {
        // Nobody listens, which only matters once the queue is full.
        let (reply, _nobody) = oneshot::channel();
        let request = request(1, &[1.0]);
        Entry { request, key: None, reply, queued_at: Instant::now(), deadline: None, ticket: None, begun: false }
    }

    /// Says why a queue of so many refuses one more, after a run of one request took `pace`.
    fn refusal(waiting: usize, pace: Duration, max_queue_wait: Duration, instances: usize) -> Option<String> {
        let mut queue = RequestQueue::new(QueueLimits { max_queue_size: 1024, max_queue_wait }, instances);
        queue.note_run(1, pace);
        queue.entries.extend((0..waiting).map(|_| entry()));
        queue.refusal()
    }

    #[test]
    fn the_wait_is_bounded_but_some_may_always_wait() {
        let (pace, half_second) = (Duration::from_millis(5), Duration::from_millis(500));
        let reason = refusal(ALWAYS_QUEUED, pace, half_second, 1).unwrap();
        let expected = "the model is overloaded: 128 requests wait, for which it takes about 640ms \
                        (at most 500ms, max_queue_wait_milliseconds); retry later";
        assert_eq!(reason, expected);
        assert_eq!(refusal(ALWAYS_QUEUED - 1, pace, half_second, 1), None);
        assert_eq!(refusal(ALWAYS_QUEUED, pace, half_second, 2), None);
        assert_eq!(refusal(ALWAYS_QUEUED, pace, Duration::ZERO, 1), None);
        assert!(refusal(1024, pace, Duration::ZERO, 1).unwrap().contains("queue is full"));
    }

    #[test]
    fn the_pace_follows_the_runs() {
        let mut queue = RequestQueue::new(QueueLimits { max_queue_size: 1, max_queue_wait: Duration::ZERO }, 1);
        queue.note_run(4, Duration::from_millis(40));
        assert!((queue.pace - 0.010).abs() < 1e-9);
        (0..100).for_each(|_| queue.note_run(1, Duration::from_millis(2)));
        assert!((queue.pace - 0.002).abs() < 1e-4);
    }
}
