//! What Triton's clients ask of a model that no histogram tells: failures, when it was last asked, runs by their size.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The most sizes of runs that are told apart; runs of further sizes are not counted by size.
const MAX_RUN_SIZES: usize = 256;

/// Counts what histograms do not.
#[derive(Debug, Default)]
pub struct Statistics {
    failures: AtomicU64,
    failure_nanoseconds: AtomicU64,
    last_request_milliseconds: AtomicU64,
    compute_nanoseconds: AtomicU64,
    // Held for a few instructions, once a run and at a reading.
    runs: Mutex<BTreeMap<usize, Total>>,
}

/// How often something was done, and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    pub count: u64,
    /// How long in all, in nanoseconds.
    pub nanoseconds: u64,
}

impl Statistics {
    /// Counts a request that ended now.
    pub fn count_request(&self, taken: Duration, failed: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_request_milliseconds.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.failure_nanoseconds.fetch_add(nanoseconds(taken), Ordering::Relaxed);
        }
    }

    /// Counts a run of so many rows, which were those of so many requests.
    pub fn count_run(&self, rows: usize, requests: usize, taken: Duration) {
        self.compute_nanoseconds.fetch_add(nanoseconds(taken).saturating_mul(requests as u64), Ordering::Relaxed);
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() < MAX_RUN_SIZES || runs.contains_key(&rows) {
            let total = runs.entry(rows).or_default();
            total.count += 1;
            total.nanoseconds = total.nanoseconds.saturating_add(nanoseconds(taken));
        }
    }

    /// Returns the requests that failed, with all their time.
    pub fn failures(&self) -> Total {
        Total {
            count: self.failures.load(Ordering::Relaxed),
            nanoseconds: self.failure_nanoseconds.load(Ordering::Relaxed),
        }
    }

    /// Returns how long requests were run in all: a run counts once for each request in it.
    pub fn compute_nanoseconds(&self) -> u64 {
        self.compute_nanoseconds.load(Ordering::Relaxed)
    }

    /// Returns when the last request ended, in milliseconds since 1970; 0 where there was none.
    pub fn last_request_milliseconds(&self) -> u64 {
        self.last_request_milliseconds.load(Ordering::Relaxed)
    }

    /// Returns the runs by the number of their rows, ascending.
    pub fn runs(&self) -> Vec<(usize, Total)> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(rows, total)| (*rows, *total)).collect()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_their_size_up_to_a_limit() {
        let statistics = Statistics::default();
        for rows in (0..MAX_RUN_SIZES + 9).chain([7]) {
            statistics.count_run(rows, 2, Duration::from_nanos(3));
        }
        let runs = statistics.runs();
        assert_eq!(runs.len(), MAX_RUN_SIZES);
        assert_eq!(runs[7], (7, Total { count: 2, nanoseconds: 6 }));
        assert_eq!(statistics.compute_nanoseconds(), 6 * (MAX_RUN_SIZES as u64 + 10));
    }

    #[test]
    fn only_failures_add_to_the_failures() {
        let statistics = Statistics::default();
        assert_eq!(statistics.last_request_milliseconds(), 0);
        statistics.count_request(Duration::from_nanos(5), false);
        statistics.count_request(Duration::from_nanos(7), true);
        assert_eq!(statistics.failures(), Total { count: 1, nanoseconds: 7 });
        assert!(statistics.last_request_milliseconds() > 0);
    }
}
