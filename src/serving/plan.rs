//! How a model is run: which lane, how many rows at once, and why.

use std::time::Duration;

use crate::{
    batching::{
        lane::{LaneKind, LaneSettings},
        policy::Limits,
        queue::QueueLimits,
        run::Hold,
    },
    model::{
        manifest::{LaneChoice, Manifest},
        onnx_file::OnnxFile,
    },
    serving::probe::{Profile, Timing},
};

/// A batch that is this much slower per row than the best one is still taken for the best if it is smaller: a smaller batch
/// answers sooner.
const GOOD_ENOUGH: f64 = 1.03;

/// A run may hold the event loop for this many times as long as it was measured to take, and for [`LEAST_HOLD`] in any case:
/// a busy machine makes runs slower, and inputs may be larger than those that were measured.
const HOLD_FACTOR: u32 = 100;
const LEAST_HOLD: Duration = Duration::from_secs(1);

/// How a model is run, and why.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the lane is told.
    pub lane: LaneSettings,
    /// Why it is this lane, in words.
    pub lane_reason: String,
    /// Whether rows are batched and why, in words.
    pub batching_reason: String,
}

impl Plan {
    /// Chooses from what was measured and what the graph shows, unless the manifest says otherwise. `inline_budget` is the
    /// longest that a batch may hold the event loop.
    pub fn new(profile: &Profile, file: &OnnxFile, manifest: &Manifest, inline_budget: Duration) -> Self {
        let independence = &file.independence;
        let (batched, batching_reason) = match (&profile.batching, manifest.batching.independent_rows) {
            (Ok(difference), Some(_)) => {
                (true, format!("model.toml says that rows are independent (largest difference {difference:.1e})"))
            }
            (Ok(difference), None) => (true, format!("{independence} (largest difference {difference:.1e})")),
            (Err(reason), _) => (false, format!("one request at a time: {reason}")),
        };
        let (kind, lane_reason) = choose(profile, manifest, file.cost_depends_on.as_deref(), inline_budget);
        let most = if batched { manifest.batching.max_batch_size } else { 1 };
        let max_batch_rows = match kind {
            LaneKind::Inline => rows_within(&profile.timings, inline_budget).min(most),
            LaneKind::Worker => best_rows(&profile.timings).unwrap_or(most).min(most),
        };
        let max_queue_delay = Duration::from_micros(manifest.batching.max_queue_delay_microseconds);
        let limits = Limits { max_batch_rows, max_queue_delay };
        let queue = QueueLimits {
            max_queue_size: manifest.batching.max_queue_size,
            max_queue_wait: Duration::from_millis(manifest.batching.max_queue_wait_milliseconds),
        };
        let hold = (kind == LaneKind::Inline).then(|| hold(&profile.timings));
        let lane = LaneSettings { kind, batched, limits, queue, hold };
        Self { lane, lane_reason, batching_reason }
    }
}

fn choose(
    profile: &Profile,
    manifest: &Manifest,
    cost_depends_on: Option<&str>,
    inline_budget: Duration,
) -> (LaneKind, String) {
    match (manifest.batching.lane, profile.timings.first()) {
        _ if manifest.instances.isolate => (LaneKind::Worker, "it runs in a process of its own".to_owned()),
        (LaneChoice::Inline, _) => (LaneKind::Inline, "model.toml says so".to_owned()),
        (LaneChoice::Worker, _) => (LaneKind::Worker, "model.toml says so".to_owned()),
        (LaneChoice::Auto, _) if let Some(culprit) = cost_depends_on => {
            (LaneKind::Worker, format!("the time of a run depends on the values of its inputs ({culprit})"))
        }
        (LaneChoice::Auto, None) => (LaneKind::Worker, "how long a run takes could not be measured".to_owned()),
        (LaneChoice::Auto, Some(_)) if manifest.instances.intra_op_threads > 1 => {
            (LaneKind::Worker, "its runs use several threads".to_owned())
        }
        (LaneChoice::Auto, Some(_)) if manifest.batching.max_queue_delay_microseconds > 0 => {
            (LaneKind::Worker, "requests are to wait for company".to_owned())
        }
        (LaneChoice::Auto, Some(single)) => {
            let kind = if single.time <= inline_budget { LaneKind::Inline } else { LaneKind::Worker };
            (
                kind,
                format!("a run of one row takes {:?}, and the event loop may be held {inline_budget:?}", single.time),
            )
        }
    }
}

/// Returns how long a run may hold the event loop before it is terminated.
fn hold(timings: &[Timing]) -> Hold {
    let per_row = timings.iter().map(|timing| timing.time / u32::try_from(timing.rows).unwrap_or(u32::MAX)).max();
    Hold { least: LEAST_HOLD, per_row: per_row.unwrap_or_default().saturating_mul(HOLD_FACTOR) }
}

/// Returns the most rows that were seen to run within `budget`; 1 where even one takes longer.
fn rows_within(timings: &[Timing], budget: Duration) -> usize {
    timings.iter().take_while(|timing| timing.time <= budget).last().map_or(1, |timing| timing.rows)
}

/// Returns the number of rows with the least time per row, or a smaller one that is nearly as good. `None` where the
/// largest of several that were measured is the best: more may be better still. One row where a run takes so long that
/// nothing else was measured: a batch would keep everyone in it waiting, for a gain that nothing shows.
fn best_rows(timings: &[Timing]) -> Option<usize> {
    let per_row = |timing: &Timing| timing.time.as_secs_f64() / timing.rows as f64;
    let least = timings.iter().map(per_row).fold(f64::INFINITY, f64::min);
    let best = timings.iter().find(|timing| per_row(timing) <= least * GOOD_ENOUGH)?;
    Some(best.rows).filter(|rows| timings.len() == 1 || timings.last().is_none_or(|last| *rows < last.rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timings(microseconds: &[(usize, u64)]) -> Vec<Timing> {
        microseconds.iter().map(|(rows, time)| Timing { rows: *rows, time: Duration::from_micros(*time) }).collect()
    }

    #[test]
    fn the_inline_batch_is_bounded_by_what_was_measured() {
        let budget = Duration::from_micros(500);
        assert_eq!(rows_within(&timings(&[(1, 10), (2, 20), (4, 501)]), budget), 2);
        assert_eq!(rows_within(&timings(&[(1, 501)]), budget), 1);
        assert_eq!(rows_within(&[], budget), 1);
    }

    #[test]
    fn a_run_may_hold_the_event_loop_far_longer_than_measured_and_never_for_ever() {
        let second = Duration::from_secs(1);
        assert_eq!(hold(&[]), Hold { least: second, per_row: Duration::ZERO });
        let measured = timings(&[(1, 300), (2, 400), (4, 600)]);
        assert_eq!(hold(&measured), Hold { least: second, per_row: Duration::from_millis(30) });
    }

    #[test]
    fn the_best_batch_is_the_smallest_that_is_nearly_as_good_per_row() {
        assert_eq!(best_rows(&timings(&[(1, 100), (2, 198), (4, 396)])), Some(1));
        assert_eq!(best_rows(&timings(&[(1, 100), (2, 150), (4, 280), (8, 640)])), Some(4));
        assert_eq!(best_rows(&timings(&[(1, 100), (2, 120)])), None);
        assert_eq!(best_rows(&timings(&[(1, 100_000)])), Some(1));
    }
}
