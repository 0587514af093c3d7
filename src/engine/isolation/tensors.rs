//! Tensors in and out of the shared memory.

use std::io;

use bytes::Bytes;

use crate::{
    engine::isolation::{
        segment::Segment,
        wire::{Place, Places, data_type_of, index_of},
    },
    error::{Error, Result},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// Tensors begin at multiples of this, so that they are aligned for any element type and for the runtime's vectors.
const ALIGNMENT: usize = 64;
/// Before each string stands its length, in so many bytes.
const STRING_LENGTH: usize = size_of::<u64>();

/// Copies tensors into the shared memory from `start` on, and returns where they are.
pub(super) fn put(segment: &mut Segment, tensors: &[Tensor], start: usize) -> Result<Places> {
    let lengths: Vec<usize> = tensors.iter().map(encoded_length).collect();
    let mut end = start;
    let mut offsets = Vec::with_capacity(tensors.len());
    for length in &lengths {
        let overflow = || Error::internal("tensors of more than 2^64 bytes");
        let offset = end.checked_next_multiple_of(ALIGNMENT).ok_or_else(overflow)?;
        end = offset.checked_add(*length).ok_or_else(overflow)?;
        offsets.push(offset);
    }
    segment.reserve(end).map_err(out_of_memory)?;
    let mut places = Vec::with_capacity(tensors.len());
    for ((tensor, length), offset) in tensors.iter().zip(lengths).zip(offsets) {
        write(segment, tensor, offset).map_err(out_of_memory)?;
        places.push(Place {
            data_type: index_of(tensor.data_type()),
            dims: tensor.shape().iter().map(|dim| *dim as u64).collect(),
            offset: offset as u64,
            length: length as u64,
        });
    }
    Ok(Places { tensors: places })
}

/// Returns where the last of the tensors ends.
pub(super) fn end_of(places: &Places) -> usize {
    let end = |place: &Place| usize::try_from(place.offset.saturating_add(place.length)).unwrap_or(usize::MAX);
    places.tensors.iter().map(end).max().unwrap_or(0)
}

fn encoded_length(tensor: &Tensor) -> usize {
    match (tensor.as_bytes(), tensor.as_strings()) {
        (Some(bytes), _) => bytes.len(),
        (None, Some(strings)) => strings.iter().map(|string| STRING_LENGTH + string.len()).sum(),
        (None, None) => 0,
    }
}

fn write(segment: &mut Segment, tensor: &Tensor, offset: usize) -> io::Result<()> {
    if let Some(bytes) = tensor.as_bytes() {
        segment.write(offset, bytes)?;
    }
    let mut at = offset;
    for string in tensor.as_strings().into_iter().flatten() {
        segment.write(at, &(string.len() as u64).to_le_bytes())?;
        segment.write(at + STRING_LENGTH, string)?;
        at += STRING_LENGTH + string.len();
    }
    Ok(())
}

/// Reads a tensor; `bytes_at` copies or lends the bytes at an offset and of a length.
///
/// # Errors
/// `Internal` where the place is none, or its bytes are not the shape's.
pub(super) fn take(place: &Place, bytes_at: impl FnOnce(usize, usize) -> io::Result<Option<Bytes>>) -> Result<Tensor> {
    let misplaced = || Error::internal(format!("a tensor lies outside of the shared memory: {place:?}"));
    let (Ok(offset), Ok(length)) = (usize::try_from(place.offset), usize::try_from(place.length)) else {
        return Err(misplaced());
    };
    let dims = place.dims.iter().map(|dim| usize::try_from(*dim).map_err(Error::internal));
    let shape = dims.collect::<Result<Shape>>()?;
    let bytes = bytes_at(offset, length).map_err(out_of_memory)?.ok_or_else(misplaced)?;
    let tensor = match data_type_of(place.data_type)? {
        DataType::Bytes => Tensor::from_strings(shape, strings(bytes)?),
        data_type => Tensor::from_bytes(data_type, shape, bytes),
    };
    tensor.map_err(|error| Error::internal(error.to_string()))
}

/// Cuts strings out of their bytes; they share one copy.
fn strings(mut bytes: Bytes) -> Result<Vec<Bytes>> {
    let cut_off = || Error::internal("a string in the shared memory is cut off");
    let mut strings = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.first_chunk().map(|length| u64::from_le_bytes(*length)).ok_or_else(cut_off)?;
        let rest = bytes.slice(STRING_LENGTH..);
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or_else(cut_off)?;
        strings.push(rest.slice(..length));
        bytes = rest.slice(length..);
    }
    Ok(strings)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn out_of_memory(error: io::Error) -> Error {
    Error::internal(format!("no memory for tensors: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_come_out_as_they_went_in() {
        let tensors = [
            Tensor::from_vec(Shape::new(&[2, 1]), vec![1.5_f32, f32::INFINITY]).unwrap(),
            Tensor::from_vec(Shape::new(&[]), vec![half::f16::ONE]).unwrap(),
            Tensor::from_strings(Shape::new(&[3]), vec!["a\0b".into(), "".into(), Bytes::from_static(&[255])]).unwrap(),
            Tensor::from_bools(Shape::new(&[3]), vec![true, false, true]).unwrap(),
            Tensor::from_vec::<i64>(Shape::new(&[0, 4]), vec![]).unwrap(),
            Tensor::from_vec(Shape::new(&[100_000]), (0..100_000).collect::<Vec<i64>>()).unwrap(),
        ];
        let mut segment = Segment::create().unwrap();
        let places = put(&mut segment, &tensors, 100).unwrap();
        for (place, tensor) in places.tensors.iter().zip(&tensors) {
            let lent = take(place, |offset, length| segment.lend(offset, length)).unwrap();
            assert_eq!(lent, *tensor);
            let copied = take(place, |offset, length| Ok(segment.read(offset, length)?.map(Bytes::from))).unwrap();
            assert_eq!(copied, *tensor);
        }
        assert!(places.tensors.iter().all(|place| place.offset >= 100));
        assert_eq!(end_of(&places) as u64, places.tensors[5].offset + 800_000);
    }

    #[test]
    fn what_is_not_a_tensor_is_an_error_of_ours() {
        let place = |data_type, dims: &[u64], offset, length| Place { data_type, dims: dims.to_vec(), offset, length };
        let mut segment = Segment::create().unwrap();
        segment.write(0, &u64::MAX.to_le_bytes()).unwrap();
        let fp32 = index_of(DataType::Fp32);
        for place in [
            place(99, &[1], 0, 4),
            place(fp32, &[2], 0, 4),
            place(fp32, &[1], 1 << 40, 4),
            place(fp32, &[u64::MAX, 2], 0, 4),
            place(index_of(DataType::Bytes), &[1], 0, 8),
            place(index_of(DataType::Bytes), &[1], 0, 3),
            place(index_of(DataType::Bool), &[1], 0, 1),
        ] {
            let error = take(&place, |offset, length| segment.lend(offset, length)).unwrap_err();
            assert_eq!(error.message(), "internal error", "{place:?}");
        }
    }
}
