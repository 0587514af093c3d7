//! When to cut a batch, and how much of the queue goes into it. Pure: knows no lock, no clock and no request.

use std::time::{Duration, Instant};

/// What may go into one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most rows of one run. A request of more rows than this runs alone.
    pub max_batch_rows: usize,
    /// How long the oldest request may wait for company; zero is never.
    pub max_queue_delay: Duration,
}

/// What the decision needs to know of a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting<K> {
    /// Requests of equal keys can be stacked; `None` runs alone.
    pub key: Option<K>,
    /// Its rows.
    pub rows: usize,
    pub queued_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Run this many requests from the front, at least one, together.
    Take(usize),
    /// Nothing is due before this moment, unless more comes.
    WaitUntil(Instant),
    /// There is nothing to run.
    WaitForMore,
}

/// Decides from the front of the queue: requests are taken in their order while their keys are equal and their rows fit.
///
/// A batch is due when it is full, when what stands next does not fit, or when its oldest request has waited
/// `max_queue_delay`. The vocabulary and the first-misfit rule are those of Triton's dynamic batcher.
pub fn decide<K: PartialEq>(queue: impl IntoIterator<Item = Waiting<K>>, now: Instant, limits: Limits) -> Decision {
    let mut queue = queue.into_iter();
    let Some(oldest) = queue.next() else { return Decision::WaitForMore };
    let (mut count, mut rows) = (1, oldest.rows);
    let mut due = oldest.key.is_none() || rows >= limits.max_batch_rows;
    while !due {
        let Some(next) = queue.next() else { break };
        let fits = next.key == oldest.key && rows.saturating_add(next.rows) <= limits.max_batch_rows;
        if fits {
            count += 1;
            rows += next.rows;
        }
        due = !fits || rows == limits.max_batch_rows;
    }
    let due_at = oldest.queued_at + limits.max_queue_delay;
    if due || now >= due_at { Decision::Take(count) } else { Decision::WaitUntil(due_at) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DELAY: Duration = Duration::from_millis(5);

    fn limits(max_batch_rows: usize, max_queue_delay: Duration) -> Limits {
        Limits { max_batch_rows, max_queue_delay }
    }

    /// Makes a queue of `(key, rows)`, all queued at `start`; key 0 runs alone.
    fn queue(start: Instant, entries: &[(u8, usize)]) -> Vec<Waiting<u8>> {
        let waiting = |(key, rows): &(u8, usize)| Waiting {
            key: Some(*key).filter(|key| *key != 0),
            rows: *rows,
            queued_at: start,
        };
        entries.iter().map(waiting).collect()
    }

    #[test]
    fn a_batch_is_cut_when_it_is_full_or_a_misfit_stands_next_or_the_oldest_has_waited() {
        let start = Instant::now();
        let wait = Decision::WaitUntil(start + DELAY);
        for (entries, expected) in [
            (&[][..], Decision::WaitForMore),
            (&[(1, 1)], wait),
            (&[(1, 1), (1, 2)], wait),
            (&[(1, 2), (1, 2)], Decision::Take(2)),
            (&[(1, 2), (1, 1), (1, 2)], Decision::Take(2)),
            (&[(1, 1), (2, 1)], Decision::Take(1)),
            (&[(1, 1), (1, 1), (0, 1), (1, 1)], Decision::Take(2)),
            (&[(0, 1), (0, 1)], Decision::Take(1)),
            (&[(1, 9), (1, 1)], Decision::Take(1)),
        ] {
            assert_eq!(decide(queue(start, entries), start, limits(4, DELAY)), expected, "{entries:?}");
        }
        assert_eq!(decide(queue(start, &[(1, 1), (1, 1)]), start + DELAY, limits(4, DELAY)), Decision::Take(2));
        assert_eq!(decide(queue(start, &[(1, 1)]), start, limits(4, Duration::ZERO)), Decision::Take(1));
    }

    proptest! {
        #[test]
        fn what_is_taken_fits_and_is_as_much_as_fits(
            entries in prop::collection::vec((0_u8..3, 1_usize..6), 0..12),
            max_batch_rows in 1_usize..10,
            waited_ms in 0_u64..10,
        ) {
            let start = Instant::now();
            let waiting = queue(start, &entries);
            let now = start + Duration::from_millis(waited_ms);
            match decide(waiting.clone(), now, limits(max_batch_rows, DELAY)) {
                Decision::WaitForMore => prop_assert!(entries.is_empty()),
                Decision::WaitUntil(due) => {
                    prop_assert!(now < due && due == start + DELAY);
                    let key = waiting[0].key;
                    prop_assert!(key.is_some() && waiting.iter().all(|next| next.key == key));
                    prop_assert!(waiting.iter().map(|next| next.rows).sum::<usize>() < max_batch_rows);
                }
                Decision::Take(count) => {
                    let taken = &waiting[..count];
                    let rows: usize = taken.iter().map(|next| next.rows).sum();
                    prop_assert!(count == 1 || rows <= max_batch_rows);
                    prop_assert!(count == 1 || taken.iter().all(|next| next.key.is_some() && next.key == taken[0].key));
                    if let Some(next) = waiting.get(count) {
                        let alone = taken[0].key.is_none();
                        prop_assert!(alone || next.key != taken[0].key || rows + next.rows > max_batch_rows);
                    }
                }
            }
        }
    }
}
