//! `POST /predict` and its longer forms.

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;

use crate::{
    api::{
        error::ErrorResponse,
        http::{
            app::App,
            body,
            layers::access_log::AnsweredBy,
            native::decode::{Decoded, Form, decode},
            url_path::UrlPath,
        },
        prediction::{self, Deadline, Protocol},
    },
    error::Result,
    request::{InferRequest, InferResponse},
    serving::served_model::ServedModel,
    tensor::tensor::Tensor,
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;

/// `POST /predict`
pub async fn default_model(State(app): State<App>, request: Request) -> Result<Response, ErrorResponse> {
    predict(app, None, None, request).await
}

/// `POST /models/{model}/predict`
pub async fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    predict(app, Some(&model), None, request).await
}

/// `POST /models/{model}/versions/{version}/predict`
pub async fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    predict(app, Some(&model), Some(&version), request).await
}

async fn predict(
    app: App,
    model: Option<&str>,
    version: Option<&str>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let model = app.service.find(model, version)?;
    let deadline = Deadline::of(&request)?;
    let (head, body) = request.into_parts();
    let body = body::read(&head.headers, body, app.config.limits.max_body_bytes, deadline);
    let outcome = prediction::predict(&app.service, &model, deadline, Native(app.clone()), body).await;
    let mut response = match outcome {
        Ok(json) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response(),
        Err(error) => ErrorResponse::from(error).into_response(),
    };
    response.extensions_mut().insert(AnsweredBy(model.name.clone(), model.version));
    Ok(response)
}

/// The native protocol.
struct Native(App);

impl Protocol for Native {
    type Body = Bytes;
    type Form = Form;
    type Answer = Vec<u8>;

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
        self.0.with_encoder(model, |encoder| encoder.encode(&response, form, Timestamp::now()))
    }
}
