//! `POST /invocations`

use axum::{body::Bytes, extract::State, response::Response};

use crate::{
    edge::{error::ErrorResponse, prediction::Protocol},
    error::Result,
    protocol::mlflow::{
        csv,
        decode::{Form, decode},
        encode::encode,
    },
    request::{InferRequest, InferResponse},
    serving::{catalog::ModelRef, served_model::ServedModel},
    tensor::tensor::Tensor,
    transport::http::{
        endpoints::mlflow::media_type::MediaType,
        pipeline::{
            answer::{Begun, answer},
            app::App,
            arrival::Routed,
        },
    },
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;

/// Asks the default model.
pub async fn invocations(State(app): State<App>, Routed(arrival): Routed) -> Result<Response, ErrorResponse> {
    let media_type = MediaType::of(arrival.headers())?;
    let model = app.service.resolve(ModelRef::DEFAULT)?;
    let begun = Begun::new(model, arrival)?;
    Ok(answer(app, Mlflow(media_type), begun).await)
}

struct Mlflow(MediaType);

impl Protocol for Mlflow {
    type Body = Bytes;
    type Form = Form;
    type Answer = Vec<u8>;

    const IS_OF_ROWS: bool = true;

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decode(&self, model: &ServedModel, body: Bytes) -> Result<(InferRequest, Form)> {
        match self.0 {
            MediaType::Json => decode(&model.schema, &body),
            MediaType::Csv => csv::decode(&model.schema, &body).map(|request| (request, Form::Records)),
        }
    }

    fn encoded_bytes(&self, response: &InferResponse, _form: &Form) -> usize {
        response.outputs.iter().map(Tensor::len).sum::<usize>() * BYTES_PER_VALUE
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, form: Form) -> Result<Vec<u8>> {
        encode(&model.schema, &response, form)
    }
}
