//! Ending a run that nobody waits for any more.
//!
//! A request's ticket knows the run that the request is in. When the last of a run's requests is given up, the run is
//! terminated, from the moment that the request is in it: the session may not have begun. A session's next run is not hit
//! by what was meant for the one before: nobody can terminate a run that is finished, and a new one begins afresh.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::Terminate;

/// A request's side: held by its entry, and by whoever waits for its answer.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<Mutex<Standing>>);

#[derive(Debug, Default)]
struct Standing {
    given_up: bool,
    run: Option<Run>,
}

/// A run's side: counts who waits for it.
#[derive(Clone, Debug)]
pub struct Run(Arc<Mutex<Progress>>);

#[derive(Debug)]
struct Progress {
    waiters: usize,
    terminate: Option<Arc<dyn Terminate>>,
}

impl Ticket {
    /// Says that nobody waits for this request any more; terminates its run if it was the last that did.
    pub fn give_up(&self) {
        let mut standing = lock(&self.0);
        standing.given_up = true;
        if let Some(run) = standing.run.take() {
            run.leave();
        }
    }

    /// Puts the request into a run; false if it has been given up.
    pub fn enter(&self, run: &Run) -> bool {
        let mut standing = lock(&self.0);
        if !standing.given_up {
            lock(&run.0).waiters += 1;
            standing.run = Some(run.clone());
        }
        !standing.given_up
    }
}

impl Run {
    /// Makes a run that `terminate` ends; the one before it on the same session is finished.
    pub fn new(terminate: Arc<dyn Terminate>) -> Self {
        terminate.reset();
        Self(Arc::new(Mutex::new(Progress { waiters: 0, terminate: Some(terminate) })))
    }

    /// Says that the run is over: nothing terminates it any more.
    pub fn finish(&self) {
        lock(&self.0).terminate = None;
    }

    fn leave(&self) {
        let mut progress = lock(&self.0);
        progress.waiters = progress.waiters.saturating_sub(1);
        // Under the lock, so that the run cannot end in between.
        if let (0, Some(terminate)) = (progress.waiters, &progress.terminate) {
            terminate.terminate();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicUsize);

    impl Terminate for Count {
        fn terminate(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn reset(&self) {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    fn run() -> (Run, Arc<Count>) {
        let count = Arc::new(Count::default());
        (Run::new(Arc::clone(&count) as _), count)
    }

    #[test]
    fn run_is_terminated_when_the_last_gives_up() {
        let ((run, count), first, second) = (run(), Ticket::default(), Ticket::default());
        assert!(first.enter(&run) && second.enter(&run));
        first.give_up();
        // Giving up twice counts once.
        first.give_up();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        second.give_up();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn run_that_is_over_is_not_terminated() {
        let ((run, count), ticket) = (run(), Ticket::default());
        assert!(ticket.enter(&run));
        run.finish();
        ticket.give_up();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn run_begins_afresh_after_one_that_was_terminated() {
        let ((run, count), ticket) = (run(), Ticket::default());
        assert!(ticket.enter(&run));
        ticket.give_up();
        run.finish();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        let _next = Run::new(Arc::clone(&count) as _);
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn request_that_is_given_up_enters_no_run() {
        let ((run, count), ticket) = (run(), Ticket::default());
        ticket.give_up();
        assert!(!ticket.enter(&run));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn request_that_is_run_again_leaves_the_run_that_it_is_in_now() {
        let ((before, count_before), (now, count_now), ticket) = (run(), run(), Ticket::default());
        assert!(ticket.enter(&before));
        before.finish();
        assert!(ticket.enter(&now));
        ticket.give_up();
        assert_eq!((count_before.0.load(Ordering::Relaxed), count_now.0.load(Ordering::Relaxed)), (0, 1));
    }
}
