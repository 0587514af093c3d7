//! `Predict`.

use std::{future::ready, sync::Arc};

use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::{
    edge::prediction::{self, Protocol},
    error::Result,
    protocol::{
        prediction_service::{decode::decode, encode::encode},
        proto::onnxd_v1::{PredictRequest, PredictResponse, prediction_service_server::PredictionService},
    },
    request::{InferRequest, InferResponse},
    serving::{catalog::ModelRef, served_model::ServedModel, service::InferenceService},
    tensor::tensor::Tensor,
    transport::grpc::call::Caller,
};

#[derive(Clone, Debug)]
pub(in crate::transport::grpc) struct Predictions(pub(in crate::transport::grpc) Arc<InferenceService>);

#[tonic::async_trait]
impl PredictionService for Predictions {
    async fn predict(&self, request: Request<PredictRequest>) -> Result<Response<PredictResponse>, Status> {
        let caller = Caller::of(&request)?;
        let message = request.into_inner();
        let given = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
        let (name, version) = (given(&message.model), given(&message.model_version));
        let model = self.0.resolve(ModelRef::new(name.as_deref(), version.as_deref()))?;
        caller.answered_by(&model);
        let outcome = prediction::predict(&self.0, &model, caller.deadline, Rows, || ready(Ok((message, ())))).await;
        Ok(Response::new(outcome?))
    }
}

struct Rows;

impl Protocol for Rows {
    type Body = PredictRequest;
    type Form = ();
    type Answer = PredictResponse;

    const IS_OF_ROWS: bool = true;

    fn decoded_bytes(&self, message: &PredictRequest) -> usize {
        message.encoded_len()
    }

    fn decode(&self, model: &ServedModel, message: PredictRequest) -> Result<(InferRequest, ())> {
        decode(&model.schema, &message).map(|request| (request, ()))
    }

    fn encoded_bytes(&self, response: &InferResponse, _form: &()) -> usize {
        response.outputs.iter().map(Tensor::len).sum::<usize>() * size_of::<f64>()
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, _form: ()) -> Result<PredictResponse> {
        encode(model, &response)
    }
}
