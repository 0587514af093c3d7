//! One value: element type, shape and data that fit each other.

use std::ops::Range;

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;

use crate::{
    error::{Error, Result},
    tensor::{data_type::DataType, shape::Shape},
};

#[cfg(target_endian = "big")]
compile_error!("tensors are little-endian in memory, as they are on the wire");

/// A value: row-major little-endian bytes aligned for their element type, or strings.
///
/// Cloning shares the data. Element count, shape and byte length agree: both constructors check it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    data_type: DataType,
    shape: Shape,
    data: Data,
}

#[derive(Clone, Debug, PartialEq)]
enum Data {
    Raw(Bytes),
    Strings(Vec<Bytes>),
}

/// Lets `Bytes` own a vector of elements, so that decoded values become tensor data without a copy.
struct Elements<T>(Vec<T>);

impl<T: NoUninit> AsRef<[u8]> for Elements<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A Rust type whose values are the elements of a [`DataType`]. BOOL is `u8` on this side: see [`Tensor::from_bools`].
pub trait Element: NoUninit + AnyBitPattern + Send + 'static {
    /// The element type this is.
    const DATA_TYPE: DataType;
}

macro_rules! elements {
    ($($rust:ty => $data_type:ident),+ $(,)?) => {
        $(impl Element for $rust {
            const DATA_TYPE: DataType = DataType::$data_type;
        })+
    };
}

elements! {
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    half::f16 => Fp16, half::bf16 => Bf16, f32 => Fp32, f64 => Fp64,
}

impl Tensor {
    /// Takes `values` in row-major order, without copying.
    ///
    /// # Errors
    /// `InvalidArgument` where their number is not the shape's.
    pub fn from_vec<T: Element>(shape: Shape, values: Vec<T>) -> Result<Self> {
        check_count(T::DATA_TYPE, &shape, values.len())?;
        let data = Data::Raw(Bytes::from_owner(Elements(values)));
        Ok(Self { data_type: T::DATA_TYPE, shape, data })
    }

    /// Takes BOOL values as bytes 0 and 1, without copying.
    ///
    /// # Errors
    /// `InvalidArgument` where their number is not the shape's.
    pub fn from_bools(shape: Shape, values: Vec<bool>) -> Result<Self> {
        check_count(DataType::Bool, &shape, values.len())?;
        let data = Data::Raw(Bytes::from_owner(Elements(values)));
        Ok(Self { data_type: DataType::Bool, shape, data })
    }

    /// Takes strings in row-major order.
    ///
    /// # Errors
    /// `InvalidArgument` where their number is not the shape's.
    pub fn from_strings(shape: Shape, values: Vec<Bytes>) -> Result<Self> {
        check_count(DataType::Bytes, &shape, values.len())?;
        Ok(Self { data_type: DataType::Bytes, shape, data: Data::Strings(values) })
    }

    /// Takes elements as row-major little-endian bytes, copied only where they are not aligned for their type.
    ///
    /// # Errors
    /// `InvalidArgument` where their length is not the shape's, or a BOOL is neither 0 nor 1; `Internal` for BYTES.
    pub fn from_bytes(data_type: DataType, shape: Shape, bytes: Bytes) -> Result<Self> {
        let size = data_type.size().ok_or_else(|| Error::internal("strings are no plain bytes"))?;
        let expected = shape.element_count().and_then(|count| count.checked_mul(size));
        if expected != Some(bytes.len()) {
            let expected = expected.map_or_else(|| "more than fit in memory".to_owned(), |length| length.to_string());
            return Err(Error::invalid(format!("{data_type} {shape} has {expected} bytes, but got {}", bytes.len())));
        }
        if data_type == DataType::Bool
            && let Some(byte) = bytes.iter().find(|byte| **byte > 1)
        {
            return Err(Error::invalid(format!("BOOL elements are the bytes 0 and 1, but got {byte}")));
        }
        let data = if bytes.as_ptr().addr().is_multiple_of(size) { bytes } else { aligned(&[&bytes]) };
        Ok(Self { data_type, shape, data: Data::Raw(data) })
    }

    /// Makes a tensor of zeros: false for BOOL, empty strings for BYTES.
    ///
    /// # Errors
    /// `InvalidArgument` where the shape's product overflows.
    pub fn zeros(data_type: DataType, shape: Shape) -> Result<Self> {
        let overflow = || Error::invalid(format!("{data_type} {shape} has more elements than fit in memory"));
        let count = shape.element_count().ok_or_else(overflow)?;
        let data = match data_type.size() {
            None => Data::Strings(vec![Bytes::new(); count]),
            Some(size) => {
                // Whole words, so that the bytes are aligned for any element type.
                let length = count.checked_mul(size).ok_or_else(overflow)?;
                let words = vec![0_u64; length.div_ceil(size_of::<u64>())];
                Data::Raw(Bytes::from_owner(Elements(words)).slice(..length))
            }
        };
        Ok(Self { data_type, shape, data })
    }

    /// Puts tensors together along axis 0, in their order. One tensor is not copied.
    ///
    /// They must agree in element type and in every other dimension: `[n0, d1, …]` and `[n1, d1, …]` give `[n0 + n1, d1, …]`.
    ///
    /// # Errors
    /// `Internal` where they do not agree, or there is none.
    pub fn concat(tensors: &[&Self]) -> Result<Self> {
        let [first, rest @ ..] = tensors else { return Err(Error::internal("nothing to put together")) };
        if rest.is_empty() {
            return Ok((*first).clone());
        }
        let alike = |other: &&Self| other.data_type == first.data_type && other.shape.get(1..) == first.shape.get(1..);
        if first.shape.is_empty() || !rest.iter().all(alike) {
            return Err(Error::internal("tensors of different types or shapes cannot be put together"));
        }
        let rows = tensors.iter().map(|tensor| tensor.shape[0]).sum();
        let shape = first.shape.with_rows(rows);
        let data = match &first.data {
            Data::Strings(_) => {
                Data::Strings(tensors.iter().filter_map(|tensor| tensor.as_strings()).flatten().cloned().collect())
            }
            Data::Raw(_) => {
                let parts: Vec<&[u8]> =
                    tensors.iter().filter_map(|tensor| tensor.as_bytes()).map(|bytes| &**bytes).collect();
                Data::Raw(aligned(&parts))
            }
        };
        Ok(Self { data_type: first.data_type, shape, data })
    }

    /// Returns rows of axis 0, sharing the data.
    ///
    /// # Errors
    /// `Internal` where there are not so many rows.
    pub fn rows(&self, range: Range<usize>) -> Result<Self> {
        let Some(all) = self.shape.first().copied().filter(|all| range.end <= *all && range.start <= range.end) else {
            return Err(Error::internal(format!("there are no rows {range:?} in {}", self.shape)));
        };
        let row_elements = self.len().checked_div(all).unwrap_or(0);
        let elements = range.start * row_elements..range.end * row_elements;
        let shape = self.shape.with_rows(range.len());
        let data = match &self.data {
            Data::Strings(strings) => Data::Strings(strings[elements].to_vec()),
            Data::Raw(raw) => {
                // Elements begin at multiples of their size, so what was aligned stays so.
                let size = self.data_type.size().unwrap_or(1);
                Data::Raw(raw.slice(elements.start * size..elements.end * size))
            }
        };
        Ok(Self { data_type: self.data_type, shape, data })
    }

    /// Returns the same elements in another shape, sharing the data.
    ///
    /// # Errors
    /// `InvalidArgument` where the shape has more or fewer elements.
    pub fn reshaped(self, shape: Shape) -> Result<Self> {
        check_count(self.data_type, &shape, self.len())?;
        Ok(Self { shape, ..self })
    }

    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Strings(strings) => strings.len(),
            Data::Raw(raw) => raw.len() / self.data_type.size().unwrap_or(1),
        }
    }

    /// Tells whether there are no elements (a dimension is 0).
    pub fn is_empty(&self) -> bool {
        match &self.data {
            Data::Strings(strings) => strings.is_empty(),
            Data::Raw(raw) => raw.is_empty(),
        }
    }

    /// Returns the elements, or `None` where they are not of type `T`.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match &self.data {
            Data::Raw(raw) if T::DATA_TYPE == self.data_type => bytemuck::try_cast_slice(raw).ok(),
            Data::Raw(_) | Data::Strings(_) => None,
        }
    }

    /// Returns the elements as row-major little-endian bytes, or `None` for BYTES.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Raw(raw) => Some(raw),
            Data::Strings(_) => None,
        }
    }

    /// Returns BOOL elements as bytes 0 and 1, or `None` for another type.
    pub fn as_bools(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Raw(raw) if self.data_type == DataType::Bool => Some(raw),
            Data::Raw(_) | Data::Strings(_) => None,
        }
    }

    /// Returns the strings, or `None` for another type.
    pub fn as_strings(&self) -> Option<&[Bytes]> {
        match &self.data {
            Data::Strings(strings) => Some(strings),
            Data::Raw(_) => None,
        }
    }
}

/// Copies bytes one after the other into one buffer, aligned for any element type.
fn aligned(parts: &[&[u8]]) -> Bytes {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut words = vec![0_u64; length.div_ceil(size_of::<u64>())];
    let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let mut start = 0;
    for part in parts {
        buffer[start..start + part.len()].copy_from_slice(part);
        start += part.len();
    }
    Bytes::from_owner(Elements(words)).slice(..length)
}

fn check_count(data_type: DataType, shape: &Shape, got: usize) -> Result<()> {
    match shape.element_count() {
        Some(expected) if expected == got => Ok(()),
        Some(expected) => Err(Error::invalid(format!("{data_type} {shape} has {expected} elements, but got {got}"))),
        None => Err(Error::invalid(format!("{data_type} {shape} has more elements than fit in memory"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_as_they_went_in() {
        let tensor = Tensor::from_vec(Shape::new(&[2, 2]), vec![1.5_f32, -0.0, f32::NAN, 4.0]).unwrap();
        let values = tensor.as_slice::<f32>().unwrap();
        assert_eq!(values[0], 1.5);
        assert!(values[1].is_sign_negative() && values[2].is_nan());
        assert_eq!(tensor.as_slice::<f64>(), None);
        assert_eq!(tensor.len(), 4);
    }

    #[test]
    fn a_scalar_has_one_element_and_an_empty_dimension_none() {
        assert_eq!(Tensor::from_vec(Shape::new(&[]), vec![7_i64]).unwrap().len(), 1);
        assert!(Tensor::from_vec::<i64>(Shape::new(&[0, 4]), vec![]).unwrap().is_empty());
    }

    #[test]
    fn rows_come_apart_and_go_together_again() {
        let all = Tensor::from_vec(Shape::new(&[3, 2]), vec![1_u8, 2, 3, 4, 5, 6]).unwrap();
        let (head, tail) = (all.rows(0..1).unwrap(), all.rows(1..3).unwrap());
        assert_eq!(tail.as_slice::<u8>().unwrap(), [3, 4, 5, 6]);
        assert_eq!(Tensor::concat(&[&head, &tail]).unwrap(), all);
        assert!(all.rows(2..4).is_err());
        let words = Tensor::from_strings(Shape::new(&[2]), vec!["a".into(), "b".into()]).unwrap();
        assert_eq!(Tensor::concat(&[&words.rows(0..1).unwrap(), &words.rows(1..2).unwrap()]).unwrap(), words);
    }

    #[test]
    fn tensors_that_do_not_agree_are_not_put_together() {
        let tensor = |dims: &[usize], count| Tensor::from_vec(Shape::new(dims), vec![0_i64; count]).unwrap();
        assert!(Tensor::concat(&[&tensor(&[1, 2], 2), &tensor(&[1, 3], 3)]).is_err());
        assert!(Tensor::concat(&[&tensor(&[], 1), &tensor(&[], 1)]).is_err());
        assert!(Tensor::concat(&[]).is_err());
    }

    #[test]
    fn bytes_are_copied_only_where_they_are_not_aligned() {
        let whole = aligned(&[&[0, 0, 0, 0, 0, 0, 128, 63, 0, 0, 0, 64]]);
        let shape = Shape::new(&[2]);
        let there = Tensor::from_bytes(DataType::Fp32, shape.clone(), whole.slice(4..)).unwrap();
        assert_eq!(there.as_slice::<f32>().unwrap(), [1.0, 2.0]);
        assert_eq!(there.as_bytes().unwrap().as_ptr(), whole[4..].as_ptr());
        let moved = aligned(&[&[0], &whole[4..]]).slice(1..);
        assert_eq!(Tensor::from_bytes(DataType::Fp32, shape, moved).unwrap(), there);
    }

    #[test]
    fn bytes_that_are_no_elements_are_refused() {
        let refuse = |data_type, dims: &[usize], bytes: &'static [u8]| {
            Tensor::from_bytes(data_type, Shape::new(dims), Bytes::from_static(bytes)).unwrap_err().to_string()
        };
        assert_eq!(refuse(DataType::Int16, &[3], &[0; 5]), "INT16 [3] has 6 bytes, but got 5");
        assert!(refuse(DataType::Int64, &[usize::MAX], &[0; 8]).contains("more than fit in memory"));
        assert_eq!(refuse(DataType::Bool, &[2], &[1, 2]), "BOOL elements are the bytes 0 and 1, but got 2");
    }

    #[test]
    fn a_count_that_is_not_the_shapes_is_refused() {
        let error = Tensor::from_vec(Shape::new(&[2, 3]), vec![0_u8; 5]).unwrap_err();
        assert_eq!(error.message(), "UINT8 [2, 3] has 6 elements, but got 5");
        let error = Tensor::from_vec(Shape::new(&[usize::MAX, 2]), vec![0_u8]).unwrap_err();
        assert!(error.message().contains("more elements than fit in memory"));
    }
}
