//! What a classifier says of a row: its label, the class's index and name, the probabilities by name.

use std::{ops::Range, str};

use crate::{
    error::Result,
    json::write::{Elements, Number as _},
    model::{
        signature::Signature,
        task::{Classes, Classification},
    },
    protocol::native::encode_outputs::{check_count, key, output_tensor},
    request::InferResponse,
};

/// A class's name as it is written: in quotes, and as a key.
#[derive(Clone, Debug)]
pub(super) struct ClassName {
    pub(super) quoted: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// The outputs of one run of a classifier.
pub(in crate::protocol) struct ClassOutputs<'a> {
    /// The labels, one a row.
    pub(in crate::protocol) label: Option<Elements<'a>>,
    label_name: &'a str,
    /// One number per class: probabilities, or what is only for telling the class.
    numbers: Option<Elements<'a>>,
    are_probabilities: bool,
    pub(in crate::protocol) width: usize,
    /// Rows.
    pub(in crate::protocol) rows: usize,
}

impl ClassName {
    pub(super) fn new(name: &str) -> Self {
        let key = key(name);
        Self { quoted: key[..key.len() - 1].to_vec(), key }
    }
}

impl<'a> ClassOutputs<'a> {
    /// Finds the outputs by what they mean.
    ///
    /// # Errors
    /// `Internal` where they do not fit each other.
    pub(in crate::protocol) fn new(
        signature: &'a Signature,
        response: &'a InferResponse,
        classification: &Classification,
    ) -> Result<Self> {
        let tensor = |output: Option<usize>| output.map(|output| output_tensor(response, output)).transpose();
        let one_a_class = classification.probabilities.or(classification.scores);
        let (label, numbers) = (tensor(classification.label)?, tensor(one_a_class)?);
        let rows = match (label, numbers) {
            (Some(label), _) => label.len(),
            // A row of classes alone is one row.
            (None, Some(numbers)) if numbers.shape().len() < 2 => 1,
            (None, numbers) => numbers.map_or(0, |numbers| numbers.shape()[0]),
        };
        let width = numbers.map_or(0, |numbers| numbers.len() / rows.max(1));
        if let (Some(output), Some(numbers)) = (one_a_class, numbers) {
            let rows_of_numbers = if numbers.shape().len() < 2 { 1 } else { numbers.shape()[0] };
            check_count(signature, output, rows * width, rows_of_numbers * width)?;
        }
        Ok(Self {
            label: label.map(Elements::of),
            label_name: classification.label.map_or("", |label| &signature.outputs[label].tensor.name),
            numbers: numbers.map(Elements::of),
            are_probabilities: classification.probabilities.is_some(),
            width,
            rows,
        })
    }

    /// Writes one prediction: `known` are the classes with their names as they are written, `keys` those of the probabilities.
    pub(super) fn encode_row(
        &self,
        buffer: &mut Vec<u8>,
        row: usize,
        known: Option<(&Classes, &[ClassName])>,
        keys: &[ClassName],
    ) -> Result<()> {
        let index = self.class_index(row, known.map(|(classes, _)| classes));
        buffer.extend_from_slice(b"\"prediction\":");
        let start = buffer.len();
        match (self.label, index) {
            (Some(label), _) => {
                label
                    .write(row, buffer)
                    .map_err(|error| error.context(format_args!("output {:?}", self.label_name)))?;
            }
            (None, Some(index)) => index.write(buffer),
            (None, None) => buffer.extend_from_slice(b"null"),
        }
        let prediction = start..buffer.len();
        if let Some(index) = index {
            buffer.extend_from_slice(b",\"prediction_index\":");
            index.write(buffer);
        }
        buffer.extend_from_slice(b",\"predicted_class_name\":");
        match index.zip(known).and_then(|(index, (_, names))| names.get(index)) {
            Some(name) => buffer.extend_from_slice(&name.quoted),
            None => write_as_text(buffer, prediction),
        }
        match self.probabilities(row) {
            Some((probabilities, columns)) => write_probabilities(buffer, probabilities, columns, keys),
            None => Ok(()),
        }
    }

    /// Returns the class that a row belongs to: that of its label, else that of the largest number.
    pub(in crate::protocol) fn class_index(&self, row: usize, classes: Option<&Classes>) -> Option<usize> {
        let by_label = self.label.zip(classes).and_then(|(label, classes)| self.index_of(label, row, classes));
        by_label.or_else(|| largest(self.numbers?, self.columns(row)))
    }

    /// Returns the probabilities of all rows and which of them are this row's, if there are any.
    pub(in crate::protocol) fn probabilities(&self, row: usize) -> Option<(Elements<'a>, Range<usize>)> {
        Some((self.numbers.filter(|_| self.are_probabilities)?, self.columns(row)))
    }

    fn columns(&self, row: usize) -> Range<usize> {
        row * self.width..(row + 1) * self.width
    }

    /// Returns the class index of the label at `row`. What an integer label means where the graph does not declare the
    /// labels, the probabilities tell, if there are any: labels need not be counted from 0.
    fn index_of(&self, label: Elements<'_>, row: usize, classes: &Classes) -> Option<usize> {
        match label {
            Elements::Bytes(labels) => classes.index_of_text(str::from_utf8(&labels[row]).ok()?),
            _ if classes.labels.is_none() && self.numbers.is_some() => None,
            numbers => classes.index_of_integer(numbers.integer(row)?),
        }
    }
}

pub(super) fn write_probabilities(
    buffer: &mut Vec<u8>,
    probabilities: Elements<'_>,
    columns: Range<usize>,
    keys: &[ClassName],
) -> Result<()> {
    buffer.extend_from_slice(b",\"probabilities\":{");
    for (index, (column, name)) in columns.zip(keys).enumerate() {
        if index > 0 {
            buffer.push(b',');
        }
        buffer.extend_from_slice(&name.key);
        probabilities.write(column, buffer)?;
    }
    buffer.push(b'}');
    Ok(())
}

/// Writes the prediction that stands in `place` of the buffer once more, as a string.
fn write_as_text(buffer: &mut Vec<u8>, place: Range<usize>) {
    match buffer[place.start] {
        b'"' | b'n' => buffer.extend_from_within(place),
        _ => {
            buffer.push(b'"');
            buffer.extend_from_within(place);
            buffer.push(b'"');
        }
    }
}

/// Returns the index, within `columns`, of the largest number; the first of several, and none of NaN.
fn largest(numbers: Elements<'_>, columns: Range<usize>) -> Option<usize> {
    let mut largest: Option<(usize, f64)> = None;
    for (index, column) in columns.enumerate() {
        let number = numbers.double(column)?;
        if !number.is_nan() && largest.is_none_or(|(_, most)| number > most) {
            largest = Some((index, number));
        }
    }
    largest.map(|(index, _)| index)
}
