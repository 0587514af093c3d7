//! Bodies of JSON to tensors.

use std::sync::Arc;

use crate::{
    error::{Error, Result},
    json::{
        fault::Fault,
        reader::{Kind, Reader},
        skip::shortened,
    },
    model::schema::Schema,
    protocol::{
        frame::Frame,
        tfs::instances::{ExtraInputs, read_inputs, read_instances},
    },
    request::{InferRequest, InputTensors},
};

/// The form of an answer, which follows from that of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Tensors by output name, to tensors.
    Tensors,
    /// A list of records, to a table.
    Records,
}

/// The keys of which a body has one.
const FORMATS: &str = "{'dataframe_split', 'dataframe_records', 'instances', 'inputs'}";

/// Decodes a body. Keys of no meaning are passed over, `params` among them: MLflow ignores those of a model whose signature
/// declares none, and an ONNX model has no place to declare them.
///
/// # Errors
/// `InvalidArgument`, in MLflow's words where it has any.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<(InferRequest, Form)> {
    let mut reader = Reader::of_body(body)?;
    reader.limit_rows(schema.max_rows());
    if reader.kind()? != Kind::Object {
        return Err(not_an_object(&mut reader));
    }
    let (mut request, mut form) = (InferRequest::default(), None);
    let inputs = &mut request.inputs;
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        let signature = &schema.signature;
        if key.is("dataframe_split") {
            claim(&mut form, Form::Records)?;
            read_split(schema, &mut reader, inputs).map_err(|error| error.context("dataframe_split"))?;
        } else if key.is("dataframe_records") {
            claim(&mut form, Form::Records)?;
            read_records(schema, &mut reader, inputs).map_err(|error| error.context("dataframe_records"))?;
        } else if key.is("instances") {
            claim(&mut form, Form::Tensors)?;
            read_instances(signature, &mut reader, inputs)?;
        } else if key.is("inputs") {
            claim(&mut form, Form::Tensors)?;
            read_inputs(signature, &mut reader, ExtraInputs::Refused, inputs)?;
        } else {
            key.check()?;
            reader.skip()?;
        }
        more = reader.more_members()?;
    }
    reader.finish()?;
    let form = form.ok_or_else(|| Error::invalid(format!("{}. Received none of them", required_format())))?;
    Ok((request, form))
}

fn required_format() -> String {
    format!("The input must be a JSON dictionary with exactly one of the input fields {FORMATS}")
}

fn claim(form: &mut Option<Form>, claimed: Form) -> Result<()> {
    match form.replace(claimed) {
        None => Ok(()),
        Some(_) => Err(Error::invalid(format!("{}. Received several of them", required_format()))),
    }
}

#[cold]
fn not_an_object(reader: &mut Reader<'_>) -> Error {
    let fault = reader.mismatch("an object").context(required_format());
    // What is cut off or followed by something is no JSON at all.
    *reader = reader.rewound();
    match reader.skip().and_then(|()| reader.finish()) {
        Ok(()) => fault.into(),
        Err(other) => other.into(),
    }
}

fn read_records(schema: &Schema, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
    match reader.kind()? {
        Kind::Array => Frame::read_records(schema, reader, inputs),
        _ => {
            let fault = reader.mismatch("a list");
            Err(fault.context("Dataframe records format must be a list of records").into())
        }
    }
}

/// Reads `{"columns": […], "data": [[…]]}`. The columns may stand behind the data, which is then read a second time.
fn read_split(schema: &Schema, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
    if reader.kind()? != Kind::Object {
        let fault = reader.mismatch("an object");
        return Err(fault.context("Dataframe split format must be a dictionary").into());
    }
    let (mut columns, mut read, mut later) = (None, false, None);
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        if key.is("columns") {
            columns = read_columns(reader)?;
        } else if key.is("data") && columns.is_some() {
            read_data(schema, columns.clone(), reader, inputs)?;
            read = true;
        } else if key.is("data") {
            later = Some(reader.at(reader.position()));
            reader.skip()?;
        } else if key.is("index") {
            reader.skip()?;
        } else {
            return Err(Error::invalid(format!(
                "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields. Got {:?}",
                shortened(&key.decode()?)
            )));
        }
        more = reader.more_members()?;
    }
    match later {
        Some(mut data) => read_data(schema, columns, &mut data, inputs),
        None if read => Ok(()),
        None => Err(Error::invalid(
            "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields. Got no 'data'",
        )),
    }
}

/// Reads the names of the columns, of which numbers are names too; `None` for `null`.
fn read_columns(reader: &mut Reader<'_>) -> Result<Option<Vec<Arc<str>>>, Fault> {
    match reader.kind()? {
        Kind::Array => {}
        Kind::Scalar if reader.take_null() => return Ok(None),
        _ => return Err(reader.mismatch("a list of names").context("columns")),
    }
    let mut names = Vec::new();
    let mut more = reader.open_array()?;
    while more {
        names.push(match reader.kind()? {
            Kind::String => reader.string()?.decode()?.into(),
            Kind::Scalar => reader.scalar_text()?.into(),
            Kind::Array | Kind::Object => return Err(reader.mismatch("a name").context("columns")),
        });
        more = reader.more_elements()?;
    }
    Ok(Some(names))
}

fn read_data(
    schema: &Schema,
    columns: Option<Vec<Arc<str>>>,
    reader: &mut Reader<'_>,
    inputs: &mut InputTensors,
) -> Result<()> {
    if !inputs.is_empty() {
        return Err(Error::invalid("duplicate key \"data\""));
    }
    if reader.kind()? != Kind::Array {
        return Err(reader.mismatch("a list of rows").context("data").into());
    }
    let mut frame = Frame::new(schema, columns, reader.remaining())?;
    frame.read_rows(reader)?;
    frame.finish(inputs)
}
