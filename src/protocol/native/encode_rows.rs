//! Predictions, row by row: a class with its probabilities, labels with theirs, a value or several.

use crate::{
    error::{Error, Result},
    json::write::Elements,
    model::{
        signature::Signature,
        task::{Classes, Classification, MultiLabel, Regression},
    },
    protocol::native::{
        encode_classes::{ClassName, ClassOutputs},
        encode_labels::{LabelOutputs, label_names},
        encode_outputs::{check_count, key, output_tensor, write_list},
        envelope::Form,
    },
    request::InferResponse,
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
    Labels { task: MultiLabel, names: Vec<ClassName> },
    Value { output: usize, targets: usize, second_key: Option<Vec<u8>> },
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

    pub(super) fn multi_label(task: MultiLabel, classes: Option<&Classes>) -> Self {
        let names: Vec<_> = label_names(&task, classes).iter().map(|name| ClassName::new(name)).collect();
        let keys: usize = names.iter().map(|name| 2 * name.key.len() + NUMBER_BYTES).sum();
        Self { outputs: RowOutputs::Labels { task, names }, usual_bytes: PREDICTION_BYTES + keys }
    }

    pub(super) fn regression(regression: &Regression) -> Self {
        let second_key = regression.prediction_name.as_deref().filter(|name| *name != "prediction").map(key);
        let targets = regression.targets;
        let usual_bytes = PREDICTION_BYTES + second_key.as_ref().map_or(0, |key| key.len() + targets * NUMBER_BYTES);
        Self { outputs: RowOutputs::Value { output: regression.value, targets, second_key }, usual_bytes }
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
            RowOutputs::Value { output, targets, second_key } => {
                let tensor = output_tensor(response, *output)?;
                let rows = tensor.shape().first().copied().unwrap_or(1);
                check_count(signature, *output, rows * targets, tensor.len())?;
                let values = Elements::of(tensor);
                let write = |buffer: &mut Vec<u8>, row: usize| match *targets {
                    1 => values.write(row, buffer),
                    targets => write_list(buffer, values, row * targets..(row + 1) * targets),
                };
                self.encode_form(buffer, form, rows, |buffer, row| {
                    buffer.extend_from_slice(b"\"prediction\":");
                    write(buffer, row)?;
                    if let Some(key) = second_key {
                        buffer.push(b',');
                        buffer.extend_from_slice(key);
                        write(buffer, row)?;
                    }
                    Ok(())
                })
            }
            RowOutputs::Labels { task, names } => {
                let outputs = LabelOutputs::new(signature, response, task)?;
                self.encode_form(buffer, form, outputs.rows, |buffer, row| outputs.encode_row(buffer, row, names))
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
