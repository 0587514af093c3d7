//! Keeps one child running: starts it, forwards its log, reaps it, and starts it again.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::Ordering,
        mpsc::{self, SyncSender},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    engine::{
        Isolation, Outage, Terminate,
        isolation::{
            log::LogThread,
            process::{Process, Started},
            segment::Segment,
            wire::{self, Frame, Load, Places, Receiver},
        },
    },
    error::{Error, ErrorKind, Result},
    model::signature::Signature,
};

/// How long a model is down after a crash; twice as long after each further one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// After a child that lived so long, the delays begin anew.
const STABLE: Duration = Duration::from_secs(10);
/// How long a child may take to end by itself, or to end a run that was terminated; then it is killed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a supervisor starts, again and again.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) program: PathBuf,
    pub(super) library: PathBuf,
    pub(super) isolation: Isolation,
    pub(super) load: Load,
}

/// The thread that keeps a child running. Dropping it ends both.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the supervisor shares with the thread that runs the model and with those that terminate its runs.
#[derive(Debug)]
pub(super) struct Shared {
    // Held for a few instructions, and while a frame is sent; the child's socket has room for it.
    state: Mutex<State>,
    changed: Condvar,
    task: Task,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The child that is there, whether it has loaded the model or not.
    process: Option<Arc<Process>>,
    /// Why the last child ended.
    last_end: String,
    /// Whether a run is on.
    running: bool,
    /// Since when runs are to be terminated.
    terminated: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    /// The child has loaded the model; its link is here until the session takes it.
    Up(Option<Link>),
    /// No child can run the model, for this reason.
    Down(String),
    Closed,
}

/// What the runs of one child go through.
pub(super) struct Link {
    pub(super) process: Arc<Process>,
    pub(super) receiver: Receiver,
    pub(super) segment: Segment,
}

/// A child and the thread that forwards its log.
struct Child {
    process: Arc<Process>,
    log: LogThread,
}

impl Supervisor {
    /// Starts the thread and waits until its first child has loaded the model.
    ///
    /// # Errors
    /// `InvalidArgument` where the child cannot load the model; `Internal` where there is no child.
    pub(super) fn start(task: Task) -> Result<(Self, Signature)> {
        let state = State {
            phase: Phase::Down("its process is loading".to_owned()),
            process: None,
            last_end: String::new(),
            running: false,
            terminated: None,
        };
        let name = format!("isolate-{}", task.isolation.model);
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), task });
        let (loaded, first_load) = mpsc::sync_channel(1);
        let supervise = {
            let shared = Arc::clone(&shared);
            move || shared.supervise(&loaded)
        };
        let thread = Some(Builder::new().name(name).spawn(supervise).map_err(Error::internal)?);
        let supervisor = Self { shared, thread };
        let signature = first_load.recv().map_err(Error::internal)??;
        Ok((supervisor, signature))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.phase = Phase::Closed;
        self.shared.changed.notify_all();
        if let Some(process) = state.process.clone() {
            process.hang_up();
            let is_there = |state: &mut State| state.process.is_some();
            let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, is_there);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.process.is_some() {
                process.kill();
            }
        } else {
            drop(state);
        }
        if let Some(thread) = self.thread.take() {
            // The hook has reported a panic.
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    /// Starts children until the supervisor is dropped, or until the first of them cannot load the model.
    fn supervise(&self, first_load: &SyncSender<Result<Signature>>) {
        let mut outcome = match self.begin() {
            Ok((child, signature)) => {
                let _waits = first_load.try_send(Ok(signature));
                Ok(child)
            }
            Err(error) => {
                let _waits = first_load.try_send(Err(error));
                return;
            }
        };
        let mut delay = FIRST_DELAY;
        loop {
            let since = Instant::now();
            match outcome {
                Ok(child) => self.wait_for_end(child),
                Err(error) => self.put_down(format!("its process cannot load it again: {error}")),
            }
            if since.elapsed() >= STABLE {
                delay = FIRST_DELAY;
            }
            if !self.pause(delay) {
                return;
            }
            delay = (delay * 2).min(LONGEST_DELAY);
            tracing::info!(model = %self.task.isolation.model, "restarting the process of model {}", self.task.isolation.model);
            self.task.isolation.restarts.fetch_add(1, Ordering::Relaxed);
            outcome = self.begin().map(|(child, _)| child);
        }
    }

    /// Starts a child and waits until it has loaded the model.
    fn begin(&self) -> Result<(Child, Signature)> {
        let Task { program, library, isolation, load } = &self.task;
        let Started { process, mut receiver, segment, log } =
            Process::start(program, library, &isolation.model).map_err(Error::internal)?;
        let process = Arc::new(process);
        let child = Child { process: Arc::clone(&process), log: LogThread::start(log, isolation.model.clone())? };
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed) {
            process.hang_up();
        }
        state.process = Some(Arc::clone(&process));
        drop(state);
        let sent = process.send(Frame::Load(load.clone()));
        match sent.and_then(|()| receiver.receive(|| {})) {
            Ok(Frame::Loaded(loaded)) => {
                let signature = match loaded.into_signature() {
                    Ok(signature) => signature,
                    Err(error) => {
                        process.hang_up();
                        self.reap(child);
                        return Err(error);
                    }
                };
                tracing::debug!(model = %isolation.model, "process {} has loaded model {}", process.id(), isolation.model);
                self.set_phase(Phase::Up(Some(Link { process, receiver, segment })));
                Ok((child, signature))
            }
            Ok(Frame::Failed(failure)) => {
                process.hang_up();
                self.reap(child);
                Err(failure.into_error())
            }
            Ok(_) | Err(_) => {
                process.hang_up();
                let end = self.reap(child);
                Err(Error::invalid(format!("its process ended while it loaded the model ({end})")))
            }
        }
    }

    fn wait_for_end(&self, child: Child) {
        let (id, model) = (child.process.id(), &self.task.isolation.model);
        let end = self.reap(child);
        if !matches!(self.lock().phase, Phase::Closed) {
            tracing::error!(model = %model, "process {id} of model {model} ended ({end})");
        }
    }

    /// Waits until a child has ended, takes it down, and returns how it ended.
    fn reap(&self, child: Child) -> String {
        let end = match child.process.wait() {
            Ok(end) => end.to_string(),
            Err(error) => error.to_string(),
        };
        // Its last words come before the news of its end.
        child.log.finish();
        let mut state = self.lock();
        state.process = None;
        state.last_end.clone_from(&end);
        drop(state);
        self.put_down(format!("its process ended ({end}) and is restarted"));
        end
    }

    fn put_down(&self, reason: String) {
        self.set_phase(Phase::Down(reason));
    }

    fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Closed) {
            state.phase = phase;
        }
        self.changed.notify_all();
    }

    /// Waits before the next start; false once the supervisor is dropped.
    fn pause(&self, delay: Duration) -> bool {
        let is_open = |state: &mut State| !matches!(state.phase, Phase::Closed);
        let waited = self.changed.wait_timeout_while(self.lock(), delay, is_open);
        matches!(waited.unwrap_or_else(PoisonError::into_inner).0.phase, Phase::Up(_) | Phase::Down(_))
    }

    /// Hands a child's link to the session, once.
    ///
    /// # Errors
    /// `Unavailable` while no child can run the model.
    pub(super) fn take_link(&self) -> Result<Option<Link>> {
        match &mut self.lock().phase {
            Phase::Up(link) => Ok(link.take()),
            Phase::Down(reason) => Err(Error::unavailable(format!("the model has failed: {reason}"))),
            Phase::Closed => Err(Error::unavailable("the model is gone")),
        }
    }

    /// Sends inputs to the child, unless runs are to be terminated.
    ///
    /// # Errors
    /// `Internal` where they are; `Crashed` where the child is gone.
    pub(super) fn begin_run(&self, process: &Process, inputs: Places) -> Result<()> {
        let mut state = self.lock();
        if state.terminated.is_some() {
            return Err(Error::internal("the run was terminated before it began"));
        }
        state.running = true;
        // With the lock, so that a terminate that follows comes after it.
        let sent = process.send(Frame::Run(inputs));
        drop(state);
        sent.map_err(|_| self.crashed(process))
    }

    pub(super) fn end_run(&self) {
        self.lock().running = false;
    }

    /// Kills a child that goes on with a run long after it was to end it.
    pub(super) fn kill_if_stuck(&self, process: &Process) {
        if self.lock().terminated.is_some_and(|since| since.elapsed() > PATIENCE) {
            process.kill();
        }
    }

    /// Ends a child that does not answer as it must, and returns the error of the requests that were in its run.
    pub(super) fn crashed(&self, process: &Process) -> Error {
        process.hang_up();
        let is_there = |state: &mut State| state.process.as_ref().is_some_and(|there| there.id() == process.id());
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, is_there);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_there(&mut state) {
            process.kill();
            let waited = self.changed.wait_timeout_while(state, PATIENCE, is_there);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let end = &state.last_end;
        Error::new(ErrorKind::Crashed, format!("the model's process ended ({end}); onnxd restarts it"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminate for Shared {
    fn terminate(&self) {
        let mut state = self.lock();
        state.terminated.get_or_insert_with(Instant::now);
        if let (true, Some(process)) = (state.running, &state.process) {
            // A child that is gone runs nothing.
            let _gone = process.send(Frame::Terminate(wire::Terminate {}));
        }
    }

    fn reset(&self) {
        self.lock().terminated = None;
    }
}

impl Outage for Shared {
    fn reason(&self) -> Option<String> {
        match &self.lock().phase {
            Phase::Up(_) => None,
            Phase::Down(reason) => Some(reason.clone()),
            Phase::Closed => Some("it is gone".to_owned()),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("process", &self.process).finish_non_exhaustive()
    }
}
