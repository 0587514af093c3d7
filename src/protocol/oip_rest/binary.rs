//! The binary tensor extension: where the JSON ends and the bytes begin, and bodies that are bytes alone.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::{
    error::{Error, Result},
    model::signature::{Dim, TensorSpec},
    protocol::oip::{
        inputs::{Inputs, Target, quoted},
        raw,
    },
    request::InferRequest,
    tensor::{data_type::DataType, tensor::Tensor},
};

/// Says how long the JSON is that bytes follow.
pub const INFERENCE_HEADER_CONTENT_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

#[derive(Debug, PartialEq)]
pub enum Parts {
    /// JSON, and the bytes of tensors after it.
    Json { json: Bytes, binary: Bytes },
    /// One tensor's bytes and nothing else.
    Raw(Bytes),
}

/// Takes a body apart as `header` says; without it all of the body is JSON.
///
/// # Errors
/// `InvalidArgument` where the header is no number, or larger than the body.
pub fn split(header: Option<&HeaderValue>, mut body: Bytes) -> Result<Parts> {
    let Some(header) = header else { return Ok(Parts::Json { json: body, binary: Bytes::new() }) };
    let length = header.to_str().ok().and_then(|text| text.trim().parse().ok());
    match length.filter(|length| *length <= body.len()) {
        Some(0) => Ok(Parts::Raw(body)),
        Some(length) => {
            let binary = body.split_off(length);
            Ok(Parts::Json { json: body, binary })
        }
        None => Err(Error::invalid(format!(
            "inference header size should be in range (0, {}), got: {}",
            body.len(),
            String::from_utf8_lossy(header.as_bytes())
        ))),
    }
}

/// Returns how much of a body is walked through byte by byte; `strings` says that strings may be after the JSON.
pub(crate) fn walked_bytes(header: Option<&HeaderValue>, body: &Bytes, strings: bool) -> usize {
    // Copying, where bytes are not aligned, is so much faster than parsing.
    const COPIED_PER_PARSED: usize = 16;
    match split(header, body.clone()) {
        Ok(Parts::Json { json, binary }) if strings => json.len() + binary.len(),
        Ok(Parts::Json { json, binary }) => json.len() + binary.len() / COPIED_PER_PARSED,
        Ok(Parts::Raw(body)) => body.len() / COPIED_PER_PARSED,
        Err(_) => 0,
    }
}

/// Makes a request of the bytes of the only input. A dynamic dimension is what the bytes make it; there may be one, beside
/// axis 0 where that counts rows (`batched`): it is 1. Of BYTES, the whole body is one element.
///
/// # Errors
/// `InvalidArgument` where the model has several inputs, or the bytes are no tensor of the one it has.
pub fn read_raw(target: Target<'_>, batched: bool, body: Bytes) -> Result<InferRequest> {
    let [spec] = &target.signature.inputs[..] else {
        return Err(Error::invalid(format!(
            "expected a model with one input for a request of bytes alone, but model {} has {}",
            quoted(target.name),
            target.signature.inputs.len()
        )));
    };
    let dims = raw_dims(spec, batched, body.len())
        .map_err(|error| error.context(format_args!("input {}", quoted(&spec.name))))?;
    let mut inputs = Inputs::new(target);
    let input = inputs.declare(&spec.name, spec.data_type.name(), dims)?;
    let tensor = match spec.data_type {
        DataType::Bytes => Tensor::from_strings(input.shape().clone(), vec![body])?,
        _ => raw::read(&input, body)?,
    };
    inputs.push(&input, tensor);
    inputs.finish()
}

/// Works out the shape of a tensor of so many bytes.
fn raw_dims(spec: &TensorSpec, batched: bool, length: usize) -> Result<Vec<i64>> {
    let any_rank = [Dim::Dynamic(None)];
    let declared = spec.dims.as_deref().unwrap_or(&any_rank);
    let size = spec.data_type.size();
    let (mut dims, mut open, mut fixed) = (Vec::with_capacity(declared.len()), None, size.unwrap_or(1));
    for (axis, dim) in declared.iter().enumerate() {
        let size = match (dim.fixed(), size) {
            (Some(fixed), _) => fixed,
            (None, None) => 1,
            (None, _) if axis == 0 && batched => 1,
            (None, _) if open.is_none() => {
                open = Some(axis);
                1
            }
            (None, _) => {
                return Err(Error::invalid(format!(
                    "expected at most one dynamic dimension for a request of bytes alone, but it is {spec}"
                )));
            }
        };
        fixed = fixed.saturating_mul(size);
        dims.push(i64::try_from(size).unwrap_or(i64::MAX));
    }
    match (open, size) {
        (Some(axis), _) => dims[axis] = i64::try_from(length.checked_div(fixed).unwrap_or(0)).unwrap_or(i64::MAX),
        (None, None) if fixed != 1 => {
            return Err(Error::invalid(format!("expected one string for a request of bytes alone, but it is {spec}")));
        }
        (None, _) => {}
    }
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::signature::Signature;

    fn header(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn the_header_says_where_the_json_ends() {
        let body = Bytes::from_static(b"{}1234");
        let json = |json: &'static str, binary: &'static str| Parts::Json { json: json.into(), binary: binary.into() };
        assert_eq!(split(None, body.clone()).unwrap(), json("{}1234", ""));
        assert_eq!(split(Some(&header("2")), body.clone()).unwrap(), json("{}", "1234"));
        assert_eq!(split(Some(&header("6")), body.clone()).unwrap(), json("{}1234", ""));
        assert_eq!(split(Some(&header("0")), body.clone()).unwrap(), Parts::Raw(body));
    }

    #[test]
    fn headers_out_of_range_are_refused() {
        for text in ["7", "-1", "x", "", "1.5", "99999999999999999999"] {
            let error = split(Some(&header(text)), Bytes::from_static(b"{}1234")).unwrap_err();
            assert_eq!(error.message(), format!("inference header size should be in range (0, 6), got: {text}"));
        }
    }

    #[test]
    fn bytes_alone_are_the_only_input() {
        let read = |data_type, dims: &[Option<usize>], batched, bytes: usize| {
            let dims = dims.iter().map(|dim| dim.map_or(Dim::Dynamic(None), Dim::Fixed)).collect();
            let spec = TensorSpec { name: "x".into(), data_type, dims: Some(dims) };
            let signature = Signature { inputs: vec![spec], outputs: Vec::new() };
            let target = Target { name: "m", signature: &signature };
            read_raw(target, batched, vec![0; bytes].into())
                .map(|request| request.inputs[0].tensor.shape().to_vec())
                .map_err(|error| error.message().to_owned())
        };
        assert_eq!(read(DataType::Fp32, &[None, Some(4)], true, 16), Ok(vec![1, 4]));
        assert_eq!(read(DataType::Fp32, &[None, Some(4)], false, 48), Ok(vec![3, 4]));
        assert_eq!(read(DataType::Fp32, &[None, None], true, 12), Ok(vec![1, 3]));
        assert_eq!(read(DataType::Fp64, &[], false, 8), Ok(vec![]));
        assert_eq!(read(DataType::Fp64, &[None, Some(0)], false, 0), Ok(vec![0, 0]));
        assert_eq!(read(DataType::Bytes, &[None, Some(1)], true, 9), Ok(vec![1, 1]));
        assert!(read(DataType::Fp32, &[None, Some(4)], true, 32).unwrap_err().contains("Expected 16, got 32"));
        assert!(read(DataType::Fp32, &[None, Some(4)], false, 17).unwrap_err().contains("Expected 16, got 17"));
        assert!(read(DataType::Fp32, &[None, None], false, 16).unwrap_err().contains("at most one dynamic dimension"));
        assert!(read(DataType::Bytes, &[Some(2)], false, 4).unwrap_err().contains("one string"));
    }
}
