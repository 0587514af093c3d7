//! Tensors as bytes: little-endian and row-major, BOOL one byte each, BYTES each with its length in four bytes before it.

use bytes::{BufMut, Bytes};

use crate::{
    error::{Error, Result},
    protocol::oip::inputs::DeclaredInput,
    tensor::tensor::Tensor,
};

/// The bytes that tell the length of a string.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Makes a tensor of an input's bytes. Numbers are not copied where they are aligned for their type; strings are.
///
/// # Errors
/// `InvalidArgument` where they are not as many as the shape says; nothing of the shape's size is allocated before that.
pub fn read(input: &DeclaredInput<'_>, bytes: Bytes) -> Result<Tensor> {
    let Some(size) = input.data_type().size() else { return read_strings(input, &bytes) };
    let expected = input.count() * size;
    if bytes.len() != expected {
        return Err(Error::invalid(format!(
            "input byte size mismatch for input '{}' for model '{}'. Expected {expected}, got {}",
            input.name(),
            input.model(),
            bytes.len()
        )));
    }
    Tensor::from_bytes(input.data_type(), input.shape().clone(), bytes)
        .map_err(|error| error.context(format_args!("input '{}'", input.name())))
}

fn read_strings(input: &DeclaredInput<'_>, bytes: &Bytes) -> Result<Tensor> {
    let (name, expected) = (input.name(), input.count());
    // There may be fewer than the shape says, but no more than there are lengths.
    let mut strings = Vec::with_capacity(expected.min(bytes.len() / LENGTH_BYTES));
    let mut rest = &**bytes;
    while !rest.is_empty() {
        if strings.len() == expected {
            return Err(Error::invalid(format!(
                "unexpected number of string elements {} for inference input '{name}', expecting {expected}",
                expected + 1
            )));
        }
        let Some((length, after)) = rest.split_first_chunk() else {
            return Err(Error::invalid(format!(
                "incomplete string length indicator for inference input '{name}', expecting {LENGTH_BYTES} bytes but only {} bytes available",
                rest.len()
            )));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let Some((string, after)) = after.split_at_checked(length) else {
            return Err(Error::invalid(format!(
                "incomplete string data for inference input '{name}', expecting string of length {length} but only {} bytes available",
                after.len()
            )));
        };
        strings.push(bytes.slice_ref(string));
        rest = after;
    }
    if strings.len() != expected {
        return Err(Error::invalid(format!(
            "expected {expected} string elements for inference input '{name}', got {}",
            strings.len()
        )));
    }
    Tensor::from_strings(input.shape().clone(), strings)
}

/// Returns how many bytes [`write()`] writes.
pub fn size(tensor: &Tensor) -> usize {
    match (tensor.as_bytes(), tensor.as_strings()) {
        (Some(bytes), _) => bytes.len(),
        (None, strings) => strings.into_iter().flatten().map(|string| LENGTH_BYTES + string.len()).sum(),
    }
}

/// Returns a tensor as bytes, without copying numbers.
///
/// # Errors
/// `InvalidArgument` where a string is too long for its length to be told.
pub fn bytes(tensor: &Tensor) -> Result<Bytes> {
    if let Some(bytes) = tensor.as_bytes() {
        return Ok(bytes.clone());
    }
    let mut buffer = Vec::with_capacity(size(tensor));
    write(&mut buffer, tensor)?;
    Ok(buffer.into())
}

/// Writes a tensor as bytes.
///
/// # Errors
/// `InvalidArgument` where a string is too long for its length to be told.
pub fn write(buffer: &mut Vec<u8>, tensor: &Tensor) -> Result<()> {
    if let Some(bytes) = tensor.as_bytes() {
        buffer.extend_from_slice(bytes);
        return Ok(());
    }
    for string in tensor.as_strings().into_iter().flatten() {
        let too_long = |_| Error::invalid(format!("a string of {} bytes is too long for the wire", string.len()));
        buffer.put_u32_le(string.len().try_into().map_err(too_long)?);
        buffer.extend_from_slice(string);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::signature::{Dim, Signature, TensorSpec},
        protocol::oip::inputs::{Inputs, Target},
        tensor::data_type::DataType,
    };

    fn read_as(data_type: DataType, dims: &[i64], raw: &[u8]) -> Result<Tensor> {
        let any = dims.iter().map(|_| Dim::Dynamic(None)).collect();
        let spec = TensorSpec { name: "x".into(), data_type, dims: Some(any) };
        let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
        let mut inputs = Inputs::new(Target { name: "m", signature: &signature });
        read(&inputs.declare("x", data_type.name(), dims.iter().copied())?, Bytes::copy_from_slice(raw))
    }

    fn refuse(data_type: DataType, dims: &[i64], raw: &[u8]) -> String {
        read_as(data_type, dims, raw).unwrap_err().to_string()
    }

    #[test]
    fn bytes_go_in_and_come_out_the_same() {
        for data_type in DataType::ALL {
            let raw = match data_type.size() {
                Some(size) => [1, 0].repeat(size * 3),
                None => b"\x01\0\0\0\0\x00\0\0\0\x02\0\0\0\xff\xfe\x03\0\0\0a\0b\0\0\0\0\0\0\0\0".to_vec(),
            };
            let tensor = read_as(data_type, &[2, 3], &raw).unwrap();
            assert_eq!(bytes(&tensor).unwrap(), raw, "{data_type}");
            assert_eq!(size(&tensor), raw.len(), "{data_type}");
        }
        assert!(read_as(DataType::Bytes, &[0, 4], b"").unwrap().is_empty());
    }

    #[test]
    fn strings_keep_nul_and_what_is_not_utf8() {
        let tensor = read_as(DataType::Bytes, &[2], b"\x03\0\0\0a\0b\x01\0\0\0\xff").unwrap();
        assert_eq!(tensor.as_strings().unwrap(), [&b"a\0b"[..], &b"\xff"[..]]);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_in_the_words_that_clients_look_for() {
        assert_eq!(
            refuse(DataType::Fp32, &[1, 4], &[0; 15]),
            "input byte size mismatch for input 'x' for model 'm'. Expected 16, got 15"
        );
        assert!(refuse(DataType::Fp32, &[0, 4], &[0]).contains("Expected 0, got 1"));
        assert!(refuse(DataType::Bytes, &[1], &[0; 3]).starts_with("incomplete string length indicator"));
        assert!(refuse(DataType::Bytes, &[1], b"\x05\0\0\0abcd").starts_with("incomplete string data"));
        assert!(refuse(DataType::Bytes, &[1], &[0; 8]).starts_with("unexpected number of string elements 2"));
        assert_eq!(refuse(DataType::Bytes, &[3], &[0; 8]), "expected 3 string elements for inference input 'x', got 2");
        // A shape of a million million strings with no data makes no room for them.
        assert!(refuse(DataType::Bytes, &[1_000_000, 1_000_000], &[0; 4]).starts_with("expected 1000000000000 string"));
    }
}
