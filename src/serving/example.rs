//! A request body for each model that works when it is posted back: for people, and for warming the model up.

use std::{fmt::Write as _, sync::Arc};

use serde_json::value::RawValue;

use crate::{
    error::{Error, Result},
    model::{
        rows::Layout,
        schema::Schema,
        signature::{Dim, TensorSpec},
    },
    tensor::data_type::DataType,
};

/// The most elements that an example has. A larger body is nothing to look at, and every reader of `/models` would pay.
const MAX_ELEMENTS: usize = 1 << 18;

/// Writes a native body of zeros (and the word `text`) that fits the schema; dynamic dimensions are 1. `None` where that
/// would have more than 2^18 elements.
///
/// # Errors
/// `Internal` where what is written is not JSON, which a test would show.
pub fn synthetic_body(schema: &Schema) -> Result<Option<Box<RawValue>>> {
    let inputs = &schema.signature.inputs;
    let elements = |input: &TensorSpec| {
        let mut sizes = input.dims.iter().flatten().map(|dim| dim.fixed().unwrap_or(1));
        sizes.try_fold(1_usize, usize::checked_mul)
    };
    let total = inputs.iter().try_fold(0_usize, |total, input| total.checked_add(elements(input)?));
    if total.is_none_or(|total| total > MAX_ELEMENTS) {
        return Ok(None);
    }
    let rows = schema.rows.as_ref().filter(|rows| rows.fixed_rows.is_none_or(|rows| rows == 1));
    let body = match rows.map(|rows| (rows.layout, rows.features.as_ref())) {
        Some((Layout::Matrix { width }, None)) => {
            let row = vec![zero(inputs[0].data_type); width.unwrap_or(1)];
            format!(r#"{{"features":[{}]}}"#, row.join(","))
        }
        Some((layout, Some(features))) => {
            let zero_of = |column: usize| match layout {
                Layout::Matrix { .. } => zero(inputs[0].data_type),
                Layout::Columns => zero(inputs[column].data_type),
            };
            let pairs = features
                .names()
                .iter()
                .enumerate()
                .map(|(column, name)| format!("{}:{}", quoted(name), zero_of(column)));
            format!(r#"{{"features":{{{}}}}}"#, pairs.collect::<Vec<_>>().join(","))
        }
        _ => {
            let tensors = inputs.iter().map(|input| format!("{}:{}", quoted(&input.name), zeros(input)));
            format!(r#"{{"inputs":{{{}}}}}"#, tensors.collect::<Vec<_>>().join(","))
        }
    };
    RawValue::from_string(body).map(Some).map_err(Error::internal)
}

fn zero(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "false",
        DataType::Bytes => r#""text""#,
        float if float.is_float() => "0.0",
        _ => "0",
    }
}

fn zeros(input: &TensorSpec) -> String {
    let sizes = input.dims.iter().flatten().map(|dim| Dim::fixed(dim).unwrap_or(1));
    sizes.rev().fold(zero(input.data_type).to_owned(), |inner, size| {
        let mut list = String::with_capacity((inner.len() + 1) * size + 2);
        list.push('[');
        for index in 0..size {
            let comma = if index == 0 { "" } else { "," };
            let _infallible = write!(list, "{comma}{inner}");
        }
        list.push(']');
        list
    })
}

fn quoted(name: &Arc<str>) -> String {
    serde_json::Value::from(&**name).to_string()
}
