//! What a classifier says of a row: its label, the class's index and name, the probabilities by name.

use std::{ops::Range, str};

use crate::{
    api::{
        http::native::{
            encode::key,
            encode_rows::{check_count, output_tensor},
        },
        json::write::{Elements, Number as _},
    },
    error::Result,
    model::{
        signature::Signature,
        task::{Classes, Classification},
    },
    request::InferResponse,
};

/// A class's name as it is written: in quotes, and as a key.
#[derive(Clone, Debug)]
pub(super) struct ClassName {
    pub(super) quoted: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// The outputs of one run of a classifier.
pub(super) struct ClassOutputs<'a> {
    label: Option<Elements<'a>>,
    label_name: &'a str,
    probabilities: Option<Elements<'a>>,
    /// Probabilities in a row.
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl ClassName {
    pub(super) fn new(name: &str) -> Self {
        let key = key(name);
        Self { quoted: key[..key.len() - 1].to_vec(), key }
    }
}

impl<'a> ClassOutputs<'a> {
    pub(super) fn new(
        signature: &'a Signature,
        response: &'a InferResponse,
        classification: &Classification,
        classes: Option<&Classes>,
    ) -> Result<Self> {
        let tensor = |output: Option<usize>| output.map(|output| output_tensor(response, output)).transpose();
        let (label, probabilities) = (tensor(classification.label)?, tensor(classification.probabilities)?);
        let rows = match (label, probabilities) {
            (Some(label), _) => label.len(),
            // A row of classes alone is one row.
            (None, Some(probabilities)) if probabilities.shape().len() < 2 => 1,
            (None, probabilities) => probabilities.map_or(0, |probabilities| probabilities.shape()[0]),
        };
        let width = match (probabilities, classes) {
            (None, _) => 0,
            (Some(_), Some(classes)) => classes.names.len(),
            (Some(probabilities), None) => probabilities.len() / rows.max(1),
        };
        if let (Some(output), Some(probabilities)) = (classification.probabilities, probabilities) {
            check_count(signature, output, rows.saturating_mul(width), probabilities.len())?;
        }
        Ok(Self {
            label: label.map(Elements::of),
            label_name: classification.label.map_or("", |label| &signature.outputs[label].tensor.name),
            probabilities: probabilities.map(Elements::of),
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
        let columns = row * self.width..(row + 1) * self.width;
        let known_index = self.label.zip(known).and_then(|(label, (classes, _))| index_of(label, row, classes));
        let index = known_index.or_else(|| largest(self.probabilities?, columns.clone()));
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
        match self.probabilities {
            Some(probabilities) => write_probabilities(buffer, probabilities, columns, keys),
            None => Ok(()),
        }
    }
}

fn write_probabilities(
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

/// Returns the class index of the label at `row`.
fn index_of(label: Elements<'_>, row: usize, classes: &Classes) -> Option<usize> {
    match label {
        Elements::Bytes(labels) => classes.index_of_text(str::from_utf8(&labels[row]).ok()?),
        numbers => classes.index_of_integer(numbers.integer(row)?),
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
