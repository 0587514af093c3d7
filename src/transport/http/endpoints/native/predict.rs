//! `POST /predict` and its longer forms.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;

use crate::{
    edge::{error::ErrorResponse, prediction::Protocol},
    error::Result,
    protocol::native::{
        decode::{Decoded, decode},
        encode::Encoder,
        envelope::Form,
    },
    request::{InferRequest, InferResponse},
    serving::{catalog::ModelRef, served_model::ServedModel},
    tensor::tensor::Tensor,
    transport::http::pipeline::{
        answer::{Begun, answer},
        app::App,
        arrival::{Arrival, Routed},
        url_path::{Named, UrlPath, named},
    },
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;

pub fn default_model(State(app): State<App>, Routed(arrival): Routed) -> BoxFuture<'static, Response> {
    predict(&app, app.service.resolve(ModelRef::DEFAULT), arrival)
}

pub fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    Routed(arrival): Routed,
) -> BoxFuture<'static, Response> {
    predict(&app, app.service.resolve(ModelRef::new(Some(&model), None)), arrival)
}

pub fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    Routed(arrival): Routed,
) -> BoxFuture<'static, Response> {
    predict(&app, app.service.resolve(ModelRef::new(Some(&model), Some(&version))), arrival)
}

/// All three, past the router.
pub fn directly(app: &App, arrival: Arrival) -> BoxFuture<'static, Response> {
    let Named { model, version } = named(arrival.uri().path());
    predict(app, app.service.resolve(ModelRef::new(model, version)), arrival)
}

/// Begins before the future is polled, so that the request's head, which is large, is neither moved into it nor kept.
fn predict(app: &App, model: Result<Arc<ServedModel>>, arrival: Arrival) -> BoxFuture<'static, Response> {
    match model.map_err(ErrorResponse::from).and_then(|model| Begun::new(model, arrival)) {
        Ok(begun) => Box::pin(answer(app.clone(), Native, begun)),
        Err(error) => Box::pin(ready(error.into_response())),
    }
}

struct Native;

impl Protocol for Native {
    type Body = Bytes;
    type Form = Form;
    type Answer = Vec<u8>;

    const IS_OF_ROWS: bool = true;

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decode(&self, model: &ServedModel, body: Bytes) -> Result<(InferRequest, Form)> {
        decode(&model.schema, &body).map(|Decoded { request, form }| (request, form))
    }

    fn encoded_bytes(&self, response: &InferResponse, _form: &Form) -> usize {
        response.outputs.iter().map(Tensor::len).sum::<usize>() * BYTES_PER_VALUE
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, form: Form) -> Result<Vec<u8>> {
        model.attached(|| Encoder::new(Arc::clone(&model.schema), &model.name, model.version))?.encode(
            &response,
            form,
            Timestamp::now(),
        )
    }
}
