//! What a multi-label classifier says of a row: zeros and ones, the labels that hold, the probabilities by name.

use crate::{
    error::Result,
    json::write::Elements,
    model::{
        signature::Signature,
        task::{Classes, MultiLabel},
    },
    protocol::native::{
        encode_classes::{ClassName, write_probabilities},
        encode_outputs::{check_count, output_tensor, write_list},
    },
    request::InferResponse,
};

/// The outputs of one run of a multi-label classifier.
pub(in crate::protocol) struct LabelOutputs<'a> {
    /// 1 for each label that holds, 0 for the others, row by row.
    pub(in crate::protocol) indicators: Elements<'a>,
    /// One a label, row by row.
    pub(in crate::protocol) probabilities: Elements<'a>,
    width: usize,
    /// Rows.
    pub(in crate::protocol) rows: usize,
}

impl<'a> LabelOutputs<'a> {
    /// Finds the outputs by what they mean.
    ///
    /// # Errors
    /// `Internal` where they are not of `width` values a row.
    pub(in crate::protocol) fn new(
        signature: &Signature,
        response: &'a InferResponse,
        task: &MultiLabel,
    ) -> Result<Self> {
        let indicators = output_tensor(response, task.indicators)?;
        let probabilities = output_tensor(response, task.probabilities)?;
        let rows = indicators.shape().first().copied().unwrap_or(1);
        check_count(signature, task.indicators, rows * task.width, indicators.len())?;
        check_count(signature, task.probabilities, rows * task.width, probabilities.len())?;
        let (indicators, probabilities) = (Elements::of(indicators), Elements::of(probabilities));
        Ok(Self { indicators, probabilities, width: task.width, rows })
    }

    /// Returns the places of a row's values among all of them.
    pub(in crate::protocol) fn columns(&self, row: usize) -> std::ops::Range<usize> {
        row * self.width..(row + 1) * self.width
    }

    /// Returns the labels that a row has, by number.
    pub(in crate::protocol) fn labels(&self, row: usize) -> impl Iterator<Item = usize> {
        let holds = |column: &usize| self.indicators.integer(*column) != Some(0);
        self.columns(row).filter(holds).map(move |column| column - row * self.width)
    }

    /// Writes one prediction. `names` are the labels', one each.
    pub(super) fn encode_row(&self, buffer: &mut Vec<u8>, row: usize, names: &[ClassName]) -> Result<()> {
        buffer.extend_from_slice(b"\"prediction\":");
        write_list(buffer, self.indicators, self.columns(row))?;
        buffer.extend_from_slice(b",\"labels\":[");
        for (place, label) in self.labels(row).enumerate() {
            if place > 0 {
                buffer.push(b',');
            }
            buffer.extend_from_slice(&names[label].quoted);
        }
        buffer.push(b']');
        write_probabilities(buffer, self.probabilities, self.columns(row), names)
    }
}

/// Returns the labels' names, or their numbers where they have none.
pub(in crate::protocol) fn label_names(task: &MultiLabel, classes: Option<&Classes>) -> Vec<String> {
    match classes.filter(|classes| classes.names.len() == task.width) {
        Some(classes) => classes.names.iter().map(ToString::to_string).collect(),
        None => (0..task.width).map(|label| label.to_string()).collect(),
    }
}
