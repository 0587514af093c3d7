//! The way to a model's sessions, whichever of the two lanes it is.

use std::{borrow::Cow, collections::VecDeque, fmt, sync::Arc, time::Instant};

use futures_util::future::{Either, try_join_all};
use tokio::sync::oneshot;

use crate::{
    batching::{
        batch::{join, split},
        inline::InlineLane,
        policy::Limits,
        queue::{Entry, QueueLimits},
        run::{Hold, Runner},
        watchdog::Watchdog,
        worker::WorkerLane,
    },
    engine::Session,
    error::{Error, ErrorKind, Result},
    metrics::ModelMetrics,
    request::{InferResponse, ValidRequest},
};

/// Which lane a model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneKind {
    Inline,
    /// On threads of its own.
    Worker,
}

impl LaneKind {
    /// Returns the word for this lane, as in model.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Worker => "worker",
        }
    }
}

/// How a lane runs requests.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    pub kind: LaneKind,
    /// Whether requests may be stacked and split.
    pub batched: bool,
    /// What goes into one run.
    pub limits: Limits,
    /// How many requests may wait, and for how long.
    pub queue: QueueLimits,
    /// In the inline lane: how long a run may hold the event loop.
    pub hold: Option<Hold>,
}

/// The way to a model's sessions.
pub struct Lane {
    way: Way,
    settings: LaneSettings,
    instances: usize,
}

#[expect(clippy::large_enum_variant, reason = "there is one for each model, and the larger one is the faster lane's")]
enum Way {
    Inline(InlineLane),
    Worker(WorkerLane),
}

impl Lane {
    /// Takes the sessions; the worker lane starts a thread for each, named after the model.
    ///
    /// # Errors
    /// `Internal` where the system gives no thread.
    pub fn start(
        model: &str,
        sessions: Vec<Box<dyn Session>>,
        settings: LaneSettings,
        metrics: Arc<ModelMetrics>,
        watchdog: &Watchdog,
    ) -> Result<Self> {
        let LaneSettings { kind, limits, queue, hold, .. } = settings;
        let (instances, runner) = (sessions.len(), Runner::new(&sessions, metrics, hold));
        let sessions = sessions.into_iter().map(|session| watchdog.watch(session)).collect::<Result<Vec<_>>>()?;
        let way = match kind {
            LaneKind::Inline => Way::Inline(InlineLane::new(sessions, queue, limits, runner)),
            LaneKind::Worker => Way::Worker(WorkerLane::start(model, sessions, queue, limits, runner)?),
        };
        Ok(Self { way, settings, instances })
    }

    /// Queues a request at once, and waits for its answer when polled; one of more rows than a batch takes is split and put
    /// together again. Dropping the future cancels the request.
    ///
    /// # Errors
    /// `Overloaded` at once where the queue is full or the wait too long; otherwise what the run gave.
    pub fn run(
        &self,
        request: ValidRequest,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<InferResponse>> + Send {
        let max_rows = self.settings.limits.max_batch_rows;
        match !self.settings.batched || request.rows() <= max_rows || request.batch_key().is_none() {
            true => Either::Left(self.run_whole(request, deadline, false)),
            false => Either::Right(Box::pin(self.run_in_parts(request, deadline, max_rows))),
        }
    }

    async fn run_in_parts(
        &self,
        request: ValidRequest,
        deadline: Option<Instant>,
        max_rows: usize,
    ) -> Result<InferResponse> {
        let mut parts = VecDeque::from(split(&request, max_rows)?);
        let mut answers = Vec::with_capacity(parts.len());
        // Few at a time, so that one large request neither fills the queue nor keeps the others from their turns.
        let at_once = self.instances.min(self.settings.queue.max_queue_size);
        while !parts.is_empty() {
            let begun = !answers.is_empty();
            let window = parts.drain(..parts.len().min(at_once)).map(|part| self.run_whole(part, deadline, begun));
            answers.extend(try_join_all(window).await.map_err(|error| too_many_rows(error, begun))?);
        }
        join(&answers)
    }

    /// Returns why the model does not run now, if it does not.
    pub fn failure(&self) -> Option<Cow<'_, str>> {
        match &self.way {
            Way::Inline(lane) => lane.runner().failure(),
            Way::Worker(lane) => lane.runner().failure(),
        }
    }

    /// Returns how requests are run.
    pub fn settings(&self) -> LaneSettings {
        self.settings
    }

    /// Queues the request before the future is first polled, so that it goes straight into the queue and is not moved
    /// through the futures around this one.
    fn run_whole(
        &self,
        request: ValidRequest,
        deadline: Option<Instant>,
        begun: bool,
    ) -> impl Future<Output = Result<InferResponse>> + Send {
        let (reply, answer) = oneshot::channel();
        let key = if self.settings.batched { request.batch_key() } else { None };
        let entry = Entry { request, key, reply, queued_at: Instant::now(), deadline, ticket: None, begun };
        match &self.way {
            Way::Inline(lane) => Either::Left(lane.run(entry, answer)),
            Way::Worker(lane) => Either::Right(lane.run(entry, answer)),
        }
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Parts that have begun are refused only memory, and the answers to the parts before hold it: waiting does not help.
fn too_many_rows(error: Error, begun: bool) -> Error {
    match error.kind() {
        ErrorKind::Overloaded if begun => {
            Error::new(ErrorKind::PayloadTooLarge, format!("{}: send the rows in several requests", error.message()))
        }
        _ => error,
    }
}
