//! `golden.json`: requests beside a model with the answers they must get.

use std::{io, path::Path};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    error::{Error, Result},
    model::{regular_file::read_text, repository::MODEL_FILE_NAME},
};

/// The name of the file, beside `model.onnx`; beside a bare `wine.onnx` it is `wine.golden.json`.
pub const FILE_NAME: &str = "golden.json";

/// The largest file of cases.
const MAX_BYTES: u64 = 64 << 20;

/// A request and what must be in its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenCase {
    /// Where the expected answer came from, as `onnxruntime 1.31.1`.
    #[serde(default)]
    pub source: String,
    /// A body for the native predict endpoint.
    pub request: Box<RawValue>,
    /// A subset of the answer: each key here must be in it, numbers within `tolerance`.
    pub response: Value,
    /// The absolute difference that numbers may have; also relative for numbers over 1.
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoldenFile {
    cases: Vec<GoldenCase>,
}

fn default_tolerance() -> f64 {
    1e-5
}

/// Reads the cases beside the model file at `model`; none where there is no such file. Blocks on the disk.
///
/// # Errors
/// `InvalidArgument` naming the file and what is wrong in it.
pub fn read_beside(model: &Path) -> Result<Vec<GoldenCase>> {
    let path = match model.file_name().is_some_and(|name| name == MODEL_FILE_NAME) {
        true => model.with_file_name(FILE_NAME),
        false => model.with_extension(FILE_NAME),
    };
    let text = match read_text(&path, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::invalid(format!("cannot read {}: {error}", path.display()))),
    };
    let file: GoldenFile =
        serde_json::from_str(&text).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
    Ok(file.cases)
}

/// Tells where `got` first differs from what `expected` asks for, or `None` where it has all of it.
pub fn first_difference(expected: &Value, got: &Value, tolerance: f64) -> Option<String> {
    difference_at(&mut String::new(), expected, got, tolerance)
}

fn difference_at(path: &mut String, expected: &Value, got: &Value, tolerance: f64) -> Option<String> {
    let descend = |path: &mut String, step: &str, expected: &Value, got: &Value| {
        let depth = path.len();
        path.push_str(step);
        let difference = difference_at(path, expected, got, tolerance);
        path.truncate(depth);
        difference
    };
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => expected.iter().find_map(|(key, expected)| {
            descend(path, &format!(".{key}"), expected, got.get(key).unwrap_or(&Value::Null))
        }),
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            let pairs = expected.iter().zip(got).enumerate();
            pairs.into_iter().find_map(|(index, (expected, got))| descend(path, &format!("[{index}]"), expected, got))
        }
        (Value::Number(expected), Value::Number(got)) if near(expected.as_f64(), got.as_f64(), tolerance) => None,
        _ if expected == got => None,
        _ => Some(format!("{}: expected {expected}, got {got}", path.trim_start_matches('.'))),
    }
}

fn near(expected: Option<f64>, got: Option<f64>, tolerance: f64) -> bool {
    let (Some(expected), Some(got)) = (expected, got) else { return false };
    (expected - got).abs() <= tolerance * expected.abs().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_subset_matches_and_a_difference_is_located() {
        let got = json!({"a": [1.0, {"b": 2.000_001}], "time": "now"});
        assert_eq!(first_difference(&json!({"a": [1, {"b": 2}]}), &got, 1e-5), None);
        let difference = first_difference(&json!({"a": [1, {"b": 3}]}), &got, 1e-5).unwrap();
        assert_eq!(difference, "a[1].b: expected 3, got 2.000001");
        assert!(first_difference(&json!({"c": null}), &got, 0.0).is_none());
        assert!(first_difference(&json!({"a": [1]}), &got, 0.0).is_some());
    }
}
