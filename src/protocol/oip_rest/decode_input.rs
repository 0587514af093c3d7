//! One input of a request: declared, then read from JSON or taken from the bytes after it.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    error::{Error, Result},
    json::{
        element::ReadElement,
        fault::Fault,
        flat::read_tensor,
        reader::{Kind, Reader},
    },
    protocol::{
        oip::{
            inputs::{DeclaredInput, Inputs, MAX_RANK, quoted},
            raw,
        },
        oip_rest::parameters,
    },
    tensor::tensor::Tensor,
};

/// The bytes after the JSON, of which each input takes its own from the front.
#[derive(Debug)]
pub(super) struct BinarySection {
    rest: Bytes,
    /// Whether the request says that there are bytes at all.
    pub(super) announced: bool,
}

/// What an input says of itself, in whatever order.
#[derive(Debug, Default)]
struct Members<'a> {
    name: Option<Cow<'a, str>>,
    data_type: Option<Cow<'a, str>>,
    dims: Option<SmallVec<[i64; 8]>>,
    binary_size: Option<usize>,
    data: Data,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    Read(Tensor),
    /// Where it begins, if it came before what it is was known.
    At(usize),
}

impl BinarySection {
    pub(super) fn new(rest: Bytes, announced: bool) -> Self {
        Self { rest, announced }
    }

    /// Checks that every byte was some input's.
    pub(super) fn finish(self, model: &str) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Error::invalid(format!(
                "unexpected additional input data for model {}: {left} bytes are left over",
                quoted(model)
            ))),
        }
    }

    fn take(&mut self, size: usize, input: &DeclaredInput<'_>) -> Result<Bytes> {
        if size <= self.rest.len() {
            return Ok(self.rest.split_to(size));
        }
        let header = match self.announced {
            true => "",
            false => "; is the inference-header-content-length header missing?",
        };
        Err(Error::invalid(format!(
            "unexpected size for input '{}', expecting {} additional bytes for model '{}'{header}",
            input.name(),
            size - self.rest.len(),
            input.model()
        )))
    }
}

/// Reads an element of `"inputs"`, which begins here.
///
/// # Errors
/// `InvalidArgument` naming the input where it has a name.
pub(super) fn read(reader: &mut Reader<'_>, inputs: &mut Inputs<'_>, binary: &mut BinarySection) -> Result<()> {
    let mut members = Members::default();
    let mut declared = None;
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        if key.is("name") {
            members.name = Some(reader.string()?.decode()?);
        } else if key.is("datatype") {
            members.data_type = Some(reader.string()?.decode()?);
        } else if key.is("shape") {
            members.dims = Some(read_dims(reader).map_err(|fault| members.located(fault.context("shape")))?);
        } else if key.is("data") {
            members.data = match members.declare(inputs)? {
                Some(input) => {
                    let data = Data::Read(read_data(reader, &input)?);
                    declared = Some(input);
                    data
                }
                None => {
                    reader.kind()?;
                    let start = reader.position();
                    reader.skip()?;
                    Data::At(start)
                }
            };
        } else if key.is("parameters") {
            members.binary_size = parameters::binary_data_size(reader).map_err(|fault| members.located(fault))?;
        } else {
            key.check()?;
            reader.skip()?;
        }
        more = reader.more_members()?;
    }
    let input = match declared {
        Some(input) => input,
        None => members.declare(inputs)?.ok_or_else(|| members.incomplete())?,
    };
    let tensor = match (members.data, members.binary_size) {
        (Data::Read(tensor), None) => tensor,
        (Data::At(position), None) => read_data(&mut reader.at(position), &input)?,
        (Data::None, Some(size)) => raw::read(&input, binary.take(size, &input)?)?,
        (Data::None, None) => {
            return Err(Error::invalid(format!(
                "input '{}': expected \"data\", or \"binary_data_size\" in its parameters",
                input.name()
            )));
        }
        (_, Some(_)) => {
            return Err(Error::invalid(format!(
                "input '{}': expected either \"data\" or \"binary_data_size\", but got both",
                input.name()
            )));
        }
    };
    inputs.push(&input, tensor);
    Ok(())
}

impl Members<'_> {
    /// Declares the input, once all that it takes is known.
    fn declare<'m>(&self, inputs: &mut Inputs<'m>) -> Result<Option<DeclaredInput<'m>>> {
        match (&self.name, &self.data_type, &self.dims) {
            (Some(name), Some(data_type), Some(dims)) => {
                inputs.declare(name, data_type, dims.iter().copied()).map(Some)
            }
            _ => Ok(None),
        }
    }

    #[cold]
    fn incomplete(&self) -> Error {
        let Some(name) = &self.name else {
            return Error::invalid(
                "expected \"name\", \"shape\" and \"datatype\" in each input, but one has no \"name\"",
            );
        };
        let missing = if self.dims.is_none() { "shape" } else { "datatype" };
        Error::invalid(format!("input {}: expected \"{missing}\", but it is missing", quoted(name)))
    }

    #[cold]
    fn located(&self, fault: Fault) -> Fault {
        match &self.name {
            Some(name) => fault.context(format_args!("input {}", quoted(name))),
            None => fault,
        }
    }
}

fn read_dims(reader: &mut Reader<'_>) -> Result<SmallVec<[i64; 8]>, Fault> {
    if reader.kind()? != Kind::Array {
        return Err(reader.mismatch("a list of dimensions"));
    }
    let mut dims = SmallVec::new();
    let mut more = reader.open_array()?;
    while more {
        if dims.len() == MAX_RANK {
            return Err(Fault::value(format!("expected at most {MAX_RANK} dimensions")));
        }
        dims.push(i64::read(reader)?);
        more = reader.more_elements()?;
    }
    Ok(dims)
}

fn read_data(reader: &mut Reader<'_>, input: &DeclaredInput<'_>) -> Result<Tensor> {
    let read = read_tensor(reader, input.data_type(), input.shape());
    Ok(read.map_err(|fault| fault.context(format_args!("input '{}'", input.name())))?)
}
