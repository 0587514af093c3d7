//! Rows together against rows alone.

use fastrand::Rng;

use crate::{
    engine::Session,
    error::{Error, Result},
    model::signature::Signature,
    request::Tensors,
    serving::probe::made_up::{HOSTILE, Manner, single, stack},
    tensor::{data_type::DataType, tensor::Tensor},
};

/// How much a row's floats may differ together and alone, relative to values over 1.
const TOLERANCE: f64 = 1e-4;
/// The same for FP16 and BF16, which have fewer bits.
const HALF_TOLERANCE: f64 = 2e-2;
/// How often a row is drawn again that is the same as the other.
const DRAWS: usize = 32;

/// What is compared, and how strictly.
pub(super) struct Comparison<'a> {
    pub(super) session: &'a mut dyn Session,
    pub(super) signature: &'a Signature,
    /// The size of open dimensions other than axis 0.
    pub(super) size: usize,
    /// Whether only the shapes must be right.
    pub(super) tolerates_any: bool,
    /// The sizes of the outputs that the graph promises.
    pub(super) proven: Option<&'a [Vec<Option<usize>>]>,
}

impl Comparison<'_> {
    /// Runs two tame rows apart and together, in both orders, so often; returns the largest difference, or what is wrong.
    pub(super) fn tame(&mut self, rounds: u64) -> std::result::Result<f64, String> {
        let mut largest = 0.0_f64;
        for round in 0..rounds {
            largest = largest.max(self.pair(&mut Rng::with_seed(round))?);
        }
        Ok(largest)
    }

    /// Runs tame rows beside rows of every hostile manner, first and last, one by one and all at once. Rows that the model
    /// refuses alone are left out.
    pub(super) fn hostile(&mut self) -> std::result::Result<f64, String> {
        let mut rng = Rng::with_seed(3);
        let mut rows = two_rows(self.signature, self.size, &mut rng).map_err(failed("one of the"))?.to_vec();
        for manner in HOSTILE {
            rows.push(single(self.signature, self.size, manner, &mut rng).map_err(failed("one of the"))?);
        }
        let mut alone = Vec::new();
        rows.retain(|row| {
            self.session.run(row).is_ok_and(|outputs| {
                alone.push(outputs);
                true
            })
        });
        let mut largest = 0.0_f64;
        let all: Vec<usize> = (0..rows.len()).collect();
        let mut orders: Vec<Vec<usize>> = (1..rows.len()).flat_map(|row| [vec![0, row], vec![row, 0]]).collect();
        orders.extend([all.clone(), all.into_iter().rev().collect()]);
        for order in orders {
            let chosen: Vec<_> = order.iter().map(|row| (&rows[*row], &alone[*row])).collect();
            largest = largest.max(self.together(&chosen)?);
        }
        Ok(largest)
    }

    fn pair(&mut self, rng: &mut Rng) -> std::result::Result<f64, String> {
        let [first, second] = two_rows(self.signature, self.size, rng).map_err(failed("one of the"))?;
        let first_alone = self.session.run(&first).map_err(failed("a run of"))?;
        let second_alone = self.session.run(&second).map_err(failed("a run of"))?;
        let (first, second) = ((&first, &first_alone), (&second, &second_alone));
        Ok(self.together(&[first, second])?.max(self.together(&[second, first])?))
    }

    /// Runs rows together; returns the largest difference to their outputs alone.
    fn together(&mut self, rows: &[(&Tensors, &Tensors)]) -> std::result::Result<f64, String> {
        let inputs = stack(&rows.iter().map(|(inputs, _)| *inputs).collect::<Vec<_>>()).map_err(failed("stacking"))?;
        let outputs = self.session.run(&inputs).map_err(failed("a run of several"))?;
        let mut largest = 0.0_f64;
        for (index, output) in outputs.iter().enumerate() {
            let name = &self.signature.outputs[index].tensor.name;
            let alone: Vec<_> = rows.iter().map(|(_, outputs)| &outputs[index]).collect();
            let expected = Tensor::concat(&alone).map_err(|_| format!("output {name:?} has no axis of rows"))?;
            if output.shape() != expected.shape() || output.shape().first() != Some(&rows.len()) {
                let count = if rows.len() == 2 { "two" } else { "several" };
                return Err(format!("output {name:?} of {count} rows has the shape {}", output.shape()));
            }
            self.check_proven(index, output)?;
            let difference = difference(output, &expected);
            let tolerance =
                if matches!(output.data_type(), DataType::Fp16 | DataType::Bf16) { HALF_TOLERANCE } else { TOLERANCE };
            if difference > tolerance && !self.tolerates_any {
                return Err(format!("output {name:?} of a row changes by {difference:.1e} with the row beside it"));
            }
            largest = largest.max(difference);
        }
        Ok(largest)
    }

    /// Checks that an output has the sizes that the graph promises.
    fn check_proven(&self, index: usize, output: &Tensor) -> std::result::Result<(), String> {
        let Some(promised) = self.proven.and_then(|outputs| outputs.get(index)) else { return Ok(()) };
        let fits = promised.len() == output.shape().len()
            && promised
                .iter()
                .zip(output.shape().iter())
                .all(|(promised, size)| promised.is_none_or(|own| own == *size));
        let name = &self.signature.outputs[index].tensor.name;
        fits.then_some(()).ok_or_else(|| format!("output {name:?} has the shape {}", output.shape()))
    }
}

fn failed(what: &'static str) -> impl FnOnce(Error) -> String {
    move |error| format!("{what} made-up rows fails: {error}")
}

/// Makes up two rows that differ, where the inputs have enough values for that: a model cannot mix rows that are the same.
fn two_rows(signature: &Signature, size: usize, rng: &mut Rng) -> Result<[Tensors; 2]> {
    let first = single(signature, size, Manner::Tame, rng)?;
    let mut second = single(signature, size, Manner::Tame, rng)?;
    for _ in 0..DRAWS {
        if second != first {
            break;
        }
        second = single(signature, size, Manner::Tame, rng)?;
    }
    Ok([first, second])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{serving::probe::testing::Column, tensor::shape::Shape};

    fn comparison<'a>(session: &'a mut Column, signature: &'a Signature) -> Comparison<'a> {
        Comparison { session, signature, size: 1, tolerates_any: false, proven: None }
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
                let mut column = Column::new(run);
                let signature = column.signature().clone();
                let outcome = comparison(&mut column, &signature).pair(&mut Rng::with_seed(seed));
                assert!(outcome.as_ref().is_err_and(|reason| reason.contains("changes by")), "{seed}: {outcome:?}");
            }
        }
    }

    #[test]
    fn rows_that_meet_beyond_tame_values_are_found_by_hostile_rows() {
        let runs: [fn(&mut [i64]); 3] = [
            |rows| {
                let greatest = rows.iter().max().copied().unwrap().max(1);
                rows.iter_mut().for_each(|row| *row /= greatest);
            },
            |rows| {
                let negative = rows.iter().any(|row| *row < 0);
                rows.iter_mut().for_each(|row| *row = row.wrapping_add(negative.into()));
            },
            |rows| {
                let last = rows.last().copied().unwrap();
                rows.iter_mut().for_each(|row| *row = if last > 1000 { 7 } else { *row });
            },
        ];
        for run in runs {
            let mut column = Column::new(run);
            let signature = column.signature().clone();
            let mut comparison = comparison(&mut column, &signature);
            assert_eq!(comparison.tame(2), Ok(0.0));
            let outcome = comparison.hostile();
            assert!(outcome.as_ref().is_err_and(|reason| reason.contains("changes by")), "{outcome:?}");
            comparison.tolerates_any = true;
            assert!(comparison.hostile().is_ok(), "the owner's word counts");
        }
    }

    #[test]
    fn outputs_must_have_the_sizes_that_the_graph_promises() {
        let mut column = Column::new(|_rows| {});
        let signature = column.signature().clone();
        for (promised, fits) in
            [(vec![None], true), (vec![], false), (vec![None, Some(1)], false), (vec![Some(3)], false)]
        {
            let promised = [promised];
            let mut comparison = comparison(&mut column, &signature);
            comparison.proven = Some(&promised);
            assert_eq!(comparison.tame(1).is_ok(), fits, "{promised:?}");
        }
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
