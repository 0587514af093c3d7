//! `POST /v1/models/{model}:predict`, `:classify` and `:regress`, also for one version.

use axum::{
    body::Bytes,
    extract::{Request, State},
    response::Response,
};

use crate::{
    edge::{error::ErrorResponse, prediction::Protocol},
    error::Result,
    protocol::tfs::{
        decode::{Form, decode},
        encode::{check_verb, encode},
        verb::Verb,
    },
    request::{InferRequest, InferResponse},
    serving::{catalog::VersionRef, served_model::ServedModel},
    tensor::tensor::Tensor,
    transport::http::{
        endpoints::tfs::path::{find, malformed, split_verb},
        pipeline::{
            answer::{Begun, answer},
            app::App,
            arrival::{Arrival, Routed},
            url_path::UrlPath,
        },
    },
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;

pub async fn model(
    State(app): State<App>,
    UrlPath(segment): UrlPath<String>,
    Routed(arrival): Routed,
) -> Result<Response, ErrorResponse> {
    let (name, verb) = split_verb(&segment, &arrival)?;
    ask(&app, name, VersionRef::Default, verb, arrival).await
}

pub async fn version(
    State(app): State<App>,
    UrlPath((name, segment)): UrlPath<(String, String)>,
    Routed(arrival): Routed,
) -> Result<Response, ErrorResponse> {
    let (number, verb) = split_verb(&segment, &arrival)?;
    ask(&app, &name, VersionRef::Number(number), verb, arrival).await
}

pub async fn label(
    State(app): State<App>,
    UrlPath((name, segment)): UrlPath<(String, String)>,
    Routed(arrival): Routed,
) -> Result<Response, ErrorResponse> {
    let (label, verb) = split_verb(&segment, &arrival)?;
    ask(&app, &name, VersionRef::Label(label), verb, arrival).await
}

/// Answers any other path under `/v1/`.
pub async fn no_such_path(request: Request) -> ErrorResponse {
    malformed(&request).into()
}

async fn ask(
    app: &App,
    name: &str,
    version: VersionRef<'_>,
    verb: Verb,
    arrival: Arrival,
) -> Result<Response, ErrorResponse> {
    let model = find(app, name, version, &arrival)?;
    check_verb(verb, &model.schema.task)?;
    Ok(answer(app.clone(), TensorFlowServing(verb), Begun::new(model, arrival)?).await)
}

struct TensorFlowServing(Verb);

impl Protocol for TensorFlowServing {
    type Body = Bytes;
    type Form = Form;
    type Answer = Vec<u8>;

    const IS_OF_ROWS: bool = true;

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decode(&self, model: &ServedModel, body: Bytes) -> Result<(InferRequest, Form)> {
        decode(&model.schema, self.0, &body)
    }

    fn encoded_bytes(&self, response: &InferResponse, _form: &Form) -> usize {
        response.outputs.iter().map(Tensor::len).sum::<usize>() * BYTES_PER_VALUE
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, form: Form) -> Result<Vec<u8>> {
        encode(&model.schema, &response, form)
    }
}
