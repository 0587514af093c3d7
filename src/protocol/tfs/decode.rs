//! Bodies of `:predict`, `:classify` and `:regress` to tensors.

use crate::{
    error::{Error, Result},
    json::{
        fault::Fault,
        reader::{Kind, Reader},
        skip::shortened,
    },
    model::schema::Schema,
    protocol::tfs::verb::Verb,
    protocol::{
        frame::Frame,
        tfs::instances::{ExtraInputs, read_inputs, read_instances},
    },
    request::InferRequest,
};

/// The only signature of a model, which a request that names none gets too.
pub const SIGNATURE: &str = "serving_default";

/// What a method needs a signature to be for; a signature may be named by it too.
pub const PREDICT_METHOD: &str = "tensorflow/serving/predict";
const CLASSIFY_METHOD: &str = "tensorflow/serving/classify";
const REGRESS_METHOD: &str = "tensorflow/serving/regress";

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `predictions`: the outputs row by row, as the request had its inputs.
    Rows,
    /// `outputs`: the outputs by name.
    Columns,
    /// `results`: classes and their scores, a list a row.
    Classes,
    /// `results`: a value a row.
    Values,
}

impl Verb {
    /// Returns what TensorFlow calls the method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Predict => PREDICT_METHOD,
            Self::Classify => CLASSIFY_METHOD,
            Self::Regress => REGRESS_METHOD,
        }
    }
}

/// Decodes a body. What follows the document is not looked at.
///
/// # Errors
/// `InvalidArgument`, in TensorFlow Serving's words where it has any.
pub fn decode(schema: &Schema, verb: Verb, body: &[u8]) -> Result<(InferRequest, Form)> {
    let mut reader = Reader::of_body(body)?;
    reader.limit_rows(schema.max_rows());
    if reader.kind()? != Kind::Object {
        return Err(reader.mismatch("an object").context("JSON Value: Is not object").into());
    }
    let (mut request, mut form) = (InferRequest::default(), None);
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        let signature = &schema.signature;
        if key.is("signature_name") {
            read_signature_name(&mut reader, verb)?;
        } else if verb == Verb::Predict && key.is("instances") {
            claim(&mut form, Form::Rows)?;
            read_instances(signature, &mut reader, &mut request.inputs)?;
        } else if verb == Verb::Predict && key.is("inputs") {
            claim(&mut form, Form::Columns)?;
            read_inputs(signature, &mut reader, ExtraInputs::Ignored, &mut request.inputs)?;
        } else if verb != Verb::Predict && key.is("examples") {
            claim(&mut form, if verb == Verb::Classify { Form::Classes } else { Form::Values })?;
            read_examples(schema, &mut reader, &mut request)?;
        } else if verb != Verb::Predict && key.is("context") {
            return Err(Error::invalid("'context' is not supported: give each of the examples all of its features"));
        } else {
            key.check()?;
            reader.skip()?;
        }
        more = reader.more_members()?;
    }
    let missing = || match verb {
        Verb::Predict => Error::invalid("Missing 'inputs' or 'instances' key"),
        Verb::Classify | Verb::Regress => {
            Error::invalid("When method is classify, key 'examples' is expected and was not found")
        }
    };
    Ok((request, form.ok_or_else(missing)?))
}

fn claim(form: &mut Option<Form>, claimed: Form) -> Result<()> {
    match form.replace(claimed) {
        None => Ok(()),
        Some(other) if other == claimed => Err(Error::invalid("duplicate key")),
        Some(_) => {
            Err(Error::invalid("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"))
        }
    }
}

fn read_signature_name(reader: &mut Reader<'_>, verb: Verb) -> Result<()> {
    if reader.kind()? != Kind::String {
        let fault = reader.mismatch("a string");
        return Err(fault.context("not formatted correctly. 'signature_name' key must be a string value").into());
    }
    let name = reader.string()?.decode()?;
    match &*name {
        "" | SIGNATURE => Ok(()),
        method if method == verb.method() => Ok(()),
        _ => Err(Error::invalid(format!(
            "Serving signature name: {:?} not found in signature def: there is {SIGNATURE:?}",
            shortened(&name)
        ))),
    }
}

fn read_examples(schema: &Schema, reader: &mut Reader<'_>, request: &mut InferRequest) -> Result<()> {
    if reader.kind()? != Kind::Array {
        return Err(reader.mismatch("a list").context("Expecting 'examples' value to be an list/array").into());
    }
    match reader.first_element_kind()? {
        None => Err(Error::invalid("'examples' value is an empty array")),
        Some(Kind::Object) => {
            Frame::read_records(schema, reader, &mut request.inputs).map_err(|error| error.context("'examples'"))
        }
        Some(_) => Err(Fault::value("Example must be JSON object, but the first of the list is none").into()),
    }
}
