//! Frees models that no catalog lists any more.
//!
//! The last reference to a model frees a session and may wait for its threads, which an event loop must not. The reaper
//! holds a reference of its own until it is the last one.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use crate::serving::served_model::ServedModel;

/// How often the reaper looks whether the requests of a retired model have ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Holds retired models until their last request has ended. Dropping it ends its thread.
#[derive(Default)]
pub(super) struct Reaper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    retired: Vec<Arc<ServedModel>>,
    closed: bool,
}

impl Reaper {
    /// Takes models over. The first call that has any starts the thread.
    pub(super) fn retire(&mut self, models: Vec<Arc<ServedModel>>) {
        if models.is_empty() {
            return;
        }
        self.shared.lock().retired.extend(models);
        self.shared.changed.notify_one();
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            // Without a thread, the models stay until the process ends.
            self.thread = Builder::new().name("reaper".to_owned()).spawn(move || shared.reap()).ok();
        }
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    fn reap(&self) {
        let mut state = self.lock();
        while !state.closed {
            let unused: Vec<_> = state.retired.extract_if(.., |model| Arc::strong_count(model) == 1).collect();
            if !unused.is_empty() {
                drop(state);
                drop(unused);
                state = self.lock();
                continue;
            }
            state = if state.retired.is_empty() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(state, LOOK_EVERY);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reaper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reaper").finish_non_exhaustive()
    }
}
