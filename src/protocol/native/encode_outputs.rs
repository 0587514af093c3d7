//! Outputs of a run, and the pieces of JSON that every form of an answer has.

use std::ops::Range;

use crate::{
    error::{Error, Result},
    json::write::{Elements, write_string},
    model::signature::Signature,
    request::InferResponse,
    tensor::tensor::Tensor,
};

pub(super) fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_string(&mut key, name);
    key.push(b':');
    key
}

/// Writes a row's values as a list.
pub(super) fn write_list(buffer: &mut Vec<u8>, values: Elements<'_>, columns: Range<usize>) -> Result<()> {
    let start = columns.start;
    for column in columns {
        buffer.push(if column == start { b'[' } else { b',' });
        values.write(column, buffer)?;
    }
    buffer.push(b']');
    Ok(())
}

/// Returns an output of a run.
pub(in crate::protocol) fn output_tensor(response: &InferResponse, output: usize) -> Result<&Tensor> {
    let missing = || Error::internal(format!("expected output {output}, but the run gave {}", response.outputs.len()));
    response.outputs.get(output).ok_or_else(missing)
}

/// Checks that an output has as many values as the others say.
pub(in crate::protocol) fn check_count(
    signature: &Signature,
    output: usize,
    expected: usize,
    got: usize,
) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let name = &signature.outputs[output].tensor.name;
    Err(Error::internal(format!("output {name:?}: expected {expected} values, but got {got}")))
}
