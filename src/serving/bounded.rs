//! Runs at load, each with an end: a model may loop for ever, and no client is there yet to give up on it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    engine::{Session, Terminate},
    error::{Error, Result},
    model::signature::Signature,
    request::Tensors,
    tensor::tensor::Tensor,
};

/// Lets `work` run a session, and terminates a run that takes longer than `longest`, if not at once then before it takes twice
/// as long. After that the session runs no more, and the result is an error.
///
/// # Errors
/// `InvalidArgument` where a run took too long; `Internal` where the system gives no thread.
pub(super) fn with_bounded_runs<T>(
    session: &mut dyn Session,
    longest: Duration,
    work: impl FnOnce(&mut dyn Session) -> T,
) -> Result<T> {
    let watch = Watch::default();
    let terminate = session.terminator();
    let outcome = thread::scope(|scope| -> Result<T> {
        let watching = || watch.until_closed(longest, &*terminate);
        thread::Builder::new().name("load-watch".to_owned()).spawn_scoped(scope, watching).map_err(Error::internal)?;
        // Closes also where the work panics, or the scope would wait for ever.
        let _closing = Closing(&watch);
        Ok(work(&mut Bounded { session, watch: &watch }))
    })?;
    terminate.reset();
    match watch.lock().is_late {
        false => Ok(outcome),
        true => Err(Error::invalid(format!(
            "a run on made-up inputs took longer than {longest:?} (--request-timeout), so that no request could be answered"
        ))),
    }
}

#[derive(Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    run_began: Option<Instant>,
    is_late: bool,
    is_closed: bool,
}

impl Watch {
    fn until_closed(&self, longest: Duration, terminate: &dyn Terminate) {
        let mut state = self.lock();
        while !state.is_closed {
            let waited = self.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if !state.is_late && state.run_began.is_some_and(|began| began.elapsed() >= longest) {
                state.is_late = true;
                terminate.terminate();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Closing<'a>(&'a Watch);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// A session whose runs are watched.
struct Bounded<'a> {
    session: &'a mut dyn Session,
    watch: &'a Watch,
}

impl Session for Bounded<'_> {
    fn signature(&self) -> &Signature {
        self.session.signature()
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        {
            let mut state = self.watch.lock();
            if state.is_late {
                return Err(Error::invalid("a run before took too long"));
            }
            state.run_began = Some(Instant::now());
        }
        let outcome = self.session.run(inputs);
        self.watch.lock().run_began = None;
        outcome
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        self.session.terminator()
    }
}
