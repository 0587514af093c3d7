//! `ModelInfer`.

use std::{future::ready, mem, time::Duration};

use crate::{
    edge::prediction::{self, Deadline, Protocol},
    error::{Error, Result},
    protocol::{
        oip::{
            models::{find, target},
            raw,
        },
        oip_grpc::decode::{Form, decode},
        proto::inference::{ModelInferRequest, ModelInferResponse, model_infer_response::InferOutputTensor},
    },
    request::{InferRequest, InferResponse},
    serving::{served_model::ServedModel, service::InferenceService},
    tensor::data_type::DataType,
    transport::grpc::call::Caller,
};

/// How many times faster bytes are copied than text is read or written.
const COPIED_PER_PARSED: usize = 16;

/// Runs a request.
///
/// # Errors
/// Those of the protocol and of [`prediction::predict`].
pub(super) async fn infer(
    service: &InferenceService,
    caller: &Caller,
    deadline: Deadline,
    request: ModelInferRequest,
) -> Result<ModelInferResponse> {
    let model = find(service, &request.model_name, given_version(&request.model_version)?)?;
    caller.answered_by(&model);
    prediction::predict(service, &model, deadline, OpenInference, || ready(Ok((request, ())))).await
}

/// Takes the version of a request; empty is none.
///
/// # Errors
/// `InvalidArgument` where it is not a number.
pub(super) fn given_version(version: &str) -> Result<Option<&str>> {
    match version {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(digits)),
        other => Err(Error::invalid(format!("expected a version that is a number, or none, but got {other:?}"))),
    }
}

struct OpenInference;

impl Protocol for OpenInference {
    type Body = ModelInferRequest;
    type Form = Form;
    type Answer = ModelInferResponse;

    const IS_OF_ROWS: bool = false;

    fn decoded_bytes(&self, request: &ModelInferRequest) -> usize {
        let raw: usize = request.raw_input_contents.iter().map(bytes::Bytes::len).sum();
        let has_strings = request.inputs.iter().any(|input| input.datatype == DataType::Bytes.name());
        let typed = request.inputs.iter().filter_map(|input| input.contents.as_ref());
        // Only these become elements of another size.
        let narrowed: usize = typed.map(|contents| contents.int_contents.len() + contents.uint_contents.len()).sum();
        narrowed + if has_strings { raw } else { raw / COPIED_PER_PARSED }
    }

    fn decode(&self, model: &ServedModel, request: ModelInferRequest) -> Result<(InferRequest, Form)> {
        decode(target(model), request)
    }

    fn timeout(&self, form: &Form) -> Option<Duration> {
        form.timeout
    }

    fn encoded_bytes(&self, response: &InferResponse, form: &Form) -> usize {
        let outputs = response.outputs.iter().enumerate().filter(|(index, _)| form.outputs.get(*index).is_some());
        outputs.map(|(_, output)| raw::size(output) / COPIED_PER_PARSED).sum()
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, mut form: Form) -> Result<ModelInferResponse> {
        let answered = form.outputs.answer(&model.schema, model.counts_rows(), response)?;
        let mut response = ModelInferResponse {
            model_name: model.name.to_string(),
            model_version: model.version.to_string(),
            id: mem::take(&mut form.id),
            ..Default::default()
        };
        for output in &answered {
            let shape = output.tensor.shape().iter().map(|size| i64::try_from(*size).map_err(Error::internal));
            response.outputs.push(InferOutputTensor {
                name: output.name.to_string(),
                datatype: output.tensor.data_type().name().to_owned(),
                shape: shape.collect::<Result<_>>()?,
                ..Default::default()
            });
            // Clients look nowhere else for elements.
            response.raw_output_contents.push(raw::bytes(&output.tensor)?);
        }
        Ok(response)
    }
}
