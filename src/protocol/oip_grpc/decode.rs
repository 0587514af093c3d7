//! A request to tensors: raw bytes, or lists of typed values, and never both.

use std::{collections::HashMap, num::NonZeroUsize, time::Duration};

use bytes::Bytes;

use crate::{
    error::{Error, Result},
    protocol::{
        oip::{
            inputs::{DeclaredInput, Inputs, Target},
            outputs::{OutputRequest, Outputs},
            raw,
            typed::Contents,
        },
        proto::inference::{
            InferParameter, InferTensorContents, ModelInferRequest, infer_parameter::ParameterChoice,
            model_infer_request::InferInputTensor,
        },
    },
    request::InferRequest,
    tensor::tensor::Tensor,
};

/// Begins the names of the parameters that have to do with shared memory.
const SHARED_MEMORY: &str = "shared_memory_";

/// What an answer must know of its request.
#[derive(Clone, Debug)]
pub struct Form {
    /// The request's id, which the answer repeats.
    pub id: String,
    /// The outputs that are wanted.
    pub outputs: Outputs,
    /// The time that the request gives itself.
    pub timeout: Option<Duration>,
}

type Parameters = HashMap<String, InferParameter>;

/// Makes tensors of a request. Raw bytes are sliced, and lists of an element type's own width taken as they are.
///
/// # Errors
/// `InvalidArgument` naming the input, the output or the parameter, what was expected and what came.
pub fn decode(target: Target<'_>, request: ModelInferRequest) -> Result<(InferRequest, Form)> {
    let timeout = timeout(&request.parameters)?;
    let mut outputs = Outputs::none(target);
    for output in &request.outputs {
        let in_place = |error: Error| error.context(format_args!("output {:?}", output.name));
        let classification = classification(&output.parameters).map_err(in_place)?;
        outputs.add(target, &output.name, OutputRequest { classification, binary: true })?;
    }
    let raw = request.raw_input_contents;
    let is_raw = !raw.is_empty();
    if is_raw && raw.len() != request.inputs.len() {
        return Err(Error::invalid(format!(
            "raw_input_contents: expected {} buffers, one an input, but got {}",
            request.inputs.len(),
            raw.len()
        )));
    }
    let mut inputs = Inputs::new(target);
    let mut raw = raw.into_iter();
    for input in request.inputs {
        let declared = inputs.declare(&input.name, &input.datatype, input.shape.iter().copied())?;
        refuse_shared_memory(&input.parameters)
            .map_err(|error| error.context(format_args!("input {:?}", input.name)))?;
        let tensor = match raw.next() {
            Some(bytes) => read_raw(&declared, &input, bytes)?,
            None => read_typed(&declared, input.contents.unwrap_or_default())?,
        };
        inputs.push(&declared, tensor);
    }
    Ok((inputs.finish()?, Form { id: request.id, outputs: outputs.or_all(true), timeout }))
}

fn read_raw(declared: &DeclaredInput<'_>, input: &InferInputTensor, bytes: Bytes) -> Result<Tensor> {
    if input.contents.as_ref().is_some_and(|contents| *contents != InferTensorContents::default()) {
        return Err(Error::invalid(format!(
            "input '{}': contents field must not be specified when using raw_input_contents for model '{}'",
            declared.name(),
            declared.model()
        )));
    }
    raw::read(declared, bytes)
}

fn read_typed(declared: &DeclaredInput<'_>, contents: InferTensorContents) -> Result<Tensor> {
    let lists = [
        (!contents.bool_contents.is_empty()).then_some(Contents::Bool(contents.bool_contents)),
        (!contents.int_contents.is_empty()).then_some(Contents::Int(contents.int_contents)),
        (!contents.int64_contents.is_empty()).then_some(Contents::Int64(contents.int64_contents)),
        (!contents.uint_contents.is_empty()).then_some(Contents::Uint(contents.uint_contents)),
        (!contents.uint64_contents.is_empty()).then_some(Contents::Uint64(contents.uint64_contents)),
        (!contents.fp32_contents.is_empty()).then_some(Contents::Fp32(contents.fp32_contents)),
        (!contents.fp64_contents.is_empty()).then_some(Contents::Fp64(contents.fp64_contents)),
        (!contents.bytes_contents.is_empty()).then_some(Contents::Bytes(contents.bytes_contents)),
    ];
    let mut lists = lists.into_iter().flatten();
    match (lists.next(), lists.next()) {
        (Some(contents), None) => declared.typed(contents),
        // No list tells the type of no values.
        (None, _) if declared.count() == 0 => raw::read(declared, Bytes::new()),
        (None, _) => Err(Error::invalid(format!(
            "unable to find data for input tensor '{}' for model '{}' in request",
            declared.name(),
            declared.model()
        ))),
        (Some(_), Some(_)) => Err(Error::invalid(format!(
            "input '{}': expected one list in its contents, but got several",
            declared.name()
        ))),
    }
}

/// Reads `timeout`, in microseconds; 0 is none.
fn timeout(parameters: &Parameters) -> Result<Option<Duration>> {
    let Some(parameter) = parameters.get("timeout") else { return Ok(None) };
    let microseconds = integer(parameter).ok_or_else(|| misfit("timeout", "a number of microseconds", parameter))?;
    Ok(Some(Duration::from_micros(microseconds)).filter(|timeout| !timeout.is_zero()))
}

/// Reads `classification`: how many classes are wanted.
fn classification(parameters: &Parameters) -> Result<Option<NonZeroUsize>> {
    refuse_shared_memory(parameters)?;
    let Some(parameter) = parameters.get("classification") else { return Ok(None) };
    let classes = integer(parameter).and_then(|classes| NonZeroUsize::new(usize::try_from(classes).ok()?));
    classes.map(Some).ok_or_else(|| misfit("classification", "an int64_param of 1 or more", parameter))
}

fn refuse_shared_memory(parameters: &Parameters) -> Result<()> {
    match parameters.keys().any(|name| name.starts_with(SHARED_MEMORY)) {
        true => Err(Error::invalid("shared memory is not supported: send tensors in the request")),
        false => Ok(()),
    }
}

fn integer(parameter: &InferParameter) -> Option<u64> {
    match parameter.parameter_choice.as_ref()? {
        ParameterChoice::Int64Param(integer) => u64::try_from(*integer).ok(),
        ParameterChoice::Uint64Param(integer) => Some(*integer),
        ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_) | ParameterChoice::DoubleParam(_) => None,
    }
}

fn misfit(name: &str, expected: &str, parameter: &InferParameter) -> Error {
    let came = match &parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(integer)) => integer.to_string(),
        Some(ParameterChoice::Uint64Param(integer)) => integer.to_string(),
        Some(ParameterChoice::BoolParam(flag)) => flag.to_string(),
        Some(ParameterChoice::DoubleParam(number)) => number.to_string(),
        Some(ParameterChoice::StringParam(_)) => "a string".to_owned(),
        None => "nothing".to_owned(),
    };
    Error::invalid(format!("parameter {name:?}: expected {expected}, but got {came}"))
}
