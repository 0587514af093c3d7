//! What a model shows of itself before it serves: whether rows can be batched, and how long runs take.
//!
//! Runs on made-up inputs. What cannot be shown is not assumed: a model that does not run on them, or whose pair of rows is
//! not two single rows, is run one request at a time.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::{
    engine::Session,
    error::{Error, Result},
    model::{
        observed::{ObservedRun, ObservedTensor},
        signature::{Dim, Signature, TensorSpec},
    },
    request::Tensors,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// Sizes to try for dynamic dimensions other than axis 0: the first at which the model runs is used.
const SIZES: [usize; 6] = [1, 4, 16, 32, 64, 224];
/// How much a row's floats may differ between a pair and two singles, relative to values over 1.
const TOLERANCE: f64 = 1e-4;
/// The same for FP16 and BF16, which have fewer bits.
const HALF_TOLERANCE: f64 = 2e-2;
/// How often two singles are compared with a pair.
const ROUNDS: u64 = 2;
/// How often a row is drawn again that is the same as the other.
const DRAWS: usize = 32;
/// The most elements of a made-up input.
const MAX_ELEMENTS: usize = 1 << 26;
/// How long measuring may take, in all.
const MEASURING: Duration = Duration::from_millis(300);
/// How often a batch is run to be measured; the fastest counts, since everything else only makes runs slower.
const REPEATS: usize = 3;

/// What a model showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The largest difference seen between a pair and two singles, or why rows are not batched.
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
    /// The shortest time seen.
    pub time: Duration,
}

/// Runs a session on made-up inputs: compares pairs with singles, and measures batches of up to `max_rows`. Blocks, for
/// a fraction of a second where one run does not take longer.
pub fn probe(session: &mut dyn Session, max_rows: usize) -> Profile {
    let signature = session.signature().clone();
    let Some(size) = size_that_runs(session, &signature) else {
        let batching = Err("it does not run on made-up inputs".to_owned());
        return Profile { batching, observed: Vec::new(), timings: Vec::new() };
    };
    let observed = observe(session, &signature, size);
    let batching = can_stack(&signature).and_then(|()| {
        let differences = (0..ROUNDS).map(|round| compare(session, &signature, size, &mut Rng::with_seed(round)));
        differences.collect::<std::result::Result<Vec<_>, _>>().map(|all| all.into_iter().fold(0.0, f64::max))
    });
    let max_rows = if batching.is_ok() { max_rows } else { 1 };
    Profile { batching, observed, timings: measure(session, &signature, size, max_rows) }
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
    SIZES.into_iter().find(|size| single(signature, *size, &mut rng).and_then(|row| session.run(&row)).is_ok())
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

/// Checks that every input leaves axis 0 open. Outputs are checked by what they really are: some declare `[1]` and give `[N]`.
fn can_stack(signature: &Signature) -> std::result::Result<(), String> {
    let open = |input: &&TensorSpec| !matches!(input.dims.as_deref(), Some([Dim::Dynamic(_), ..]));
    match signature.inputs.iter().find(open) {
        Some(input) => Err(format!("input {:?} has no dynamic axis 0", input.name)),
        None => Ok(()),
    }
}

/// Runs two rows apart and together, in both orders; returns the largest difference, or what is wrong.
fn compare(
    session: &mut dyn Session,
    signature: &Signature,
    size: usize,
    rng: &mut Rng,
) -> std::result::Result<f64, String> {
    let failed = |what: &'static str| move |error: Error| format!("{what} made-up rows fails: {error}");
    let rows = two_rows(signature, size, rng).map_err(failed("one of the"))?;
    let alone =
        [session.run(&rows[0]).map_err(failed("a run of"))?, session.run(&rows[1]).map_err(failed("a run of"))?];
    let mut largest = 0.0_f64;
    for [first, second] in [[0, 1], [1, 0]] {
        let pair = stack(&[&rows[first], &rows[second]]).map_err(failed("stacking"))?;
        let together = session.run(&pair).map_err(failed("a run of two"))?;
        largest = largest.max(compare_outputs(signature, &together, &alone[first], &alone[second])?);
    }
    Ok(largest)
}

/// Makes up two rows that differ, where the inputs have enough values for that: a model cannot mix rows that are the same.
fn two_rows(signature: &Signature, size: usize, rng: &mut Rng) -> Result<[Tensors; 2]> {
    let first = single(signature, size, rng)?;
    let mut second = single(signature, size, rng)?;
    for _ in 0..DRAWS {
        if second != first {
            break;
        }
        second = single(signature, size, rng)?;
    }
    Ok([first, second])
}

fn compare_outputs(
    signature: &Signature,
    together: &Tensors,
    first: &Tensors,
    second: &Tensors,
) -> std::result::Result<f64, String> {
    let mut largest = 0.0_f64;
    for (index, output) in together.iter().enumerate() {
        let name = &signature.outputs[index].tensor.name;
        let expected = Tensor::concat(&[&first[index], &second[index]]);
        let expected = expected.map_err(|_| format!("output {name:?} has no axis of rows"))?;
        if output.shape() != expected.shape() || output.shape().first() != Some(&2) {
            return Err(format!("output {name:?} of two rows has the shape {}", output.shape()));
        }
        let difference = difference(output, &expected);
        let tolerance =
            if matches!(output.data_type(), DataType::Fp16 | DataType::Bf16) { HALF_TOLERANCE } else { TOLERANCE };
        if difference > tolerance {
            return Err(format!("output {name:?} of a row changes by {difference:.1e} with the row beside it"));
        }
        largest = largest.max(difference);
    }
    Ok(largest)
}

/// Returns the largest difference of two tensors of one shape, relative for values over 1; infinite where any other
/// elements than floats differ.
fn difference(left: &Tensor, right: &Tensor) -> f64 {
    fn largest<T: Copy>(left: &[T], right: &[T], value: impl Fn(T) -> f64) -> f64 {
        let pairs = left.iter().zip(right).map(|(left, right)| (value(*left), value(*right)));
        let apart = |(left, right): (f64, f64)| {
            let difference = (left - right).abs() / right.abs().max(1.0);
            match left == right || left.is_nan() && right.is_nan() {
                true => 0.0,
                // Of a number and what is none.
                false if !difference.is_finite() || !left.is_finite() => f64::INFINITY,
                false => difference.max(f64::MIN_POSITIVE),
            }
        };
        pairs.map(apart).fold(0.0, f64::max)
    }
    let floats = || {
        None.or_else(|| Some(largest(left.as_slice()?, right.as_slice()?, |value: f32| value.into())))
            .or_else(|| Some(largest(left.as_slice()?, right.as_slice()?, |value: f64| value)))
            .or_else(|| Some(largest(left.as_slice()?, right.as_slice()?, |value: half::f16| value.into())))
            .or_else(|| Some(largest(left.as_slice()?, right.as_slice()?, |value: half::bf16| value.into())))
    };
    floats().unwrap_or(if left == right { 0.0 } else { f64::INFINITY })
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
    let singles = (0..rows).map(|_| single(signature, size, &mut rng)).collect::<Result<Vec<_>>>()?;
    stack(&singles.iter().collect::<Vec<_>>())
}

fn stack(rows: &[&Tensors]) -> Result<Tensors> {
    let inputs = rows.first().map_or(0, |row| row.len());
    (0..inputs).map(|index| Tensor::concat(&rows.iter().map(|row| &row[index]).collect::<Vec<_>>())).collect()
}

/// Makes up one row: axis 0 is 1 where it is open, other open dimensions are of `size`.
fn single(signature: &Signature, size: usize, rng: &mut Rng) -> Result<Tensors> {
    signature.inputs.iter().map(|input| made_up(input, size, rng)).collect()
}

fn made_up(input: &TensorSpec, size: usize, rng: &mut Rng) -> Result<Tensor> {
    let dims = input.dims.iter().flatten().enumerate();
    let shape: Shape = dims.map(|(axis, dim)| dim.fixed().unwrap_or(if axis == 0 { 1 } else { size })).collect();
    let count = shape.element_count().filter(|count| *count <= MAX_ELEMENTS);
    let count = count.ok_or_else(|| Error::invalid(format!("{shape} is too large to make up")))?;
    macro_rules! values {
        ($value:expr) => {
            Tensor::from_vec(shape, (0..count).map(|_| $value).collect())
        };
    }
    // Small integers, since they may be indices.
    match input.data_type {
        DataType::Bool => Tensor::from_bools(shape, (0..count).map(|_| rng.bool()).collect()),
        DataType::Bytes => {
            let words = ["a", "row", "of", "made", "up", "words"];
            Tensor::from_strings(shape, (0..count).map(|_| words[rng.usize(..words.len())].into()).collect())
        }
        DataType::Uint8 => values!(rng.u8(0..2)),
        DataType::Uint16 => values!(rng.u16(0..2)),
        DataType::Uint32 => values!(rng.u32(0..2)),
        DataType::Uint64 => values!(rng.u64(0..2)),
        DataType::Int8 => values!(rng.i8(0..2)),
        DataType::Int16 => values!(rng.i16(0..2)),
        DataType::Int32 => values!(rng.i32(0..2)),
        DataType::Int64 => values!(rng.i64(0..2)),
        DataType::Fp16 => values!(half::f16::from_f32(rng.f32())),
        DataType::Bf16 => values!(half::bf16::from_f32(rng.f32())),
        DataType::Fp32 => values!(rng.f32()),
        DataType::Fp64 => values!(rng.f64()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{engine::Terminate, model::signature::OutputSpec};

    /// A session on one column of INT64, which does with all rows what it is told.
    struct Column {
        signature: Signature,
        run: fn(&mut [i64]),
    }

    #[derive(Debug)]
    struct Never;

    impl Terminate for Never {
        fn terminate(&self) {}

        fn reset(&self) {}
    }

    impl Column {
        fn new(run: fn(&mut [i64])) -> Self {
            let tensor = |name: &str| TensorSpec {
                name: name.into(),
                data_type: DataType::Int64,
                dims: Some(vec![Dim::Dynamic(None)]),
            };
            let outputs = vec![OutputSpec { tensor: tensor("y"), map_keys: None }];
            Self { signature: Signature { inputs: vec![tensor("x")], outputs }, run }
        }

        fn compare(&mut self, seed: u64) -> std::result::Result<f64, String> {
            let signature = self.signature.clone();
            compare(self, &signature, 1, &mut Rng::with_seed(seed))
        }
    }

    impl Session for Column {
        fn signature(&self) -> &Signature {
            &self.signature
        }

        fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
            let mut values = inputs[0].as_slice::<i64>().unwrap().to_vec();
            (self.run)(&mut values);
            Ok([Tensor::from_vec(Shape::new(&[values.len()]), values)?].into_iter().collect())
        }

        fn terminator(&self) -> Arc<dyn Terminate> {
            Arc::new(Never)
        }
    }

    #[test]
    fn rows_that_are_mixed_are_found_out_whatever_is_drawn() {
        let minus_least = |rows: &mut [i64]| {
            let least = rows.iter().min().copied().unwrap();
            rows.iter_mut().for_each(|row| *row -= least);
        };
        let running_sum = |rows: &mut [i64]| {
            rows.iter_mut().fold(0, |sum, row| {
                *row += sum;
                *row
            });
        };
        for run in [<[i64]>::sort_unstable, minus_least, running_sum, <[i64]>::reverse] {
            for seed in 0..64 {
                let outcome = Column::new(run).compare(seed);
                assert!(outcome.as_ref().is_err_and(|reason| reason.contains("changes by")), "{seed}: {outcome:?}");
            }
        }
    }

    #[test]
    fn rows_that_stand_alone_are_found_to() {
        let profile = probe(&mut Column::new(|rows| rows.iter_mut().for_each(|row| *row *= 3)), 6);
        assert_eq!(profile.batching, Ok(0.0));
        assert_eq!(profile.timings.iter().map(|timing| timing.rows).collect::<Vec<_>>(), [1, 2, 4, 6]);
    }

    fn floats(values: &[f32]) -> Tensor {
        Tensor::from_vec(Shape::new(&[values.len()]), values.to_vec()).unwrap()
    }

    #[test]
    fn differences_are_relative_over_one_and_absolute_below() {
        for (left, right, expected) in [(1.0, 1.0, 0.0), (0.5, 0.25, 0.25), (200.0, 100.0, 1.0), (-2.0, 2.0, 2.0)] {
            assert_eq!(difference(&floats(&[0.0, left]), &floats(&[0.0, right])), expected, "{left}, {right}");
        }
    }

    #[test]
    fn what_is_no_number_equals_only_itself() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for same in [nan, inf, -inf] {
            assert_eq!(difference(&floats(&[same]), &floats(&[same])), 0.0, "{same}");
        }
        for (left, right) in [(nan, 1.0), (1.0, nan), (inf, 1.0), (1.0, inf), (inf, -inf), (nan, inf)] {
            assert_eq!(difference(&floats(&[left]), &floats(&[right])), f64::INFINITY, "{left}, {right}");
        }
    }

    #[test]
    fn what_is_not_float_is_equal_or_not() {
        let integers = |value: i64| Tensor::from_vec(Shape::new(&[1]), vec![value]).unwrap();
        assert_eq!(difference(&integers(1 << 60), &integers(1 << 60)), 0.0);
        assert_eq!(difference(&integers(1 << 60), &integers((1 << 60) + 1)), f64::INFINITY);
    }
}
