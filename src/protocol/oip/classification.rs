//! Triton's classification extension: the highest values of an output, as `value:index:label`.

use std::{cmp::Ordering, num::NonZeroUsize, ops::Range, sync::Arc};

use bytes::{BufMut, Bytes};

use crate::{
    error::{Error, Result},
    json::write::Elements,
    model::signature::TensorSpec,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// The most elements that a classification has: each is a string, many times the size of the number that it is made of.
const MAX_ELEMENTS: usize = 1_000_000;

/// Checks that an output has values that can be compared and written.
///
/// # Errors
/// `InvalidArgument` where it has not.
pub(super) fn check(output: &TensorSpec) -> Result<()> {
    match output.data_type {
        DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => Err(Error::invalid(format!(
            "output '{}': expected FP32, FP64 or integers for a classification, but it is {}",
            output.name, output.data_type
        ))),
        _ => Ok(()),
    }
}

/// Returns BYTES `[rows, k]`, or `[k]` where rows are not counted: the `k` highest values in descending order, `k` being
/// `most` or the number of classes. NaN comes last; of equal values the first.
///
/// # Errors
/// `InvalidArgument` where there would be more than a million elements.
pub(super) fn classify(
    tensor: &Tensor,
    most: NonZeroUsize,
    batched: bool,
    labels: Option<&[Arc<str>]>,
) -> Result<Tensor> {
    let rows = tensor.shape().first().copied().filter(|_| batched);
    let classes = tensor.len().checked_div(rows.unwrap_or(1)).unwrap_or(0);
    let kept = most.get().min(classes);
    let count = kept.checked_mul(rows.unwrap_or(1)).filter(|count| *count <= MAX_ELEMENTS);
    let count = count.ok_or_else(|| {
        Error::invalid(format!("expected a classification of at most {MAX_ELEMENTS} elements, but {kept} classes of {} rows were asked for", rows.unwrap_or(1)))
    })?;
    let labels = labels.filter(|labels| labels.len() == classes);
    let elements = Elements::of(tensor);
    let (mut text, mut places) = (Vec::with_capacity(count * 16), Vec::with_capacity(count));
    let mut order: Vec<usize> = Vec::with_capacity(classes);
    for row in 0..rows.unwrap_or(1) {
        let start = row * classes;
        order.clear();
        order.extend(0..classes);
        order.sort_by(|one, other| descending(elements, start + *one, start + *other));
        for class in &order[..kept] {
            places.push(write(&mut text, elements, start + class, *class, labels));
        }
    }
    let text = Bytes::from(text);
    let strings = places.into_iter().map(|place| text.slice(place)).collect();
    let shape = rows.into_iter().chain([kept]).collect::<Shape>();
    Tensor::from_strings(shape, strings)
}

fn descending(elements: Elements<'_>, one: usize, other: usize) -> Ordering {
    // Integers are compared as such: 64 bits do not fit in a double.
    if let (Some(one), Some(other)) = (elements.integer(one), elements.integer(other)) {
        return other.cmp(&one);
    }
    let value = |index| elements.double(index).unwrap_or(f64::NAN);
    let (one, other) = (value(one), value(other));
    other.partial_cmp(&one).unwrap_or_else(|| one.is_nan().cmp(&other.is_nan()))
}

/// Writes one element as C++'s `to_string` writes numbers: floats with six decimals.
fn write(
    text: &mut Vec<u8>,
    elements: Elements<'_>,
    index: usize,
    class: usize,
    labels: Option<&[Arc<str>]>,
) -> Range<usize> {
    let start = text.len();
    match (elements, elements.double(index)) {
        (Elements::Fp32(_) | Elements::Fp64(_), Some(value)) if value.is_nan() => text.put_slice(b"nan"),
        (Elements::Fp32(_) | Elements::Fp64(_), Some(value)) => text.put_slice(format!("{value:.6}").as_bytes()),
        // Only strings fail, and there are none.
        _ => elements.write(index, text).unwrap_or_default(),
    }
    text.put_slice(format!(":{class}").as_bytes());
    if let Some(label) = labels.and_then(|labels| labels.get(class)) {
        text.push(b':');
        text.extend_from_slice(label.as_bytes());
    }
    start..text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(tensor: &Tensor, most: usize, batched: bool, labels: &[&str]) -> (Vec<usize>, Vec<String>) {
        let labels: Vec<Arc<str>> = labels.iter().map(|label| (*label).into()).collect();
        let result = classify(tensor, NonZeroUsize::new(most).unwrap(), batched, Some(&labels)).unwrap();
        let strings = result.as_strings().unwrap().iter().map(|string| String::from_utf8(string.to_vec()).unwrap());
        (result.shape().to_vec(), strings.collect())
    }

    #[test]
    fn the_highest_values_of_each_row_come_first() {
        let scores = Tensor::from_vec(Shape::new(&[2, 3]), vec![0.25_f32, 0.643_914, 0.1, 1e9, -0.5, 2.0]).unwrap();
        let (shape, strings) = classified(&scores, 2, true, &["a", "b", "c"]);
        assert_eq!(shape, [2, 2]);
        assert_eq!(strings, ["0.643914:1:b", "0.250000:0:a", "1000000000.000000:0:a", "2.000000:2:c"]);
        let (shape, strings) = classified(&scores, 9, false, &["a", "b", "c"]);
        assert_eq!((shape, strings.len(), &*strings[0]), (vec![6], 6, "1000000000.000000:3"));
    }

    #[test]
    fn nan_comes_last_and_integers_are_exact() {
        let scores = Tensor::from_vec(Shape::new(&[4]), vec![f64::NAN, f64::NEG_INFINITY, 1.0, f64::INFINITY]).unwrap();
        assert_eq!(classified(&scores, 4, false, &[]).1, ["inf:3", "1.000000:2", "-inf:1", "nan:0"]);
        let scores = Tensor::from_vec(Shape::new(&[2]), vec![i64::MAX - 1, i64::MAX]).unwrap();
        assert_eq!(classified(&scores, 1, false, &[]).1, ["9223372036854775807:1"]);
    }

    #[test]
    fn empty_outputs_have_no_classes() {
        let none = Tensor::from_vec::<f32>(Shape::new(&[0, 3]), vec![]).unwrap();
        assert_eq!(classified(&none, 2, true, &[]).0, [0, 0]);
        let scalar = Tensor::from_vec(Shape::new(&[]), vec![1.5_f32]).unwrap();
        assert_eq!(classified(&scalar, 2, true, &[]), (vec![1], vec!["1.500000:0".to_owned()]));
    }

    #[test]
    fn a_million_elements_are_the_most() {
        let many = Tensor::zeros(DataType::Fp32, Shape::new(&[1_000_001])).unwrap();
        assert!(classify(&many, NonZeroUsize::MAX, false, None).is_err());
        assert!(classify(&many, NonZeroUsize::MIN, false, None).is_ok());
    }
}
