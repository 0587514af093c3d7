//! A body of the protocol to tensors, in one pass and straight into the model's element types.
//!
//! `data` is read where it stands if name, datatype and shape came before it, which they mostly do; otherwise it is passed
//! over first and read when they are known. Keys that mean nothing here are passed over.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    json::{
        fault::Fault,
        reader::{Kind, Reader},
    },
    protocol::{
        oip::{
            inputs::{Inputs, Target},
            outputs::Outputs,
        },
        oip_rest::{
            decode_input::{self, BinarySection},
            parameters::{self, RequestParameters},
        },
    },
    request::InferRequest,
};

/// What an answer must know of its request.
#[derive(Clone, Debug)]
pub struct Form {
    /// The request's id, which the answer repeats.
    pub id: Option<String>,
    /// The outputs that are wanted.
    pub outputs: Outputs,
    /// The time that the request gives itself.
    pub timeout: Option<Duration>,
}

/// Decodes a body of JSON and the bytes after it. `announced` says that the request has told where the JSON ends.
///
/// # Errors
/// `InvalidArgument`: `Request must be JSON: …` where it is not, else what was expected and what came, with the input or
/// output.
pub fn decode(target: Target<'_>, json: &Bytes, binary: Bytes, announced: bool) -> Result<(InferRequest, Form)> {
    let mut reader = Reader::of_shared_body(json)?;
    if reader.kind()? != Kind::Object {
        return Err(not_an_object(&mut reader));
    }
    let mut decoder = Decoder {
        target,
        inputs: None,
        binary: BinarySection::new(binary, announced),
        outputs: Outputs::none(target),
        parameters: RequestParameters::default(),
        id: None,
    };
    let mut more = reader.open_object()?;
    while more {
        decoder.read_member(&mut reader)?;
        more = reader.more_members()?;
    }
    reader.finish()?;
    let inputs = decoder.inputs.ok_or_else(|| Error::invalid("expected \"inputs\", but it is missing"))?;
    let request = inputs.finish()?;
    decoder.binary.finish(target.name)?;
    let outputs = decoder.outputs.or_all(decoder.parameters.binary_data_output);
    Ok((request, Form { id: decoder.id, outputs, timeout: decoder.parameters.timeout }))
}

/// A request in the making.
struct Decoder<'m> {
    target: Target<'m>,
    inputs: Option<Inputs<'m>>,
    binary: BinarySection,
    outputs: Outputs,
    parameters: RequestParameters,
    id: Option<String>,
}

impl Decoder<'_> {
    fn read_member(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let key = reader.key()?;
        if key.is("inputs") {
            return self.read_inputs(reader);
        }
        if key.is("outputs") {
            return self.read_outputs(reader);
        }
        if key.is("id") {
            let in_place = |fault: Fault| fault.context("\"id\"");
            self.id = match reader.take_null() {
                true => None,
                false => Some(reader.string().map_err(in_place)?.decode()?.into_owned()),
            };
        } else if key.is("parameters") {
            self.parameters = RequestParameters::read(reader)?;
        } else {
            key.check()?;
            reader.skip()?;
        }
        Ok(())
    }

    fn read_inputs(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        if reader.kind()? != Kind::Array {
            return Err(reader.mismatch("a list").context("\"inputs\"").into());
        }
        let inputs = self.inputs.get_or_insert_with(|| Inputs::new(self.target));
        let mut more = reader.open_array()?;
        while more {
            if reader.kind()? != Kind::Object {
                return Err(reader.mismatch("objects").context("\"inputs\"").into());
            }
            decode_input::read(reader, inputs, &mut self.binary)?;
            more = reader.more_elements()?;
        }
        Ok(())
    }

    fn read_outputs(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        if reader.take_null() {
            return Ok(());
        }
        if reader.kind()? != Kind::Array {
            return Err(reader.mismatch("a list").context("\"outputs\"").into());
        }
        let mut more = reader.open_array()?;
        while more {
            if reader.kind()? != Kind::Object {
                return Err(reader.mismatch("objects").context("\"outputs\"").into());
            }
            self.read_output(reader)?;
            more = reader.more_elements()?;
        }
        Ok(())
    }

    fn read_output(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let (mut name, mut request) = (None, None);
        let mut more = reader.open_object()?;
        while more {
            let key = reader.key()?;
            if key.is("name") {
                name = Some(reader.string()?.decode()?);
            } else if key.is("parameters") {
                request = Some(parameters::output(reader).map_err(|fault| fault.context("an output's parameters"))?);
            } else {
                key.check()?;
                reader.skip()?;
            }
            more = reader.more_members()?;
        }
        let name = name.ok_or_else(|| Error::invalid("expected \"name\" in each output, but one has none"))?;
        self.outputs.add(self.target, &name, request.unwrap_or_default())
    }
}

#[cold]
fn not_an_object(reader: &mut Reader<'_>) -> Error {
    let fault = reader.mismatch("an object with \"inputs\"");
    // A list may be cut off or followed by something, and then the body is no JSON at all.
    *reader = reader.rewound();
    match reader.skip().and_then(|()| reader.finish()) {
        Ok(()) => fault.into(),
        Err(other) => other.into(),
    }
}
