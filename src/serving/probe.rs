//! What a model shows of itself before it serves: whether rows can be batched, and how long runs take.
//!
//! The graph decides on batching where it proves something (`onnx_file::independence`); `compare` runs rows apart and
//! together, and `made_up` makes the rows. A model that does not run on them is run one request at a time.

mod compare;
mod made_up;
#[cfg(test)]
mod testing;

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::{
    engine::Session,
    error::Result,
    model::{
        manifest::BatchingSettings,
        observed::{ObservedRun, ObservedTensor},
        onnx_file::independence::Independence,
        signature::{Dim, Signature, TensorSpec},
    },
    request::Tensors,
    serving::probe::{
        compare::Comparison,
        made_up::{Manner, single, stack},
    },
};

/// Sizes to try for dynamic dimensions other than axis 0: the first at which the model runs is used.
const SIZES: [usize; 6] = [1, 4, 16, 32, 64, 224];
/// How often two singles are compared with a pair.
const ROUNDS: u64 = 2;
/// How long measuring may take, in all.
const MEASURING: Duration = Duration::from_millis(300);
/// How often a batch is run to be measured; the fastest counts, since everything else only makes runs slower.
const REPEATS: usize = 3;

#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The largest difference seen between rows together and alone, or why rows are not batched.
    pub batching: std::result::Result<f64, String>,
    /// What the outputs were for one row and for two; empty where the model ran on nothing that was made up.
    pub observed: Vec<ObservedRun>,
    /// How long runs of so many rows take, from one row on; empty where the model ran on nothing that was made up.
    pub timings: Vec<Timing>,
}

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Its rows.
    pub rows: usize,
    pub time: Duration,
}

/// Decides whether rows are batched, and measures batches. Blocks, for a fraction of a second where one run does not take
/// longer.
pub fn probe(session: &mut dyn Session, independence: &Independence, settings: &BatchingSettings) -> Profile {
    let signature = session.signature().clone();
    let Some(size) = size_that_runs(session, &signature) else {
        let batching = Err("it does not run on made-up inputs".to_owned());
        return Profile { batching, observed: Vec::new(), timings: Vec::new() };
    };
    let observed = observe(session, &signature, size);
    let batching =
        can_stack(&signature).and_then(|()| judge(session, &signature, size, independence, settings.independent_rows));
    let max_rows = if batching.is_ok() { settings.max_batch_size } else { 1 };
    Profile { batching, observed, timings: measure(session, &signature, size, max_rows) }
}

/// Returns the largest difference between rows together and alone, or why rows are not batched. `declared` is what
/// model.toml says; it wins.
fn judge(
    session: &mut dyn Session,
    signature: &Signature,
    size: usize,
    independence: &Independence,
    declared: Option<bool>,
) -> std::result::Result<f64, String> {
    let mut comparison = Comparison { session, signature, size, tolerates_any: false, proven: None };
    match (declared, independence) {
        (Some(false), _) => Err("model.toml says that rows are not independent".to_owned()),
        (Some(true), _) => {
            comparison.tolerates_any = true;
            comparison.tame(ROUNDS)
        }
        (None, Independence::Mixed(_)) => Err(independence.to_string()),
        (None, Independence::Proven(outputs)) => {
            comparison.proven = Some(outputs);
            let disagrees = |reason| format!("{independence} by the graph, but a run disagrees: {reason}");
            comparison.tame(ROUNDS).map_err(disagrees)
        }
        (None, Independence::Unknown(_)) => Ok(comparison.tame(ROUNDS)?.max(comparison.hostile()?)),
    }
}

/// Runs a further instance of a model that was probed, one row and then `rows`, so that the first request on it is not the
/// one that pays for its first run. Blocks.
pub fn warm_up(session: &mut dyn Session, rows: usize) {
    let signature = session.signature().clone();
    let Some(size) = size_that_runs(session, &signature) else { return };
    // A batch that fails here fails as it would for a client; the instance is as good as the first.
    let _failed = made_up_batch(&signature, size, rows).and_then(|batch| session.run(&batch));
}

/// Finds the first size of open dimensions at which the model runs on made-up inputs.
fn size_that_runs(session: &mut dyn Session, signature: &Signature) -> Option<usize> {
    let mut rng = Rng::with_seed(1);
    SIZES
        .into_iter()
        .find(|size| single(signature, *size, Manner::Tame, &mut rng).and_then(|row| session.run(&row)).is_ok())
}

/// Runs one row, and two where axis 0 is open, and looks at the outputs.
fn observe(session: &mut dyn Session, signature: &Signature, size: usize) -> Vec<ObservedRun> {
    let open = can_stack(signature).is_ok();
    let run = |rows: usize| {
        let outputs = session.run(&made_up_batch(signature, size, rows).ok()?).ok()?;
        Some(ObservedRun { rows: open.then_some(rows), outputs: outputs.iter().map(ObservedTensor::of).collect() })
    };
    let most = if open { 2 } else { 1 };
    (1..=most).filter_map(run).collect()
}

/// Checks that every input leaves axis 0 open.
fn can_stack(signature: &Signature) -> std::result::Result<(), String> {
    let open = |input: &&TensorSpec| !matches!(input.dims.as_deref(), Some([Dim::Dynamic(_), ..]));
    match signature.inputs.iter().find(open) {
        Some(input) => Err(format!("input {:?} has no dynamic axis 0", input.name)),
        None => Ok(()),
    }
}

/// Measures runs of 1, 2, 4, … rows for as long as that may take.
fn measure(session: &mut dyn Session, signature: &Signature, size: usize, max_rows: usize) -> Vec<Timing> {
    let started = Instant::now();
    let mut timings: Vec<Timing> = Vec::new();
    let mut rows = 1;
    while rows <= max_rows {
        // A run of twice the rows takes at most about twice the time.
        let expected =
            timings.last().map_or(Duration::ZERO, |last| last.time * 2 * u32::try_from(REPEATS).unwrap_or(1));
        if started.elapsed() + expected > MEASURING && !timings.is_empty() {
            break;
        }
        let Ok(time) = time_of(session, signature, size, rows) else { break };
        timings.push(Timing { rows, time });
        rows = if rows < max_rows { (rows * 2).min(max_rows) } else { max_rows + 1 };
    }
    timings
}

fn time_of(session: &mut dyn Session, signature: &Signature, size: usize, rows: usize) -> Result<Duration> {
    let batch = made_up_batch(signature, size, rows)?;
    session.run(&batch)?;
    let mut shortest = Duration::MAX;
    for _ in 0..REPEATS {
        let started = Instant::now();
        session.run(&batch)?;
        shortest = shortest.min(started.elapsed());
    }
    Ok(shortest)
}

fn made_up_batch(signature: &Signature, size: usize, rows: usize) -> Result<Tensors> {
    let mut rng = Rng::with_seed(2);
    let singles = (0..rows).map(|_| single(signature, size, Manner::Tame, &mut rng)).collect::<Result<Vec<_>>>()?;
    stack(&singles.iter().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::probe::testing::Column;

    fn settings(max_batch_size: usize, independent_rows: Option<bool>) -> BatchingSettings {
        BatchingSettings { max_batch_size, independent_rows, ..BatchingSettings::default() }
    }

    #[test]
    fn rows_that_stand_alone_are_batched_and_measured() {
        let mut column = Column::new(|rows| rows.iter_mut().for_each(|row| *row = row.wrapping_mul(3)));
        let unknown = Independence::Unknown("Custom `c`".to_owned());
        let profile = probe(&mut column, &unknown, &settings(6, None));
        assert_eq!(profile.batching, Ok(0.0));
        assert_eq!(profile.timings.iter().map(|timing| timing.rows).collect::<Vec<_>>(), [1, 2, 4, 6]);
    }

    #[test]
    fn graph_and_owner_decide_before_any_run_does() {
        let mixed = Independence::Mixed("Unique `u`".to_owned());
        let proven = Independence::Proven(vec![vec![None]]);
        type Case<'a> = (&'a Independence, Option<bool>, fn(&mut [i64]), Result<f64, &'a str>);
        let cases: [Case<'_>; 5] = [
            (&mixed, None, |_rows| {}, Err("rows meet in Unique `u`")),
            (&mixed, Some(true), <[i64]>::sort_unstable, Ok(f64::INFINITY)),
            (&proven, Some(false), |_rows| {}, Err("model.toml says that rows are not independent")),
            (&proven, None, |_rows| {}, Ok(0.0)),
            (&proven, None, <[i64]>::reverse, Err("rows proven independent by the graph, but a run disagrees")),
        ];
        for (independence, declared, run, expected) in cases {
            let batching = probe(&mut Column::new(run), independence, &settings(4, declared)).batching;
            match (&batching, expected) {
                (Ok(difference), Ok(expected)) => assert_eq!(*difference, expected),
                (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
                _ => panic!("{batching:?}, expected {expected:?}"),
            }
        }
    }
}
