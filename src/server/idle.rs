//! Which connections have been idle for longest: they are closed when others need their place.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crate::transport::http::pipeline::activity::Activity;

/// A connection that has just opened, or was just answered, is about to send a request.
const MIN_IDLE: Duration = Duration::from_secs(1);
/// A connection that was asked to close has so long for it before it is asked again.
const CLOSING: Duration = Duration::from_secs(2);
/// One eviction closes at least one connection in so many: looking at all of them for each new one would take too long.
const EVICTED_PART: usize = 64;

/// The open connections. Costs their requests nothing: it is looked through only when there are too many.
#[derive(Debug, Default)]
pub(super) struct IdleConnections {
    /// Those that have closed are forgotten when the list doubles.
    open: Vec<OpenConnection>,
    forget_at: usize,
}

#[derive(Debug)]
struct OpenConnection {
    activity: Weak<Activity>,
    evicted: Option<Instant>,
}

impl IdleConnections {
    pub(super) fn add(&mut self, activity: &Arc<Activity>) {
        if self.open.len() >= self.forget_at {
            self.forget_closed();
            self.forget_at = (self.open.len() * 2).max(EVICTED_PART);
        }
        self.open.push(OpenConnection { activity: Arc::downgrade(activity), evicted: None });
    }

    /// Asks the longest idle connections to close: `at_least` so many, if as many are idle.
    pub(super) fn evict(&mut self, at_least: usize) {
        self.forget_closed();
        let (now, open) = (Instant::now(), self.open.len());
        let elapsed = |since: Instant| now.saturating_duration_since(since);
        let idle_since = |connection: &OpenConnection| {
            let is_closing = connection.evicted.is_some_and(|evicted| elapsed(evicted) < CLOSING);
            let since = connection.activity.upgrade()?.idle_since()?;
            (!is_closing && elapsed(since) >= MIN_IDLE).then_some(since)
        };
        let mut idle: Vec<_> =
            self.open.iter_mut().filter_map(|connection| Some((idle_since(connection)?, connection))).collect();
        let count = at_least.max(open / EVICTED_PART).min(idle.len());
        if count < idle.len() {
            idle.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        for (_, connection) in &mut idle[..count] {
            connection.evicted = Some(now);
            if let Some(activity) = connection.activity.upgrade() {
                activity.evict();
            }
        }
    }

    fn forget_closed(&mut self) {
        self.open.retain(|connection| connection.activity.strong_count() > 0);
    }
}
