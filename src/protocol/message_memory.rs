//! The memory that a large gRPC message becomes, estimated before it is parsed.
//!
//! A byte may be a number of eight bytes, and two an empty string of 32. The estimate never falls much below what parsing
//! and decoding take; for tensors, which most large messages are, it is close.

use prost::encoding::decode_varint;

/// In both requests that are large: `ModelInferRequest.inputs`, and the contents of an input.
const INPUTS: u64 = 5;
/// `ModelInferRequest.raw_input_contents`: sliced, and copied where it is not aligned.
const RAW: u64 = 7;
const FEATURES: u64 = 3;
/// `PredictRequest.rows`, whose first field has doubles too.
const ROWS: u64 = 6;
/// `InferTensorContents`: integers of any size, then floats, then strings.
const LAST_INTEGERS: u64 = 5;
const STRINGS: u64 = 8;
/// What an integer takes at most, or a string beside its text (in the message, and in the runtime).
const INTEGER_BYTES: usize = 8;
const STRING_BYTES: usize = 64;
/// Two bytes may be a message of 32.
const OTHER_FACTOR: usize = 16;

/// Estimates the memory of a message's parts and of the tensors that they become, in bytes.
pub(super) fn of_message(message: &[u8]) -> usize {
    let memory_of = |(number, content): (u64, &[u8])| match number {
        RAW => content.len(),
        FEATURES => 2 * content.len(),
        INPUTS => of_input(content),
        ROWS => of_row(content),
        _ => of_other(content),
    };
    fields(message).map(memory_of).sum()
}

fn of_input(input: &[u8]) -> usize {
    let memory_of = |(number, content): (u64, &[u8])| match number {
        INPUTS => of_contents(content),
        _ => of_other(content),
    };
    fields(input).map(memory_of).sum()
}

fn of_contents(contents: &[u8]) -> usize {
    let memory_of = |(number, content): (u64, &[u8])| match number {
        // The last byte of each integer has no high bit.
        ..=LAST_INTEGERS => INTEGER_BYTES * content.iter().filter(|byte| **byte < 0x80).count().max(1),
        STRINGS => content.len() + STRING_BYTES,
        _ => content.len().max(INTEGER_BYTES),
    };
    fields(contents).map(memory_of).sum()
}

fn of_row(row: &[u8]) -> usize {
    fields(row).map(|(number, content)| if number == 1 { 2 * content.len() } else { of_other(content) }).sum()
}

/// A field takes two bytes before its content.
fn of_other(content: &[u8]) -> usize {
    OTHER_FACTOR * (2 + content.len())
}

/// Iterates over the fields with their contents, empty for those of a number alone, to the first that is malformed.
fn fields(message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let before = rest;
        let (number, length) = next_field(&mut rest)?;
        let end = before.len() - rest.len();
        Some((number, &before[end - length.unwrap_or(0)..end]))
    })
}

/// Passes over a field; returns its number, and the bytes that it says it has, where it does. Groups are passed over piece
/// by piece, as if their fields were the message's.
pub(super) fn next_field(rest: &mut &[u8]) -> Option<(u64, Option<usize>)> {
    let tag = decode_varint(rest).ok()?;
    let length = match tag & 7 {
        0 => decode_varint(rest).map(|_value| None).ok()?,
        1 => skip(rest, size_of::<u64>()).map(|()| None)?,
        2 => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            skip(rest, length)?;
            Some(length)
        }
        3 | 4 => None,
        5 => skip(rest, size_of::<u32>()).map(|()| None)?,
        _ => return None,
    };
    Some((tag >> 3, length))
}

fn skip(rest: &mut &[u8], length: usize) -> Option<()> {
    *rest = rest.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::protocol::proto::{
        inference::{InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor},
        onnxd_v1::{PredictRequest, Row, Value},
    };

    fn of_typed(contents: InferTensorContents) -> usize {
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        of_message(&ModelInferRequest { inputs: vec![input], ..Default::default() }.encode_to_vec())
    }

    #[test]
    fn tensors_are_estimated_closely() {
        let raw = ModelInferRequest { raw_input_contents: vec![vec![0; 1000].into()], ..Default::default() };
        assert_eq!(of_message(&raw.encode_to_vec()), 1000);
        assert_eq!(of_typed(InferTensorContents { fp32_contents: vec![0.1; 1000], ..Default::default() }), 4000);
        assert_eq!(of_typed(InferTensorContents { int64_contents: vec![7; 1000], ..Default::default() }), 8000);
        assert_eq!(of_typed(InferTensorContents { int_contents: vec![-1; 1000], ..Default::default() }), 8000);
        let strings = InferTensorContents { bytes_contents: vec!["".into(); 1000], ..Default::default() };
        assert_eq!(of_typed(strings), 64_000);
        let doubles = PredictRequest { features: vec![0.5; 1000], ..Default::default() };
        assert_eq!(of_message(&doubles.encode_to_vec()), 16_000);
    }

    #[test]
    fn nested_messages_of_nothing_are_estimated_at_their_size() {
        let values = vec![Value::default(); 1000];
        let row = Row { values: values.clone(), ..Default::default() };
        let rows = PredictRequest { rows: vec![row], ..Default::default() }.encode_to_vec();
        assert!(of_message(&rows) >= size_of_val(&values[..]), "{}", of_message(&rows));
    }
}
