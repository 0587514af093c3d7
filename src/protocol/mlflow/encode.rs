//! Outputs to `{"predictions": …}`: tensors by name, or a list of records, as MLflow's ONNX flavor answers.
//!
//! NaN and infinities leave as the tokens that Python's json writes and reads. A sequence of maps (ZipMap) leaves as maps.

use crate::{
    error::{Error, Result},
    json::write::{Elements, NotFinite, Strings, Style, write_string},
    model::{
        schema::Schema,
        signature::{ClassLabel, OutputSpec},
    },
    protocol::mlflow::decode::Form,
    request::InferResponse,
    tensor::tensor::Tensor,
};

const STYLE: Style = Style { not_finite: NotFinite::Token, strings: Strings::Text };

/// Writes the answer.
///
/// # Errors
/// `InvalidArgument` where the outputs have not a value for each row of a table, or text is not UTF-8.
pub fn encode(schema: &Schema, response: &InferResponse, form: Form) -> Result<Vec<u8>> {
    let outputs: Vec<_> = schema
        .signature
        .outputs
        .iter()
        .zip(&response.outputs)
        .enumerate()
        .map(|(index, (output, tensor))| Output::new(output, tensor, schema.observed.counts_rows(index), form))
        .collect();
    let mut buffer = b"{\"predictions\":".to_vec();
    match form {
        Form::Tensors => {
            buffer.push(b'{');
            for (index, output) in outputs.iter().enumerate() {
                write_separator(index, &mut buffer);
                buffer.extend_from_slice(&output.key);
                output.write_all(&mut buffer)?;
            }
            buffer.push(b'}');
        }
        Form::Records => {
            if let Some(index) = (0..outputs.len()).find(|index| !schema.observed.has_rows(*index)) {
                let name = &outputs[index].spec.tensor.name;
                return Err(Error::invalid(format!("output {name:?} has no axis of rows: ask with \"inputs\"")));
            }
            write_records(&outputs, &mut buffer)?;
        }
    }
    buffer.push(b'}');
    Ok(buffer)
}

fn write_records(outputs: &[Output<'_>], buffer: &mut Vec<u8>) -> Result<()> {
    let rows = outputs.first().map_or(0, |output| output.rows);
    if let Some(other) = outputs.iter().find(|output| output.rows != rows) {
        let (first, name) = (&outputs[0].spec.tensor.name, &other.spec.tensor.name);
        return Err(Error::invalid(format!(
            "output {name:?} has {} rows, but output {first:?} has {rows}: ask with \"inputs\"",
            other.rows
        )));
    }
    buffer.push(b'[');
    for row in 0..rows {
        write_separator(row, buffer);
        buffer.push(b'{');
        for (index, output) in outputs.iter().enumerate() {
            write_separator(index, buffer);
            buffer.extend_from_slice(&output.key);
            output.write_row(row, buffer)?;
        }
        buffer.push(b'}');
    }
    buffer.push(b']');
    Ok(())
}

/// An output of one run.
struct Output<'a> {
    spec: &'a OutputSpec,
    key: Vec<u8>,
    /// The keys of a map, as they are written, in the order of the columns.
    map_keys: Option<Vec<Vec<u8>>>,
    elements: Elements<'a>,
    shape: &'a [usize],
    rows: usize,
    /// The dimensions of one row.
    row_dims: &'a [usize],
}

impl<'a> Output<'a> {
    fn new(spec: &'a OutputSpec, tensor: &'a Tensor, counts_rows: bool, form: Form) -> Self {
        let (rows, row_dims) = match tensor.shape().split_first() {
            Some((rows, dims)) => (*rows, dims),
            // A scalar is the value of the only row.
            None => (1, &[][..]),
        };
        // A table has rows wherever an output has one element for each.
        let (rows, row_dims) = match form {
            Form::Records if !counts_rows => (tensor.len(), &[][..]),
            Form::Records | Form::Tensors => (rows, row_dims),
        };
        // A column of a table has scalars.
        let row_dims = match (form, row_dims) {
            (Form::Records, dims) if dims.iter().all(|size| *size == 1) => &[],
            (_, dims) => dims,
        };
        let map_keys = spec.map_keys.as_ref().map(|labels| labels.iter().map(map_key).collect());
        let shape = tensor.shape();
        Self { spec, key: key(&spec.tensor.name), map_keys, elements: Elements::of(tensor), shape, rows, row_dims }
    }

    fn write_all(&self, buffer: &mut Vec<u8>) -> Result<()> {
        if self.map_keys.is_none() {
            return self.named(self.elements.write_row(0, self.shape, buffer, STYLE));
        }
        buffer.push(b'[');
        for row in 0..self.rows {
            write_separator(row, buffer);
            self.write_row(row, buffer)?;
        }
        buffer.push(b']');
        Ok(())
    }

    fn write_row(&self, row: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let Some(keys) = &self.map_keys else {
            return self.named(self.elements.write_row(row, self.row_dims, buffer, STYLE));
        };
        buffer.push(b'{');
        for (column, key) in keys.iter().enumerate() {
            write_separator(column, buffer);
            buffer.extend_from_slice(key);
            self.elements.write_row(row * keys.len() + column, &[], buffer, STYLE)?;
        }
        buffer.push(b'}');
        Ok(())
    }

    fn named(&self, written: Result<()>) -> Result<()> {
        written.map_err(|error| error.context(format_args!("output {:?}", self.spec.tensor.name)))
    }
}

fn write_separator(index: usize, buffer: &mut Vec<u8>) {
    if index > 0 {
        buffer.push(b',');
    }
}

fn map_key(label: &ClassLabel) -> Vec<u8> {
    key(&label.to_string())
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_string(&mut key, name);
    key.push(b':');
    key
}
