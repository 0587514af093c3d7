//! How near a model is to its limit, from 0 to 1: what an autoscaler should look at.

use std::{
    sync::{Mutex, PoisonError, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

/// Over at least this much of the past the share of busy time is taken, however often it is asked for.
const WINDOW: Duration = Duration::from_secs(5);

/// Counts the time that a model's sessions are busy.
#[derive(Debug)]
pub struct Saturation {
    busy_nanoseconds: AtomicU64,
    instances: usize,
    max_queue_size: usize,
    // Held for a few instructions, at a scrape.
    marks: Mutex<[Mark; 2]>,
}

/// The count at a moment.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    busy_nanoseconds: u64,
}

impl Saturation {
    /// Begins to count for a model with so many instances and places in its queue.
    pub fn new(instances: usize, max_queue_size: usize) -> Self {
        let mark = Mark { at: Instant::now(), busy_nanoseconds: 0 };
        Self { busy_nanoseconds: AtomicU64::new(0), instances, max_queue_size, marks: Mutex::new([mark; 2]) }
    }

    /// Adds the time that a run took.
    pub fn add(&self, busy: Duration) {
        let nanoseconds = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns the larger of two shares: of the last seconds in which the instances were busy, and of the queue that is
    /// taken by `queue_depth` requests.
    pub fn read(&self, queue_depth: i64, now: Instant) -> f64 {
        let busy_nanoseconds = self.busy_nanoseconds.load(Ordering::Relaxed);
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let [older, newer] = *marks;
        if now.saturating_duration_since(newer.at) >= WINDOW {
            *marks = [newer, Mark { at: now, busy_nanoseconds }];
        }
        let wall = now.saturating_duration_since(older.at).as_secs_f64() * self.instances as f64;
        let busy = Duration::from_nanos(busy_nanoseconds.saturating_sub(older.busy_nanoseconds)).as_secs_f64();
        let utilisation = if wall > 0.0 { busy / wall } else { 0.0 };
        let queue = queue_depth.max(0) as f64 / self.max_queue_size as f64;
        utilisation.max(queue).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_share_of_busy_time_or_of_the_queue_whichever_is_larger() {
        let saturation = Saturation::new(2, 10);
        let start = saturation.marks.lock().unwrap()[0].at;
        let after = |seconds| start + Duration::from_secs(seconds);
        saturation.add(Duration::from_secs(5));
        assert!((saturation.read(0, after(10)) - 0.25).abs() < 1e-9);
        assert!((saturation.read(4, after(10)) - 0.4).abs() < 1e-9);
        assert!((saturation.read(99, after(10)) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let saturation = Saturation::new(1, 10);
        let start = saturation.marks.lock().unwrap()[0].at;
        let after = |seconds| start + Duration::from_secs(seconds);
        saturation.add(Duration::from_secs(10));
        assert!((saturation.read(0, after(10)) - 1.0).abs() < 1e-9);
        saturation.read(0, after(20));
        assert!(saturation.read(0, after(30)) < 1e-9);
    }
}
