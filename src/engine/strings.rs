//! String tensors, byte for byte: `ort`'s own calls cut strings at NUL and refuse what is not UTF-8.

use std::{ffi::c_char, ptr};

use bytes::Bytes;
use ort::{
    AsPointer,
    memory::Allocator,
    session::SessionInputValue,
    value::{DynTensor, DynValue, TensorElementType},
};

use crate::{
    engine::{
        dims::{dims_of, shape_of},
        run_memory::{Charging, Held},
    },
    error::{Error, Result},
    tensor::tensor::Tensor,
};

/// Copies strings into a tensor of the runtime.
#[expect(unsafe_code, reason = "ort has no call that takes strings with a length")]
pub(super) fn to_runtime(tensor: &Tensor) -> Result<SessionInputValue<'static>> {
    let strings = tensor.as_strings().ok_or_else(|| Error::internal("a tensor is not of its own type"))?;
    let shape = dims_of(tensor.shape())?;
    let mut value = DynTensor::new(&Allocator::default(), TensorElementType::String, shape).map_err(Error::internal)?;
    for (index, string) in strings.iter().enumerate() {
        let mut buffer: *mut c_char = ptr::null_mut();
        // SAFETY: the value is a string tensor of `strings.len()` elements that nothing else refers to, and `index` is
        // one of them. The call makes the element `string.len()` bytes long and says where they are.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(value.ptr_mut(), index, string.len(), &raw mut buffer)
        };
        // SAFETY: the status is fresh from the call and is taken once.
        unsafe { ort::Error::result_from_status(status) }.map_err(Error::internal)?;
        // SAFETY: `buffer` has room for `string.len()` bytes, was just allocated, and so does not overlap the request's.
        unsafe { ptr::copy_nonoverlapping(string.as_ptr(), buffer.cast(), string.len()) };
    }
    Ok(value.into_dyn().into())
}

/// The bytes of strings that are charged to the memory of runs.
struct Content {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Copies strings out of the runtime: one buffer, shared by all of them.
#[expect(unsafe_code, reason = "ort has no call that gives strings that are not UTF-8")]
pub(super) fn from_runtime(value: &DynValue, charging: &Charging) -> Result<Tensor> {
    let Some(shape) = value.dtype().tensor_shape() else {
        return Err(Error::internal(format!("expected strings, but the runtime gave {}", value.dtype())));
    };
    let shape = shape_of(shape)?;
    let count = shape.element_count().ok_or_else(|| Error::internal("a shape overflows"))?;
    let mut length = 0;
    // SAFETY: the value is a live tensor; the call fails with a status if it is not one of strings.
    let status = unsafe { (ort::api().GetStringTensorDataLength)(value.ptr(), &raw mut length) };
    // SAFETY: the status is fresh from the call and is taken once.
    unsafe { ort::Error::result_from_status(status) }.map_err(Error::internal)?;
    // Each string takes its place in a list, and the offset while they are copied.
    let bytes = length.saturating_add(count.saturating_mul(size_of::<Bytes>() + size_of::<usize>()));
    let held = charging.hold_answer(bytes, count)?;
    let (mut content, mut offsets) = (vec![0_u8; length], vec![0_usize; count]);
    // SAFETY: `content` has the length that the runtime just asked for, and `offsets` one place per element.
    let status = unsafe {
        (ort::api().GetStringTensorContent)(
            value.ptr(),
            content.as_mut_ptr().cast(),
            length,
            offsets.as_mut_ptr(),
            count,
        )
    };
    // SAFETY: the status is fresh from the call and is taken once.
    unsafe { ort::Error::result_from_status(status) }.map_err(Error::internal)?;
    let content = Bytes::from_owner(Content { bytes: content, _held: held });
    let ends = offsets.iter().skip(1).copied().chain([length]);
    let strings = offsets.iter().zip(ends).map(|(start, end)| content.slice(*start..end)).collect();
    Tensor::from_strings(shape, strings)
}
