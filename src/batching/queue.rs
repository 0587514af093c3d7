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
    pub request: ValidRequest,
    /// What it can be stacked by.
    pub key: Option<BatchKey>,
    pub reply: oneshot::Sender<Reply>,
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
    Answer(Result<InferResponse>),
    /// That it is its turn to run what is queued, in the inline lane; what comes next comes here.
    YourTurn(oneshot::Receiver<Reply>),
}

/// How many requests may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// The most requests that wait.
    pub max_queue_size: usize,
    /// The longest wait that a new request may expect during an overload; zero bounds no wait.
    pub max_queue_wait: Duration,
}

/// A queue shorter than this is not taken for an overload, however slow the model is: so many clients that wait for each
/// answer before they send the next request queue no more.
pub const CALM_QUEUE: usize = 128;

/// An overload ends once no request has been refused for this long.
const OVERLOAD_MEMORY: Duration = Duration::from_secs(5);

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
    /// When the current overload last refused a request; `None` while the queue is calm.
    refused_at: Option<Instant>,
}

impl Entry {
    /// Tells whether nobody waits for the answer any more at `now`.
    pub fn is_dead(&self, now: Instant) -> bool {
        self.reply.is_closed() || self.deadline.is_some_and(|deadline| now >= deadline)
    }

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
        Self { entries: VecDeque::new(), limits, instances, pace: 0.0, refused_at: None }
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
    /// `Overloaded` if the queue is full, or if the request would wait too long during an overload.
    pub fn push(&mut self, entry: Entry) -> Result<usize> {
        let now = entry.queued_at;
        let mut buried = 0;
        if self.refusal(now).is_some() {
            // Dead requests must not keep others out.
            if self.entries.iter().any(|entry| entry.is_dead(now)) {
                let (dead, living): (VecDeque<_>, _) = self.entries.drain(..).partition(|entry| entry.is_dead(now));
                self.entries = living;
                buried = dead.len();
                dead.into_iter().for_each(Entry::bury);
            }
            if self.is_long() && self.is_too_slow() && !self.is_overloaded(now) {
                self.begin_overload(now);
            }
        }
        // A request that has begun queues few parts at a time, and the requests in flight have a limit of their own.
        match self.refusal(now) {
            Some(reason) if !entry.begun => {
                if self.is_overloaded(now) {
                    self.refused_at = Some(now);
                }
                Err(Error::new(ErrorKind::Overloaded, reason))
            }
            _ => {
                self.entries.push_back(entry);
                Ok(buried)
            }
        }
    }

    /// Refuses the oldest requests until the rest can run within the bound. The newest ones stay: their clients have waited
    /// least.
    fn begin_overload(&mut self, now: Instant) {
        self.refused_at = Some(now);
        let mut left = self.entries.len();
        let reason = self.too_slow(left);
        for entry in mem::take(&mut self.entries) {
            if entry.begun || !self.waits_too_long(left) {
                self.entries.push_back(entry);
            } else {
                left -= 1;
                entry.answer(Err(Error::new(ErrorKind::Overloaded, reason.clone())));
            }
        }
    }

    /// Returns why one more request may not wait; `None` if it may.
    ///
    /// The wait is bounded because an answer that comes after its client has given up is work for nobody. Without a bound, a
    /// server that gets more requests than it can run soon does nothing else. An overload shows by a queue that is both long
    /// and slow. It lasts until no more requests are refused, so that the queue does not grow long again in between.
    fn refusal(&self, now: Instant) -> Option<String> {
        let waiting = self.entries.len();
        if waiting >= self.limits.max_queue_size {
            return Some(format!("the model's queue is full: {waiting} requests wait; retry later"));
        }
        ((self.is_long() || self.is_overloaded(now)) && self.is_too_slow()).then(|| self.too_slow(waiting))
    }

    fn is_long(&self) -> bool {
        self.entries.len() >= CALM_QUEUE.min(self.limits.max_queue_size)
    }

    fn is_overloaded(&self, now: Instant) -> bool {
        self.refused_at.is_some_and(|refused| now.saturating_duration_since(refused) < OVERLOAD_MEMORY)
    }

    fn is_too_slow(&self) -> bool {
        self.waits_too_long(self.entries.len())
    }

    /// Tells whether a request behind `waiting` others would wait longer than the bound. One request for each session may
    /// always wait, so that no session runs out of work.
    fn waits_too_long(&self, waiting: usize) -> bool {
        let bound = self.limits.max_queue_wait;
        waiting >= self.instances && !bound.is_zero() && self.expected_wait(waiting) > bound
    }

    fn expected_wait(&self, waiting: usize) -> Duration {
        Duration::from_secs_f64(waiting as f64 * self.pace / self.instances.max(1) as f64)
    }

    fn too_slow(&self, waiting: usize) -> String {
        let expected = self.expected_wait(waiting);
        let expected = Duration::from_millis(u64::try_from(expected.as_millis()).unwrap_or(u64::MAX));
        let bound = self.limits.max_queue_wait;
        format!(
            "the model is overloaded: {waiting} requests wait, for which it takes about {expected:?} \
             (at most {bound:?}, max_queue_wait_milliseconds); retry later"
        )
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

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many requests wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Makes the answer where a reply was dropped, which is never left hanging.
pub(super) fn dropped_reply() -> Error {
    Error::internal("a lane dropped a reply")
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
        queue.refusal(Instant::now())
    }

    #[test]
    fn a_long_queue_is_refused_once_it_is_also_slow() {
        let (pace, half_second) = (Duration::from_millis(5), Duration::from_millis(500));
        let reason = refusal(CALM_QUEUE, pace, half_second, 1).unwrap();
        let expected = "the model is overloaded: 128 requests wait, for which it takes about 640ms \
                        (at most 500ms, max_queue_wait_milliseconds); retry later";
        assert_eq!(reason, expected);
        assert_eq!(refusal(CALM_QUEUE - 1, pace, half_second, 1), None);
        assert_eq!(refusal(CALM_QUEUE, pace, half_second, 2), None);
        assert_eq!(refusal(CALM_QUEUE, pace, Duration::ZERO, 1), None);
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
