//! `POST /predict` and its longer forms.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Request, State},
    response::Response,
};
use jiff::Timestamp;

use crate::{
    api::{
        error::ErrorResponse,
        http::{
            answer::answer_body,
            app::App,
            body::UnreadBody,
            call::Call,
            native::decode::{Decoded, Form, decode},
            url_path::UrlPath,
        },
        prediction::{Deadline, Protocol},
    },
    error::Result,
    request::{InferRequest, InferResponse},
    serving::served_model::ServedModel,
    tensor::tensor::Tensor,
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;

/// `POST /predict`
pub fn default_model(
    State(app): State<App>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send {
    predict(app, None, None, request)
}

/// `POST /models/{model}/predict`
pub fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send {
    predict(app, Some(&model), None, request)
}

/// `POST /models/{model}/versions/{version}/predict`
pub fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send {
    predict(app, Some(&model), Some(&version), request)
}

/// Begins before the future is polled, so that the request's head, which is large, is neither moved into it nor kept.
fn predict(
    app: App,
    model: Option<&str>,
    version: Option<&str>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send + use<> {
    let begun = begin(&app, model, version, request);
    async move {
        let (model, deadline, body) = begun?;
        answer_body(&app, &model, Native(app.clone()), body, deadline).await
    }
}

fn begin(
    app: &App,
    model: Option<&str>,
    version: Option<&str>,
    request: Request,
) -> Result<(Arc<ServedModel>, Deadline, UnreadBody), ErrorResponse> {
    let model = app.service.find(model, version)?;
    let call = Call::of(&request)?;
    call.answer_by(&model);
    Ok((model, call.deadline()?, UnreadBody::of(request)))
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
