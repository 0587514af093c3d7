//! Words for bodies that do not fit: what would, in the model's own names.

use std::sync::Arc;

use crate::{
    json::skip::shortened,
    model::{
        rows::{Features, Layout},
        schema::Schema,
        signature::{Dim, TensorSpec},
    },
    tensor::data_type::DataType,
};

/// The most names that a message lists.
const MAX_NAMES: usize = 16;
/// The most values of a row that an example shows.
const MAX_VALUES: usize = 8;
/// Longer names are not compared for likeness, whose cost is the product of the lengths.
const MAX_COMPARED_CHARS: usize = 64;

/// Writes a name from a body in quotes, cut to a length that is good to read.
pub(super) fn quoted(name: &str) -> String {
    format!("{:?}", shortened(name))
}

/// Lists the inputs: `"image" FP32 [-1, 1, 8, 8]`.
pub(super) fn inputs(schema: &Schema) -> String {
    let inputs = schema.signature.inputs.iter().take(MAX_NAMES).map(|spec| format!("{:?} {spec}", spec.name));
    let mut list: Vec<_> = inputs.collect();
    if schema.signature.inputs.len() > MAX_NAMES {
        list.push("…".to_owned());
    }
    list.join(", ")
}

/// Says that there is no such feature, which ones there are, and which was probably meant.
pub(in crate::protocol) fn unknown_feature(names: &[Arc<str>], name: &str) -> String {
    let mut list: Vec<_> = names.iter().take(MAX_NAMES).map(|name| format!("{name:?}")).collect();
    if names.len() > MAX_NAMES {
        list.push(format!("… ({} in all)", names.len()));
    }
    let meant = match nearest(names, name) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None => String::new(),
    };
    format!("unknown feature {}: expected {}{meant}", quoted(name), list.join(", "))
}

/// Writes a short body for the model: `{"features": [0.0, 0.0, 0.0, 0.0]}`. Tensors of more values than one are
/// written with an ellipsis, and what the inputs are.
pub(super) fn example(schema: &Schema) -> String {
    let inputs = &schema.signature.inputs;
    match (&schema.rows, &inputs[..]) {
        (Some(rows), [input, ..]) if rows.layout != Layout::Columns => {
            let width = rows.width(&schema.signature).unwrap_or(1);
            let mut values = vec![zero(input.data_type); width.min(MAX_VALUES)];
            if width > MAX_VALUES {
                values.push("…");
            }
            format!(r#"{{"features": [{}]}}"#, values.join(", "))
        }
        (Some(rows), _) => {
            let names = rows.features.iter().flat_map(Features::names);
            let pairs = names.zip(inputs).take(MAX_VALUES);
            let mut pairs: Vec<_> = pairs.map(|(name, input)| format!("{name:?}: {}", zero(input.data_type))).collect();
            if inputs.len() > MAX_VALUES {
                pairs.push("…".to_owned());
            }
            format!("{{{}}}", pairs.join(", "))
        }
        (None, _) => {
            let tensors = inputs.iter().take(MAX_VALUES).map(|input| {
                let rank = input.rank().unwrap_or(1);
                let value = zero(input.data_type);
                let more = if holds_more_than_one(input) { ", …" } else { "" };
                format!("{:?}: {}{value}{more}{}", input.name, "[".repeat(rank), "]".repeat(rank))
            });
            let mut tensors: Vec<_> = tensors.collect();
            if inputs.len() > MAX_VALUES {
                tensors.push("…".to_owned());
            }
            let body = format!(r#"{{"inputs": {{{}}}}}"#, tensors.join(", "));
            match inputs.iter().any(holds_more_than_one) {
                true => format!("{body} with {}", self::inputs(schema)),
                false => body,
            }
        }
    }
}

/// Tells whether one value is too few for this input.
fn holds_more_than_one(input: &TensorSpec) -> bool {
    input.dims.iter().flatten().any(|dim| matches!(dim, Dim::Fixed(size) if *size > 1))
}

fn zero(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "false",
        DataType::Bytes => "\"text\"",
        float if float.is_float() => "0.0",
        _ => "0",
    }
}

/// Returns the name that differs least, if it differs by no more than a third of its length.
fn nearest<'a>(names: &'a [Arc<str>], name: &str) -> Option<&'a str> {
    let comparable = |name: &str| name.len() <= MAX_COMPARED_CHARS;
    let known = names.iter().filter(|known| comparable(known) && comparable(name));
    let distances = known.map(|known| (edits(&known.to_lowercase(), &name.to_lowercase()), &**known));
    distances.min().filter(|(distance, known)| distance * 3 <= known.chars().count()).map(|(_, known)| known)
}

/// Counts the characters that must be put in, left out or changed to make one text the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, char) in one.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (index, other) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(*other != char);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[other.len()]
}
