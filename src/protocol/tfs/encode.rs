//! Outputs to the answers of `:predict`, `:classify` and `:regress`.
//!
//! NaN and infinities leave as the tokens that TensorFlow Serving writes, which Python's json reads.

use std::{borrow::Cow, str};

use crate::{
    error::{Error, Result},
    json::write::{Elements, NotFinite, Strings, Style, write_string, write_tensor_as},
    model::{
        schema::Schema,
        signature::OutputSpec,
        task::{Classification, Task},
    },
    protocol::tfs::decode::Form,
    protocol::tfs::verb::Verb,
    request::InferResponse,
    tensor::tensor::Tensor,
};

/// Outputs whose name ends so are bytes and not text.
const BYTES_SUFFIX: &str = "_bytes";

/// What numbers are written by.
const NUMBERS: Style = Style { not_finite: NotFinite::Token, strings: Strings::Text };

/// Writes the answer.
///
/// # Errors
/// `InvalidArgument` where the outputs have not the rows that the form needs, or text is not UTF-8.
pub fn encode(schema: &Schema, response: &InferResponse, form: Form) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    match form {
        Form::Rows => {
            buffer.extend_from_slice(b"{\"predictions\":");
            write_rows(schema, response, &mut buffer)?;
        }
        Form::Columns => {
            buffer.extend_from_slice(b"{\"outputs\":");
            write_columns(schema, response, &mut buffer)?;
        }
        Form::Classes => {
            buffer.extend_from_slice(b"{\"results\":");
            write_classes(schema, response, &mut buffer)?;
        }
        Form::Values => {
            buffer.extend_from_slice(b"{\"results\":");
            write_values(schema, response, &mut buffer)?;
        }
    }
    buffer.push(b'}');
    Ok(buffer)
}

/// Checks that a model has what a verb asks for.
///
/// # Errors
/// `InvalidArgument`, as TensorFlow Serving says it.
pub fn check_verb(verb: Verb, task: &Task) -> Result<()> {
    let method = match task {
        Task::Classification(_) => Verb::Classify.method(),
        Task::Regression(regression) if regression.targets == 1 => Verb::Regress.method(),
        Task::Regression(_) | Task::MultiLabel(_) | Task::Raw(_) => Verb::Predict.method(),
    };
    let expected = verb.method();
    if verb == Verb::Predict || method == expected {
        return Ok(());
    }
    let word = if verb == Verb::Classify { "classification" } else { "regression" };
    Err(Error::invalid(format!("Expected {word} signature method_name to be {expected}. Was: {method}")))
}

fn style(output: &OutputSpec) -> Style {
    let is_bytes = output.tensor.name.ends_with(BYTES_SUFFIX);
    Style { strings: if is_bytes { Strings::Base64 } else { Strings::Text }, ..NUMBERS }
}

/// Pairs the outputs with what is declared of them.
fn outputs<'a>(
    schema: &'a Schema,
    response: &'a InferResponse,
) -> impl Iterator<Item = (&'a OutputSpec, &'a Tensor)> + Clone {
    schema.signature.outputs.iter().zip(&response.outputs)
}

fn named<T>(output: &OutputSpec, written: Result<T>) -> Result<T> {
    written.map_err(|error| error.context(format_args!("output {:?}", output.tensor.name)))
}

fn write_columns(schema: &Schema, response: &InferResponse, buffer: &mut Vec<u8>) -> Result<()> {
    if let ([output], [tensor]) = (&schema.signature.outputs[..], &response.outputs[..]) {
        return named(output, write_tensor_as(buffer, tensor, style(output)));
    }
    for (index, (output, tensor)) in outputs(schema, response).enumerate() {
        buffer.push(if index == 0 { b'{' } else { b',' });
        write_key(&output.tensor.name, buffer);
        named(output, write_tensor_as(buffer, tensor, style(output)))?;
    }
    buffer.push(b'}');
    Ok(())
}

fn write_rows(schema: &Schema, response: &InferResponse, buffer: &mut Vec<u8>) -> Result<()> {
    let rows = check_rows(schema, response)?;
    if let ([output], [tensor]) = (&schema.signature.outputs[..], &response.outputs[..]) {
        return named(output, write_tensor_as(buffer, tensor, style(output)));
    }
    let outputs: Vec<_> = outputs(schema, response)
        .map(|(output, tensor)| (output, key(&output.tensor.name), Elements::of(tensor), &tensor.shape()[1..]))
        .collect();
    buffer.push(b'[');
    for row in 0..rows {
        buffer.extend_from_slice(if row == 0 { b"{" } else { b",{" });
        for (index, (output, key, elements, dims)) in outputs.iter().enumerate() {
            if index > 0 {
                buffer.push(b',');
            }
            buffer.extend_from_slice(key);
            named(output, elements.write_row(row, dims, buffer, style(output)))?;
        }
        buffer.push(b'}');
    }
    buffer.push(b']');
    Ok(())
}

/// Returns the number of rows, which all outputs must have in common.
fn check_rows(schema: &Schema, response: &InferResponse) -> Result<usize> {
    let mut rows = None;
    for (index, (output, tensor)) in outputs(schema, response).enumerate() {
        let name = &output.tensor.name;
        if !schema.observed.counts_rows(index) {
            return Err(Error::invalid(format!("Tensor name: {name} has no axis of rows: ask with 'inputs'")));
        }
        let Some(size) = tensor.shape().first() else {
            return Err(Error::invalid(format!(
                "Tensor name: {name} has no shape information: it has no rows, so ask with 'inputs'"
            )));
        };
        if size != *rows.get_or_insert(size) {
            return Err(Error::invalid(format!(
                "Tensor name: {name} has inconsistent batch size: {size} expecting: {}: ask with 'inputs'",
                rows.unwrap_or(size)
            )));
        }
    }
    Ok(rows.copied().unwrap_or(0))
}

fn write_classes(schema: &Schema, response: &InferResponse, buffer: &mut Vec<u8>) -> Result<()> {
    let Task::Classification(Classification { label, probabilities, scores, .. }) = &schema.task else {
        return Err(Error::internal("classes of a model that is no classifier"));
    };
    let tensor = |output: Option<usize>| output.and_then(|output| response.outputs.get(output));
    let (labels, numbers) = (tensor(*label), tensor(probabilities.or(*scores)));
    let names = schema.classes.as_ref().map_or(&[][..], |classes| &classes.names);
    let Some(numbers) = numbers else {
        return write_labels(labels.ok_or_else(|| Error::internal("a classifier without outputs"))?, buffer);
    };
    // A row of classes alone is one row.
    let rows = if numbers.shape().len() < 2 { 1 } else { numbers.shape()[0] };
    let width = numbers.len() / rows.max(1);
    let numbers = Elements::of(numbers);
    buffer.push(b'[');
    for row in 0..rows {
        buffer.extend_from_slice(if row == 0 { b"[" } else { b",[" });
        for class in 0..width {
            let name = match names.get(class) {
                Some(name) if names.len() == width => Cow::Borrowed(&**name),
                _ => Cow::Owned(class.to_string()),
            };
            buffer.extend_from_slice(if class == 0 { b"[" } else { b",[" });
            write_string(buffer, &name);
            buffer.push(b',');
            numbers.write_row(row * width + class, &[], buffer, NUMBERS)?;
            buffer.push(b']');
        }
        buffer.push(b']');
    }
    buffer.push(b']');
    Ok(())
}

/// Writes the class of each row where there are no scores: TensorFlow Serving's are 0 then.
fn write_labels(labels: &Tensor, buffer: &mut Vec<u8>) -> Result<()> {
    let elements = Elements::of(labels);
    buffer.push(b'[');
    for row in 0..labels.len() {
        buffer.extend_from_slice(if row == 0 { b"[[" } else { b",[[" });
        let start = buffer.len();
        elements.write_row(row, &[], buffer, NUMBERS)?;
        if buffer[start] != b'"' {
            let number = buffer.split_off(start);
            write_string(buffer, str::from_utf8(&number).map_err(Error::internal)?);
        }
        buffer.extend_from_slice(b",0.0]]");
    }
    buffer.push(b']');
    Ok(())
}

fn write_values(schema: &Schema, response: &InferResponse, buffer: &mut Vec<u8>) -> Result<()> {
    let Task::Regression(regression) = &schema.task else {
        return Err(Error::internal("values of a model that is no regression"));
    };
    let value =
        response.outputs.get(regression.value).ok_or_else(|| Error::internal("a regression without its output"))?;
    Elements::of(value).write_row(0, &[value.len()], buffer, NUMBERS)
}

fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 3);
    write_key(name, &mut key);
    key
}

fn write_key(name: &str, buffer: &mut Vec<u8>) {
    write_string(buffer, name);
    buffer.push(b':');
}
