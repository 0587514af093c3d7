//! The parameters of requests, inputs and outputs: those that mean something here. All others are passed over.

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    json::{
        element::ReadElement,
        fault::Fault,
        reader::{Kind, Reader},
        string::RawString,
    },
    protocol::oip::outputs::OutputRequest,
};

/// Begins the names of the parameters that have to do with shared memory.
const SHARED_MEMORY: &str = "shared_memory_";

/// What a request's parameters say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RequestParameters {
    /// Whether outputs that are not listed are wanted as bytes.
    pub(super) binary_data_output: bool,
    /// The time that the request gives itself.
    pub(super) timeout: Option<Duration>,
}

impl RequestParameters {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let mut parameters = Self::default();
        each(reader, |reader, key| {
            if key.is("binary_data_output") {
                parameters.binary_data_output = bool::read(reader)?;
            } else if key.is("timeout") {
                // Triton takes 0 for none.
                parameters.timeout = Some(u64::read(reader)?).filter(|time| *time > 0).map(Duration::from_micros);
            } else {
                key.check()?;
                reader.skip()?;
            }
            Ok(())
        })?;
        Ok(parameters)
    }
}

/// Reads an input's parameters: the number of bytes that it has after the JSON, if any.
pub(super) fn binary_data_size(reader: &mut Reader<'_>) -> Result<Option<usize>, Fault> {
    let mut size = None;
    each(reader, |reader, key| {
        match key.is("binary_data_size") {
            true => size = Some(usize_of(reader)?),
            false => skip_but_shared_memory(reader, key)?,
        }
        Ok(())
    })?;
    Ok(size)
}

pub(super) fn output(reader: &mut Reader<'_>) -> Result<OutputRequest, Fault> {
    let mut request = OutputRequest::default();
    each(reader, |reader, key| {
        if key.is("binary_data") {
            request.binary = bool::read(reader)?;
        } else if key.is("classification") {
            let most = NonZeroUsize::new(usize_of(reader)?);
            request.classification = Some(most.ok_or_else(|| Fault::value("expected 1 class or more, but got 0"))?);
        } else {
            skip_but_shared_memory(reader, key)?;
        }
        Ok(())
    })?;
    Ok(request)
}

/// Calls `read` at each value, which it must read; its faults are told with the parameter's name.
fn each<'a>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>, &RawString<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.take_null() {
        return Ok(());
    }
    if reader.kind()? != Kind::Object {
        return Err(reader.mismatch("an object of parameters"));
    }
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        if let Err(fault) = read(reader, &key) {
            return Err(fault.context(format_args!("parameter {:?}", key.decode()?)));
        }
        more = reader.more_members()?;
    }
    Ok(())
}

fn usize_of(reader: &mut Reader<'_>) -> Result<usize, Fault> {
    let number = u64::read(reader)?;
    usize::try_from(number).map_err(|_| Fault::value(format!("{number} is too large")))
}

fn skip_but_shared_memory(reader: &mut Reader<'_>, key: &RawString<'_>) -> Result<(), Fault> {
    match key.decode()?.starts_with(SHARED_MEMORY) {
        true => Err(Fault::value("shared memory is not supported: send data, or bytes after the JSON")),
        false => reader.skip(),
    }
}
