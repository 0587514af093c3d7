//! Predictions, row by row: a class with its probabilities, or a value.

use crate::{
    error::{Error, Result},
    json::write::Elements,
    model::{
        signature::Signature,
        task::{Classes, Classification, Regression},
    },
    protocol::native::{
        decode::Form,
        encode::key,
        encode_classes::{ClassName, ClassOutputs},
    },
    request::InferResponse,
    tensor::tensor::Tensor,
};

/// Room for one number with its comma.
const NUMBER_BYTES: usize = 14;
/// Room for the keys of a prediction and its values without probabilities.
const PREDICTION_BYTES: usize = 96;

/// Writes what the outputs say of each row.
#[derive(Debug)]
pub(super) struct RowEncoder {
    outputs: RowOutputs,
    /// Room that a row usually needs.
    usual_bytes: usize,
}

#[derive(Debug)]
enum RowOutputs {
    Classes { classification: Classification, classes: Option<Classes>, names: Vec<ClassName> },
    Value { output: usize, second_key: Option<Vec<u8>> },
}

impl RowEncoder {
    pub(super) fn classification(classification: Classification, classes: Option<&Classes>) -> Self {
        let names: Vec<_> =
            classes.iter().flat_map(|classes| &classes.names).map(|name| ClassName::new(name)).collect();
        let longest = names.iter().map(|name| name.quoted.len()).max().unwrap_or(0);
        let keys: usize = names.iter().map(|name| name.key.len() + NUMBER_BYTES).sum();
        let usual_bytes = PREDICTION_BYTES + longest + keys;
        Self { outputs: RowOutputs::Classes { classification, classes: classes.cloned(), names }, usual_bytes }
    }

    pub(super) fn regression(regression: &Regression) -> Self {
        let second_key = regression.prediction_name.as_deref().filter(|name| *name != "prediction").map(key);
        let usual_bytes = PREDICTION_BYTES + second_key.as_ref().map_or(0, |key| key.len() + NUMBER_BYTES);
        Self { outputs: RowOutputs::Value { output: regression.value, second_key }, usual_bytes }
    }

    /// Returns the room that a row usually needs.
    pub(super) fn usual_bytes(&self) -> usize {
        self.usual_bytes
    }

    /// Writes the members of the answer after its head.
    pub(super) fn encode(
        &self,
        buffer: &mut Vec<u8>,
        signature: &Signature,
        response: &InferResponse,
        form: Form,
    ) -> Result<()> {
        match &self.outputs {
            RowOutputs::Value { output, second_key } => {
                let tensor = output_tensor(response, *output)?;
                let rows = tensor.shape().first().copied().unwrap_or(1);
                check_count(signature, *output, rows, tensor.len())?;
                let values = Elements::of(tensor);
                self.encode_form(buffer, form, rows, |buffer, row| {
                    buffer.extend_from_slice(b"\"prediction\":");
                    values.write(row, buffer)?;
                    if let Some(key) = second_key {
                        buffer.push(b',');
                        buffer.extend_from_slice(key);
                        values.write(row, buffer)?;
                    }
                    Ok(())
                })
            }
            RowOutputs::Classes { classification, classes, names } => {
                let outputs = ClassOutputs::new(signature, response, classification)?;
                let numbered: Vec<_>;
                let keys = match outputs.width == names.len() {
                    true => names,
                    // The classes are not known, or the numbers are one a pair of classes, say.
                    false => {
                        numbered = (0..outputs.width).map(|class| ClassName::new(&class.to_string())).collect();
                        &numbered
                    }
                };
                self.encode_form(buffer, form, outputs.rows, |buffer, row| {
                    outputs.encode_row(buffer, row, classes.as_ref().map(|classes| (classes, &names[..])), keys)
                })
            }
        }
    }

    fn encode_form(
        &self,
        buffer: &mut Vec<u8>,
        form: Form,
        rows: usize,
        encode_row: impl Fn(&mut Vec<u8>, usize) -> Result<()>,
    ) -> Result<()> {
        match form {
            Form::One if rows != 1 => Err(Error::internal(format!("expected outputs of 1 row, but got {rows}"))),
            Form::One => {
                buffer.push(b',');
                encode_row(buffer, 0)
            }
            Form::Many => {
                buffer.reserve(self.usual_bytes.saturating_mul(rows));
                buffer.extend_from_slice(b",\"predictions\":[");
                for row in 0..rows {
                    buffer.extend_from_slice(if row == 0 { b"{" } else { b",{" });
                    encode_row(buffer, row)?;
                    buffer.push(b'}');
                }
                buffer.push(b']');
                Ok(())
            }
        }
    }
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
