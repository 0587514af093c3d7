//! Ends runs that last longer than they may, from a thread of its own.
//!
//! Event loops keep the deadlines of requests, as long as they turn. A run in the inline lane holds its event loop, and
//! some models run for as long as their inputs say. This thread is held by no run, so it can end any of them.
//!
//! A run costs two atomic writes: its end time when it begins, and zero when it is over. The thread looks at all sessions
//! every 50 ms, and earlier if a run that it knows of must end earlier.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    engine::{Session, Terminate},
    error::{Error, Result},
};

/// The longest that the thread does not look. A run that begins in between ends late by as much at most.
const TICK: Duration = Duration::from_millis(50);
/// The shortest that the thread does not look.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// [`Watch::state`]: no run is on. Any value between these is the moment at which the run that is on must end, in
/// nanoseconds since [`Watch::epoch`].
const IDLE: u64 = 0;
/// [`Watch::state`]: the thread is about to terminate the run.
const ENDING: u64 = u64::MAX - 1;
/// [`Watch::state`]: the thread has terminated the run.
const ENDED: u64 = u64::MAX;

/// The thread that ends runs; it starts with the first session. Dropping this joins it.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    epoch: Instant,
    // Held by the thread while it looks, and for an instant when a model is loaded.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watches: Vec<Weak<Watch>>,
    closed: bool,
}

/// A session whose runs are watched.
pub struct WatchedSession {
    pub session: Box<dyn Session>,
    watch: Arc<Watch>,
}

/// The run of one session, as the thread sees it.
#[derive(Debug)]
struct Watch {
    epoch: Instant,
    state: AtomicU64,
    terminate: Arc<dyn Terminate>,
}

impl Default for Watchdog {
    fn default() -> Self {
        let shared = Shared { epoch: Instant::now(), state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }
}

impl Watchdog {
    /// Watches the runs of a session.
    ///
    /// # Errors
    /// `Internal` if the system refuses a thread.
    pub fn watch(&self, session: Box<dyn Session>) -> Result<WatchedSession> {
        let terminate = session.terminator();
        let watch = Arc::new(Watch { epoch: self.shared.epoch, state: AtomicU64::new(IDLE), terminate });
        self.shared.lock().watches.push(Arc::downgrade(&watch));
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name("watchdog".to_owned());
            *thread = Some(builder.spawn(move || shared.look_until_closed()).map_err(Error::internal)?);
        }
        Ok(WatchedSession { session, watch })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A panic has been reported by the panic hook.
        let _panicked = thread.map(JoinHandle::join);
    }
}

impl WatchedSession {
    /// Calls `run` with the session. Terminates the run if it lasts longer than `until`. Returns the outcome and whether
    /// the run was terminated. `run` must not unwind.
    pub fn run_until<T>(&mut self, until: Option<Instant>, run: impl FnOnce(&mut dyn Session) -> T) -> (T, bool) {
        self.watch.begin(until);
        let outcome = run(&mut *self.session);
        (outcome, self.watch.end())
    }
}

impl Shared {
    fn look_until_closed(&self) {
        let mut state = self.lock();
        while !state.closed {
            let now = nanoseconds(self.epoch, Instant::now());
            let mut pause = TICK;
            state.watches.retain(|watch| match watch.upgrade() {
                Some(watch) => {
                    if let Some(until) = watch.look(now) {
                        pause = pause.min(Duration::from_nanos(until.saturating_sub(now)));
                    }
                    true
                }
                None => false,
            });
            state = self.changed.wait_timeout(state, pause.max(MIN_PAUSE)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    fn begin(&self, until: Option<Instant>) {
        if let Some(until) = until {
            let until = nanoseconds(self.epoch, until).clamp(IDLE + 1, ENDING - 1);
            self.state.store(until, Ordering::Release);
        }
    }

    /// Says that the run is over. Returns whether the thread terminated it. Then later runs go through again.
    fn end(&self) -> bool {
        let state = self.state.load(Ordering::Acquire);
        let over = |state| self.state.compare_exchange(state, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if state < ENDING && over(state) {
            return false;
        }
        // The thread needs a moment between the two.
        while self.state.load(Ordering::Acquire) == ENDING {
            thread::yield_now();
        }
        self.terminate.reset();
        self.state.store(IDLE, Ordering::Release);
        true
    }

    /// Terminates the run that is on if it must end `now`. Returns when it must end otherwise.
    ///
    /// A run that is over by now is not hit, and neither is the next one: the exchange succeeds only for a run that has
    /// had its time.
    fn look(&self, now: u64) -> Option<u64> {
        let until = self.state.load(Ordering::Acquire);
        if until == IDLE || until >= ENDING {
            return None;
        }
        if until > now {
            return Some(until);
        }
        if self.state.compare_exchange(until, ENDING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.terminate.terminate();
            self.state.store(ENDED, Ordering::Release);
        }
        None
    }
}

#[expect(clippy::cast_possible_truncation, reason = "2^64 nanoseconds are 584 years")]
fn nanoseconds(epoch: Instant, at: Instant) -> u64 {
    at.saturating_duration_since(epoch).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, Default)]
    struct Count {
        terminated: AtomicUsize,
        reset: AtomicUsize,
    }

    impl Terminate for Count {
        fn terminate(&self) {
            self.terminated.fetch_add(1, Ordering::Relaxed);
        }

        fn reset(&self) {
            self.reset.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn watch() -> (Watch, Arc<Count>) {
        let count = Arc::new(Count::default());
        let terminate = Arc::clone(&count) as Arc<dyn Terminate>;
        (Watch { epoch: Instant::now(), state: AtomicU64::new(IDLE), terminate }, count)
    }

    fn counts(count: &Count) -> (usize, usize) {
        (count.terminated.load(Ordering::Relaxed), count.reset.load(Ordering::Relaxed))
    }

    #[test]
    fn a_run_is_terminated_once_when_its_time_is_over() {
        let (watch, count) = watch();
        watch.begin(Some(watch.epoch + Duration::from_secs(1)));
        assert_eq!(watch.look(999_999_999), Some(1_000_000_000));
        assert_eq!(watch.look(1_000_000_000), None);
        assert_eq!(watch.look(2_000_000_000), None);
        assert_eq!(counts(&count), (1, 0));
        assert!(watch.end());
        assert_eq!(counts(&count), (1, 1));
    }

    #[test]
    fn a_run_that_is_over_is_not_terminated_nor_is_the_next() {
        let (watch, count) = watch();
        watch.begin(Some(watch.epoch));
        assert!(!watch.end());
        assert_eq!(watch.look(1), None);
        watch.begin(Some(watch.epoch + Duration::from_secs(1)));
        assert_eq!(watch.look(1), Some(1_000_000_000));
        assert!(!watch.end());
        assert_eq!(counts(&count), (0, 0));
    }

    #[test]
    fn a_run_without_a_bound_is_left_alone() {
        let (watch, count) = watch();
        watch.begin(None);
        assert_eq!(watch.look(u64::MAX - 2), None);
        assert!(!watch.end());
        assert_eq!(counts(&count), (0, 0));
    }
}
