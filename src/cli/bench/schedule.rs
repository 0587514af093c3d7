//! When requests are sent: in a closed loop when the answer to the last has come, in an open one when they are due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// The timer is good to a millisecond; nearer than this, it is waited for by polling.
const TIMER_SLACK: Duration = Duration::from_millis(2);

/// How long a measurement goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Requests are sent for so long.
    Time(Duration),
    /// So many requests are sent.
    Requests(u64),
}

/// A request that may be sent now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Its number, from 0.
    pub(super) number: u64,
    /// Its latency counts from here.
    pub(super) due: Instant,
}

/// The order of the requests of one thread's connections.
#[derive(Debug)]
pub(super) enum Schedule {
    /// As soon as a connection is free.
    Closed(Closed),
    Open(Open),
}

/// A closed loop. All threads share its count.
#[derive(Debug)]
pub(super) struct Closed {
    taken: Arc<AtomicU64>,
    limit: u64,
    end: Option<Instant>,
}

/// An open loop, or one thread's share of it.
#[derive(Debug)]
pub(super) struct Open {
    start: Instant,
    rate: f64,
    share: Share,
    turns: u64,
    taken: AtomicU64,
    /// One permit for each request that is due and not taken.
    due: Semaphore,
    connections: usize,
}

/// What a thread does of what all do: every `threads`th, from its own index on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The thread's own number, from 0.
    pub(super) index: u64,
    pub(super) threads: u64,
}

impl Share {
    /// Counts the thread's part of `all`.
    pub(super) fn of(self, all: u64) -> u64 {
        (all + self.threads - 1).saturating_sub(self.index) / self.threads
    }
}

impl Closed {
    /// Makes a loop that begins at `start`. `taken` counts the requests of all threads.
    pub(super) fn new(start: Instant, extent: Extent, taken: &Arc<AtomicU64>) -> Self {
        let taken = Arc::clone(taken);
        match extent {
            Extent::Time(time) => Self { taken, limit: u64::MAX, end: Some(start + time) },
            Extent::Requests(limit) => Self { taken, limit, end: None },
        }
    }

    fn next(&self, now: Instant) -> Option<Turn> {
        if self.end.is_some_and(|end| now >= end) {
            return None;
        }
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        (number < self.limit).then_some(Turn { number, due: now })
    }
}

impl Open {
    /// Makes a loop that begins at `start`, of `rate` requests a second over all threads.
    pub(super) fn new(start: Instant, rate: f64, extent: Extent, share: Share, connections: usize) -> Self {
        let turns = share.of(requests_due(rate, extent));
        Self { start, rate, share, turns, taken: AtomicU64::new(0), due: Semaphore::new(0), connections }
    }

    fn turn(&self, index: u64) -> Turn {
        let number = self.share.index + index * self.share.threads;
        Turn { number, due: self.start + Duration::from_secs_f64(number as f64 / self.rate) }
    }

    async fn next(&self) -> Option<Turn> {
        // The semaphore is never closed.
        self.due.acquire().await.ok()?.forget();
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        (index < self.turns).then(|| self.turn(index))
    }

    /// Lets requests go when they are due, and at the end tells the connections that there are no more.
    async fn pace(&self) {
        let mut released = 0;
        while released < self.turns {
            wait_until(self.turn(released).due).await;
            let now = Instant::now();
            let due = (released..self.turns).take_while(|index| self.turn(*index).due <= now).count();
            self.due.add_permits(due);
            released += due as u64;
        }
        self.due.add_permits(self.connections);
    }
}

impl Schedule {
    /// Waits for the next request that may be sent; `None` when there are no more. `now` is when the connection got free.
    pub(super) async fn next(&self, now: Instant) -> Option<Turn> {
        match self {
            Self::Closed(closed) => closed.next(now),
            Self::Open(open) => open.next().await,
        }
    }

    /// Keeps the schedule going; runs beside the connections.
    pub(super) async fn run(&self) {
        match self {
            Self::Closed(_) => {}
            Self::Open(open) => open.pace().await,
        }
    }
}

/// Counts the requests of an open loop: in a time, those that are due before its end, and at least one.
fn requests_due(rate: f64, extent: Extent) -> u64 {
    match extent {
        #[expect(clippy::cast_possible_truncation, reason = "a rate and a time within their limits give some 10^12")]
        #[expect(clippy::cast_sign_loss, reason = "neither is negative")]
        Extent::Time(time) => ((rate * time.as_secs_f64()).ceil() as u64).max(1),
        Extent::Requests(requests) => requests,
    }
}

async fn wait_until(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if left > TIMER_SLACK {
        tokio::time::sleep(left - TIMER_SLACK).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: f64, extent: Extent, index: u64, threads: u64) -> Open {
        Open::new(Instant::now(), rate, extent, Share { index, threads }, 1)
    }

    #[test]
    fn an_open_loop_has_the_requests_that_are_due_in_its_time() {
        let second = Extent::Time(Duration::from_secs(1));
        for (rate, expected) in [(10.0, 10), (10.5, 11), (0.1, 1), (2e6, 2_000_000)] {
            assert_eq!(requests_due(rate, second), expected, "{rate}");
        }
        assert_eq!(requests_due(10.0, Extent::Requests(7)), 7);
    }

    #[test]
    fn threads_share_the_requests_without_gap_or_overlap() {
        for (all, threads) in [(7, 3), (2, 3), (9, 3), (1, 1)] {
            let shares = (0..threads).map(|index| open(10.0, Extent::Requests(all), index, threads));
            let numbers =
                shares.flat_map(|share| (0..share.turns).map(|turn| share.turn(turn).number).collect::<Vec<_>>());
            let mut numbers: Vec<_> = numbers.collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..all).collect::<Vec<_>>(), "{all} over {threads}");
        }
    }

    #[test]
    fn requests_are_due_at_even_intervals_whoever_sends_them() {
        let share = open(10.0, Extent::Requests(100), 1, 2);
        assert_eq!(share.turn(0).due - share.start, Duration::from_millis(100));
        assert_eq!(share.turn(2).due - share.start, Duration::from_millis(500));
    }

    #[test]
    fn a_closed_loop_ends_with_its_count_or_its_time() {
        let (start, taken) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let counted = Closed::new(start, Extent::Requests(2), &taken);
        let turns = [(); 3].map(|()| counted.next(start).map(|turn| turn.number));
        assert_eq!(turns, [Some(0), Some(1), None]);
        let timed = Closed::new(start, Extent::Time(Duration::from_secs(1)), &taken);
        assert!(timed.next(start).is_some());
        assert!(timed.next(start + Duration::from_secs(1)).is_none());
    }
}
