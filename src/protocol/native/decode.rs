//! A body of the native API to tensors, in one pass and straight into the model's element types.
//!
//! The first key decides what the body is: `features`, `instances` or `inputs`, alone, or else one row by name. Rows
//! and features are counted from 0 in messages, as in an index. What a value of JSON may become is said in `json`.

use std::borrow::Cow;

use smallvec::{SmallVec, smallvec};

use crate::{
    error::{Error, Result},
    json::{
        nested::read_tensor,
        reader::{Kind, Reader},
        string::RawString,
    },
    model::schema::Schema,
    protocol::native::{
        decode_messages,
        decode_rows::{Body, read_rows},
        envelope::{Envelope, Form, close_envelope},
    },
    request::{InferRequest, InputTensor, InputTensors},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The tensors, of the element types and shapes that the model declares.
    pub request: InferRequest,
    /// The form of the answer.
    pub form: Form,
}

/// Decodes a body for a model of this schema. What it accepts, `ValidRequest::new` accepts too.
///
/// # Errors
/// `InvalidArgument`: `Request must be JSON: …` where it is not, else what was expected and what came, with the row,
/// the feature or the index.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded> {
    let mut reader = Reader::of_body(body)?;
    reader.limit_rows(schema.max_rows());
    if reader.kind()? != Kind::Object {
        return Err(not_an_object(schema, &mut reader));
    }
    if !reader.open_object()? {
        reader.finish()?;
        let example = decode_messages::example(schema);
        return Err(Error::invalid(format!("expected an object such as {example}, but got an empty one")));
    }
    let key = reader.key()?;
    let mut decoded = Decoded { request: InferRequest::default(), form: Form::Many };
    let inputs = &mut decoded.request.inputs;
    let body = match envelope(schema, &mut reader, key)? {
        Some(Envelope::Inputs) => {
            decode_inputs(schema, &mut reader, inputs)?;
            reader.finish()?;
            return Ok(decoded);
        }
        Some(Envelope::Features) => Body::Features,
        Some(Envelope::Instances) => Body::Instances,
        None => Body::Flat(key),
    };
    decoded.form = match (&schema.rows, &body) {
        (Some(rows), Body::Flat(key)) if rows.features.is_none() => {
            return Err(unknown_key(schema, key));
        }
        (Some(rows), _) => read_rows(schema, rows, &mut reader, body, inputs)?,
        (None, Body::Flat(key)) => return Err(unknown_key(schema, key)),
        (None, _) => return Err(not_rows(schema, &key)),
    };
    reader.finish()?;
    Ok(decoded)
}

/// Tells which envelope the first key opens; a feature may have the name of one, and is then a scalar.
fn envelope(schema: &Schema, reader: &mut Reader<'_>, key: RawString<'_>) -> Result<Option<Envelope>> {
    let Some(envelope) = Envelope::of(&key) else {
        return Ok(None);
    };
    if !matches!(reader.kind()?, Kind::Scalar | Kind::String) {
        return Ok(Some(envelope));
    }
    let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref());
    let is_feature = features.is_some_and(|features| features.names().iter().any(|name| key.is(name)));
    Ok((!is_feature).then_some(envelope))
}

/// Reads `{"name": nested lists, …}` and what closes the body.
fn decode_inputs(schema: &Schema, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
    let specs = &schema.signature.inputs;
    if reader.kind()? != Kind::Object {
        let expected = format!("an object with {}", decode_messages::inputs(schema));
        return Err(reader.mismatch(&expected).context("\"inputs\"").into());
    }
    let mut seen: SmallVec<[bool; 16]> = smallvec![false; specs.len()];
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        let Some(index) = specs.iter().position(|spec| key.is(&spec.name)) else {
            let name = decode_messages::quoted(&key.decode()?);
            return Err(Error::invalid(format!("unknown input {name}: expected {}", decode_messages::inputs(schema))));
        };
        let spec = &specs[index];
        if seen[index] {
            return Err(Error::invalid(format!("duplicate key {:?} in \"inputs\"", spec.name)));
        }
        seen[index] = true;
        inputs.push(InputTensor { name: spec.name.clone(), tensor: read_tensor(reader, spec)? });
        more = reader.more_members()?;
    }
    close_envelope(reader, "inputs")?;
    match seen.iter().position(|seen| !seen) {
        None => Ok(()),
        Some(index) => {
            let spec = &specs[index];
            Err(Error::invalid(format!("input {:?}: expected {spec}, but it is missing", spec.name)))
        }
    }
}

#[cold]
fn not_an_object(schema: &Schema, reader: &mut Reader<'_>) -> Error {
    let example = decode_messages::example(schema);
    let fault = reader.mismatch(&format!("an object such as {example}"));
    // A list may be cut off or followed by something, and then the body is no JSON at all.
    *reader = reader.rewound();
    match reader.skip().and_then(|()| reader.finish()) {
        Ok(()) => fault.into(),
        Err(other) => other.into(),
    }
}

#[cold]
fn unknown_key(schema: &Schema, key: &RawString<'_>) -> Error {
    let expected = match schema.rows {
        Some(_) => "\"features\", \"instances\" or \"inputs\"",
        None => "\"inputs\"",
    };
    let example = decode_messages::example(schema);
    match key.decode() {
        Ok(name) => {
            let name = decode_messages::quoted(&name);
            Error::invalid(format!("unknown key {name}: expected {expected}, as in {example}"))
        }
        Err(fault) => fault.into(),
    }
}

#[cold]
fn not_rows(schema: &Schema, key: &RawString<'_>) -> Error {
    let name = key.decode().unwrap_or(Cow::Borrowed("features"));
    let example = decode_messages::example(schema);
    Error::invalid(format!(
        "unexpected key {name:?}: the model's inputs are not rows of features; expected \"inputs\", as in {example}"
    ))
}
