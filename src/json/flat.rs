//! Lists of a known number of elements, nested in whatever way: the shape is said elsewhere.

use crate::{
    json::{
        element::{ReadElement, expected, with_element},
        fault::Fault,
        nested::MIN_ELEMENT_BYTES,
        reader::Reader,
        skip::MAX_DEPTH,
    },
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// Reads a list of as many elements as `shape` has, flat or nested, ragged even: only their number and order count. One
/// element may also stand alone, without a list.
///
/// # Errors
/// A fault of value that names the element that is not of this type, or says how many there are instead; or of syntax.
pub fn read_tensor(reader: &mut Reader<'_>, data_type: DataType, shape: &Shape) -> Result<Tensor, Fault> {
    let overflow = || Fault::value(format!("{data_type} {shape} has more elements than fit in memory"));
    let count = shape.element_count().ok_or_else(overflow)?;
    with_element!(data_type, T => {
        let values = read_flat::<T>(reader, count)?;
        T::into_tensor(shape.clone(), values).map_err(|error| Fault::value(error.message()))
    })
}

/// Reads `count` elements in row-major order; where there are more, only counts them.
fn read_flat<T: ReadElement>(reader: &mut Reader<'_>, count: usize) -> Result<Vec<T>, Fault> {
    // However many are said to come, there is room for no more than the text can hold.
    let mut values = Vec::with_capacity(count.min(reader.remaining() / MIN_ELEMENT_BYTES + 1));
    let (mut surplus, mut depth) = (0_usize, 0_usize);
    loop {
        if reader.peek() == b'[' {
            if depth == MAX_DEPTH {
                return Err(Fault::value(format!("expected at most {MAX_DEPTH} levels of nesting, but got more")));
            }
            if reader.open_array()? {
                depth += 1;
                continue;
            }
        } else if values.len() < count {
            let read = T::read(reader);
            values.push(read.map_err(|fault| fault.context(format_args!("element {}", values.len())))?);
        } else {
            reader.skip()?;
            surplus += 1;
        }
        // What has just ended may be the last of its list, and that of the list around it.
        while depth > 0 && !reader.more_elements()? {
            depth -= 1;
        }
        if depth == 0 {
            return match values.len() + surplus {
                found if found == count => Ok(values),
                found => Err(wrong_count::<T>(count, found)),
            };
        }
    }
}

#[cold]
fn wrong_count<T: ReadElement>(expected: usize, got: usize) -> Fault {
    let plural = if expected == 1 { "" } else { "s" };
    let each = self::expected(T::DATA_TYPE);
    Fault::value(format!("expected {expected} value{plural} for its shape, each {each}, but got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, dims: &[usize]) -> Result<Vec<f32>, String> {
        let mut reader = Reader::new(json.as_bytes());
        let tensor = read_tensor(&mut reader, DataType::Fp32, &Shape::new(dims)).map_err(|fault| fault.to_string())?;
        reader.finish().map_err(|fault| fault.to_string())?;
        assert_eq!(&**tensor.shape(), dims);
        Ok(tensor.as_slice().unwrap().to_vec())
    }

    #[test]
    fn only_the_number_and_order_of_elements_count() {
        for json in
            ["[1,2,3,4]", "[[1,2],[3,4]]", "[[1],[2,3,4]]", "[1,[2,[],[3]],4]", "[[[[1,2,3,4]]]]", "[[],1,2,3,4]"]
        {
            assert_eq!(read(json, &[2, 2]).as_deref(), Ok(&[1.0, 2.0, 3.0, 4.0][..]), "{json}");
        }
    }

    #[test]
    fn a_scalar_is_one_element_and_an_empty_shape_none() {
        for json in ["7", "[7]", "[[7]]"] {
            assert_eq!(read(json, &[]), Ok(vec![7.0]), "{json}");
        }
        for json in ["[]", "[[],[]]"] {
            assert_eq!(read(json, &[0, 4]), Ok(vec![]), "{json}");
        }
    }

    #[test]
    fn wrong_numbers_of_elements_are_told() {
        let wrong = |got| Err(format!("expected 4 values for its shape, each a number for FP32, but got {got}"));
        for (json, got) in [("[1,2,3]", 3), ("[]", 0), ("1", 1), ("[1,2,3,4,5,[6]]", 6), ("[[1,2,3,4],[[5]]]", 5)] {
            assert_eq!(read(json, &[4]), wrong(got), "{json}");
        }
        let huge = read("[1]", &[1 << 40]).unwrap_err();
        assert!(huge.starts_with("expected 1099511627776 values"), "{huge}");
    }

    #[test]
    fn what_is_no_element_is_told_with_its_place() {
        assert_eq!(read("[1,\"2\"]", &[2]).unwrap_err(), "element 1: expected a number for FP32, but got \"2\"");
        assert!(read("[1,2", &[2]).unwrap_err().starts_with("Request must be JSON: expected \",\" or \"]\""));
        let deep = "[".repeat(1_000_000);
        assert_eq!(read(&deep, &[1]).unwrap_err(), "expected at most 32 levels of nesting, but got more");
    }
}
