//! The worker lane: each instance is a thread that owns one session and takes one request at a time.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::{Builder, JoinHandle},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    batching::queue::{Entry, RequestQueue},
    engine::Session,
    error::{Error, Result},
    metrics::ModelMetrics,
    request::{InferResponse, ValidRequest},
};

/// The way to a model's sessions. Dropping it waits for the requests that are queued.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queue: RequestQueue,
    metrics: Arc<ModelMetrics>,
    failure: OnceLock<String>,
}

impl Lane {
    /// Starts one thread per session, named after the model.
    ///
    /// # Errors
    /// `Internal` where the system gives no thread.
    pub fn start(
        model: &str,
        sessions: Vec<Box<dyn Session>>,
        max_queue_size: usize,
        metrics: Arc<ModelMetrics>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared { queue: RequestQueue::new(max_queue_size), metrics, failure: OnceLock::new() });
        let lane = Self { shared: Arc::clone(&shared), workers: Mutex::default() };
        for session in sessions {
            let shared = Arc::clone(&shared);
            let worker = Builder::new().name(format!("model-{model}")).spawn(move || shared.work(session));
            lane.lock_workers().push(worker.map_err(Error::internal)?);
        }
        Ok(lane)
    }

    /// Queues a request and waits for its answer. Dropping the future cancels the request unless it is running.
    ///
    /// # Errors
    /// `Overloaded` at once where the queue is full; otherwise what the run gave.
    pub async fn run(&self, request: ValidRequest) -> Result<InferResponse> {
        let (reply, answer) = oneshot::channel();
        let metrics = &self.shared.metrics;
        metrics.queue_depth.inc();
        let pushed = self.shared.queue.push(Entry { request, reply, queued_at: Instant::now() });
        pushed.inspect_err(|_| metrics.queue_depth.dec())?;
        answer.await.unwrap_or_else(|_| Err(Error::internal("a worker dropped a reply")))
    }

    /// Returns why the model can no longer be trusted, if a run of it panicked.
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    fn lock_workers(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.queue.close();
        for worker in self.lock_workers().drain(..) {
            // A panic outside a run has been reported by the panic hook; there is nothing left to do for it here.
            let _panicked = worker.join();
        }
    }
}

impl Shared {
    fn work(&self, mut session: Box<dyn Session>) {
        while let Some(entry) = self.queue.take() {
            self.metrics.queue_depth.dec();
            self.metrics.queue.observe(entry.queued_at.elapsed().as_secs_f64());
            if entry.reply.is_closed() {
                // The client left or its time ran out.
                self.metrics.cancelled.inc();
                continue;
            }
            let result = self.run(&mut *session, &entry.request);
            // A closed reply is no failure here either: whoever asked is gone.
            let _gone = entry.reply.send(result);
        }
    }

    fn run(&self, session: &mut dyn Session, request: &ValidRequest) -> Result<InferResponse> {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| session.run(request.inputs())));
        self.metrics.compute.observe(started.elapsed().as_secs_f64());
        self.metrics.batch_rows.observe(request.rows() as f64);
        match outcome {
            Ok(outputs) => Ok(InferResponse { outputs: outputs? }),
            Err(panic) => {
                // Clients read why a model has failed; what the panic said is for the log.
                let _already = self.failure.set("a run panicked; the log has the cause".to_owned());
                Err(Error::internal(format!("a run panicked: {}", panic_message(&*panic))))
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
