//! The bodies that are posted, and the rows that each of them has.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use bytes::Bytes;
use serde_json::{Deserializer, Value, value::RawValue};

use crate::{
    config::bench::BenchSettings,
    error::{Error, Result},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestBody {
    pub(super) bytes: Bytes,
    /// Its rows; none where that is not plain to see.
    pub(super) rows: Option<u64>,
}

impl RequestBody {
    /// Takes a text as it is, and counts its rows.
    pub(super) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let rows = serde_json::from_slice(&bytes).ok().and_then(|body| rows_of(&body));
        Self { bytes, rows }
    }

    /// Reads the bodies that the settings name; `None` where they name none.
    ///
    /// # Errors
    /// `InvalidArgument` where the file cannot be read, or has nothing in it.
    pub(super) fn given(settings: &BenchSettings) -> Result<Option<Vec<Self>>> {
        let Some(path) = &settings.body else {
            return Ok(settings.data.clone().map(|text| vec![Self::new(text)]));
        };
        let text = read(path).map_err(|error| Error::invalid(format!("--body {}: {error}", path.display())))?;
        let bodies = split(&text);
        if bodies.is_empty() {
            return Err(Error::invalid(format!("--body {}: expected JSON, but it is empty", path.display())));
        }
        Ok(Some(bodies))
    }
}

fn read(path: &Path) -> io::Result<String> {
    if path != Path::new("-") && path != Path::new("@-") {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Takes JSON documents apart, however they are laid out; where a text is not JSON, each of its lines is a body.
fn split(text: &str) -> Vec<RequestBody> {
    let documents: serde_json::Result<Vec<Box<RawValue>>> = Deserializer::from_str(text).into_iter().collect();
    match documents {
        Ok(documents) => documents.into_iter().map(|document| RequestBody::new(document.get().to_owned())).collect(),
        Err(_) => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(|line| RequestBody::new(line.to_owned())).collect()
        }
    }
}

/// Counts the rows of a native body.
fn rows_of(body: &Value) -> Option<u64> {
    let body = body.as_object()?;
    let outer = |value: &Value| value.as_array().map(|rows| rows.len() as u64);
    if let Some(tensors) = body.get("inputs") {
        return tensors.as_object()?.values().next().and_then(outer);
    }
    if let Some(rows) = body.get("instances") {
        return outer(rows);
    }
    match body.get("features").and_then(Value::as_array) {
        Some(rows) if rows.iter().all(|row| row.is_array() || row.is_object()) => Some(rows.len() as u64),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        split(text).iter().map(|body| String::from_utf8(body.bytes.to_vec()).unwrap()).collect()
    }

    #[test]
    fn documents_may_be_a_line_each_or_spread_over_lines() {
        assert_eq!(texts("{\"a\":1}\n\n{\"a\":2}\n"), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(texts("{\n  \"a\": 1\n}\n"), ["{\n  \"a\": 1\n}"]);
        assert!(texts(" \n").is_empty());
    }

    #[test]
    fn what_is_not_json_is_sent_as_it_is_line_by_line() {
        assert_eq!(texts("{\"features\":[NaN]}\n  nonsense\n"), [r#"{"features":[NaN]}"#, "nonsense"]);
    }

    #[test]
    fn rows_are_counted_in_every_form_of_body() {
        let cases = [
            (r#"{"features":[1,2,3]}"#, Some(1)),
            (r#"{"features":[[1],[2]]}"#, Some(2)),
            (r#"{"features":[{"a":1},{"a":2},{"a":3}]}"#, Some(3)),
            (r#"{"features":{"a":1}}"#, Some(1)),
            (r#"{"a":1,"b":2}"#, Some(1)),
            (r#"{"instances":[1,2]}"#, Some(2)),
            (r#"{"inputs":{"x":[[1],[2]],"y":[[3],[4]]}}"#, Some(2)),
            (r#"{"inputs":{"x":1}}"#, None),
            ("[1]", None),
            ("nonsense", None),
        ];
        for (body, rows) in cases {
            assert_eq!(RequestBody::new(body).rows, rows, "{body}");
        }
    }
}
