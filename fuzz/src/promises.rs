//! What every decoder promises of what it accepts and of what it refuses.

use onnxd::{
    error::{Error, ErrorKind},
    model::signature::{Dim, Signature},
    request::{InferRequest, InputTensor, ValidRequest},
};
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

/// What some editors put before text. It is passed over.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest message of an error.
const MAX_MESSAGE_BYTES: usize = 8 << 10;

/// Checks that a request fits the model, and that each tensor has as many elements as its shape says.
pub fn accepted(request: &InferRequest, signature: &Signature) {
    counted(request);
    ValidRequest::new(request.clone(), signature).expect("what is decoded is valid");
}

/// Checks the same of a request that was read row by row, but for the number of rows, which is nothing to its decoder.
pub fn accepted_rows(request: &InferRequest, signature: &Signature) {
    counted(request);
    let has_other_rows = |input: &InputTensor| {
        let spec = signature.input_index(&input.name).map(|index| &signature.inputs[index]).expect("a known input");
        let (dims, shape) = (spec.dims.as_deref(), input.tensor.shape());
        match dims.map(<[Dim]>::split_first) {
            Some(Some((rows, _))) => rows.fixed().is_some_and(|rows| shape.first() != Some(&rows)),
            Some(None) => !shape.is_empty(),
            None => false,
        }
    };
    let valid = ValidRequest::new(request.clone(), signature);
    assert!(valid.is_ok() || request.inputs.iter().any(has_other_rows), "what is decoded is valid: {valid:?}");
}

fn counted(request: &InferRequest) {
    for input in &request.inputs {
        let (shape, count) = (input.tensor.shape(), input.tensor.len());
        assert_eq!(shape.element_count(), Some(count), "input {:?} has the elements of its shape", input.name);
    }
}

/// Checks that an error is the client's, and short.
pub fn refused(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.message().len() <= MAX_MESSAGE_BYTES, "a message is short");
}

/// Checks that what is accepted as JSON is JSON, or has the three numbers that JSON lacks.
pub fn accepted_json(body: &[u8]) {
    let has = |word: &str| body.windows(word.len()).any(|window| window == word.as_bytes());
    assert!(has("NaN") || has("Infinity") || is_json(text_of(body)), "what is accepted is JSON");
}

/// Checks an error about JSON: what is refused for not being JSON is none.
pub fn refused_json(error: &Error, body: &[u8]) {
    refused(error);
    let says_so = error.message().starts_with("Request must be JSON");
    let is_json = || serde_json::from_slice::<Value>(text_of(body)).is_ok();
    assert!(!says_so || !is_json(), "JSON is not refused as if it were none: {error}");
}

/// Returns the document that a body begins with, for protocols that do not look at what follows it.
pub fn document(body: &[u8]) -> &[u8] {
    let body = text_of(body);
    let mut documents = Deserializer::from_slice(body).into_iter::<IgnoredAny>();
    match documents.next() {
        Some(Ok(_)) => &body[..documents.byte_offset()],
        _ => body,
    }
}

fn text_of(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Tells whether text is JSON, at any depth and with numbers of any size.
fn is_json(body: &[u8]) -> bool {
    str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}
