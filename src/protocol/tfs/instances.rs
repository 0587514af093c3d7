//! `instances` and `inputs`: tensors by rows, and tensors by name. MLflow has taken both over.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::{
    error::Result,
    json::{
        base64::B64,
        fault::Fault,
        keys::Keys,
        nested::read_tensor_loosely,
        reader::{Kind, Reader},
        sinks::Sink,
        skip::shortened,
        stack::Stacks,
    },
    model::signature::{Signature, TensorSpec},
    request::{InputTensor, InputTensors},
    tensor::data_type::DataType,
};

/// What is done with names under `inputs` that are no input's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtraInputs {
    Ignored,
    Refused,
}

/// Reads `instances`: a list of values of the only input, or of objects with a value for each input.
///
/// # Errors
/// `InvalidArgument`, with the element and the input.
pub fn read_instances(signature: &Signature, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
    if reader.kind()? != Kind::Array {
        return Err(reader.mismatch("a list").context("Expecting 'instances' to be an list/array").into());
    }
    match (reader.first_element_kind()?, &signature.inputs[..]) {
        (None, _) => Err(Fault::value("No values in 'instances' array").into()),
        (Some(Kind::Object), specs) if !begins_with_base64(reader.at(reader.position()), specs)? => {
            read_objects(specs, reader, inputs)
        }
        (Some(_), [spec]) => read_value(spec, reader, inputs).map_err(|fault| fault.context("'instances' list").into()),
        (Some(_), specs) => Err(Fault::value(format!(
            "instances is a plain list, but expecting list of objects as multiple input tensors required: {}",
            listed(specs)
        ))
        .into()),
    }
}

/// Reads `inputs`: the value of the only input, or an object with a value for each.
///
/// # Errors
/// `InvalidArgument`, with the input.
pub fn read_inputs(
    signature: &Signature,
    reader: &mut Reader<'_>,
    extra: ExtraInputs,
    inputs: &mut InputTensors,
) -> Result<()> {
    match (reader.kind()?, &signature.inputs[..]) {
        (Kind::Object, specs) if !is_base64(reader.at(reader.position()), specs)? => {
            Ok(read_by_name(specs, reader, extra, inputs)?)
        }
        (_, [spec]) => read_value(spec, reader, inputs)
            .map_err(|fault| fault.context(format_args!("input {:?}", spec.name)).into()),
        (_, specs) => Err(Fault::value(format!(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required: {}",
            listed(specs)
        ))
        .into()),
    }
}

fn read_objects(specs: &[TensorSpec], reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<()> {
    let mut stacks = Stacks::new(specs);
    let mut keys = Keys::of_columns(specs.iter().map(|spec| spec.name.clone()).collect());
    let mut rows = 0;
    let mut more = reader.open_array()?;
    let start = reader.position();
    while more {
        if reader.kind()? != Kind::Object {
            let fault = reader.mismatch("an object, as the first element is");
            return Err(fault
                .context(format_args!("Expecting object but got list at item {rows} of input list"))
                .into());
        }
        keys.read_row(reader, &mut stacks).map_err(|misfit| {
            let fault = worded(misfit.fault);
            match misfit.column.and_then(|column| keys.name_of(column)) {
                Some(key) => fault
                    .context(format_args!("Failed to process element: {rows} key: {key} of 'instances' list. Error")),
                None => fault.context(format_args!(
                    "Failed to process element: {rows} of 'instances' list. JSON object: keys must be equal to: {}",
                    listed(specs)
                )),
            }
        })?;
        rows += 1;
        more = reader.more_elements()?;
        if more {
            reader.check_more_rows(rows)?;
        }
        if rows == 1 {
            stacks.reserve_alike(reader.position() - start, reader.remaining());
        }
    }
    stacks.finish(rows, inputs)
}

fn read_by_name(
    specs: &[TensorSpec],
    reader: &mut Reader<'_>,
    extra: ExtraInputs,
    inputs: &mut InputTensors,
) -> Result<(), Fault> {
    let mut seen: SmallVec<[bool; 16]> = smallvec![false; specs.len()];
    let mut more = reader.open_object()?;
    while more {
        let key = reader.key()?;
        match specs.iter().position(|spec| key.is(&spec.name)) {
            Some(index) if seen[index] => {
                return Err(Fault::value(format!("duplicate key {:?} in 'inputs' object", specs[index].name)));
            }
            Some(index) => {
                let spec = &specs[index];
                seen[index] = true;
                read_value(spec, reader, inputs)
                    .map_err(|fault| fault.context(format_args!("input {:?}", spec.name)))?;
            }
            None if extra == ExtraInputs::Ignored => {
                key.check()?;
                reader.skip()?;
            }
            None => {
                let name = key.decode()?;
                return Err(Fault::value(format!("unknown input {:?}: expected {}", shortened(&name), listed(specs))));
            }
        }
        more = reader.more_members()?;
    }
    match seen.iter().position(|seen| !seen) {
        None => Ok(()),
        Some(index) => Err(Fault::value(format!("Missing named input: {} in 'inputs' object", specs[index].name))),
    }
}

fn read_value(spec: &TensorSpec, reader: &mut Reader<'_>, inputs: &mut InputTensors) -> Result<(), Fault> {
    let tensor = read_tensor_loosely(reader, spec).map_err(worded)?;
    inputs.push(InputTensor { name: Arc::clone(&spec.name), tensor });
    Ok(())
}

/// Says of a list of the wrong length what TensorFlow Serving says.
#[cold]
fn worded(fault: Fault) -> Fault {
    match fault.is_ragged() {
        true => fault.context("Encountered list at unexpected size"),
        false => fault,
    }
}

/// Tells whether the object that stands next is a string of the only input, and no object of inputs.
fn is_base64(mut reader: Reader<'_>, specs: &[TensorSpec]) -> Result<bool, Fault> {
    match specs {
        [spec] if spec.data_type == DataType::Bytes && &*spec.name != B64 => {
            Ok(reader.open_object()? && reader.key()?.is(B64) && reader.kind()? == Kind::String)
        }
        _ => Ok(false),
    }
}

fn begins_with_base64(mut reader: Reader<'_>, specs: &[TensorSpec]) -> Result<bool, Fault> {
    Ok(reader.open_array()? && is_base64(reader, specs)?)
}

fn listed(specs: &[TensorSpec]) -> String {
    let names: Vec<_> = specs.iter().map(|spec| &*spec.name).collect();
    names.join(",")
}
