//! `POST /v2/models/{model}/infer`

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::Response,
};

use crate::{
    api::{
        error::ErrorResponse,
        http::{
            app::App,
            body::UnreadBody,
            call::Call,
            oip::{
                binary::{self, INFERENCE_HEADER_CONTENT_LENGTH, Parts},
                decode::{Form, decode},
                encode::{Answer, encode},
            },
            url_path::UrlPath,
        },
        oip::{
            models::{find, max_batch_size, target},
            outputs::{OutputRequest, Outputs},
            raw,
        },
        prediction::{self, Deadline, Protocol},
    },
    error::Result,
    request::{InferRequest, InferResponse},
    serving::served_model::ServedModel,
    tensor::{data_type::DataType, tensor::Tensor},
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;
/// How many times faster bytes are copied than text is written.
const COPIED_PER_WRITTEN: usize = 16;

/// `POST /v2/models/{model}/infer`
pub fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send {
    infer(app, &model, None, request)
}

/// `POST /v2/models/{model}/versions/{version}/infer`
pub fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send {
    infer(app, &model, Some(&version), request)
}

/// Begins before the future is polled, so that the request's head, which is large, is neither moved into it nor kept.
fn infer(
    app: App,
    model: &str,
    version: Option<&str>,
    request: Request,
) -> impl Future<Output = Result<Response, ErrorResponse>> + Send + use<> {
    let begun = Begun::new(&app, model, version, request);
    async move {
        let Begun { model, protocol, deadline, body } = begun?;
        let read = || body.read(app.config.limits.max_body_bytes, deadline);
        let answer = prediction::predict(&app.service, &model, deadline, protocol, read).await?;
        Ok(respond(answer))
    }
}

/// What is kept of a request's head, and its body.
struct Begun {
    model: Arc<ServedModel>,
    protocol: OpenInference,
    deadline: Deadline,
    body: UnreadBody,
}

impl Begun {
    fn new(app: &App, model: &str, version: Option<&str>, request: Request) -> Result<Self, ErrorResponse> {
        let model = find(&app.service, model, version)?;
        let call = Call::of(&request)?;
        call.answer_by(&model);
        let inputs = &model.schema.signature.inputs;
        let protocol = OpenInference {
            header: request.headers().get(INFERENCE_HEADER_CONTENT_LENGTH).cloned(),
            takes_strings: inputs.iter().any(|input| input.data_type == DataType::Bytes),
        };
        Ok(Self { protocol, deadline: call.deadline()?, body: UnreadBody::of(request), model })
    }
}

fn respond(answer: Answer) -> Response {
    let mut response = Response::new(answer.body.into());
    let headers = response.headers_mut();
    match answer.json_bytes {
        None => headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        Some(json_bytes) => {
            headers.insert(INFERENCE_HEADER_CONTENT_LENGTH, HeaderValue::from(json_bytes));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        }
    };
    response
}

/// The protocol, for one request.
struct OpenInference {
    header: Option<HeaderValue>,
    takes_strings: bool,
}

impl Protocol for OpenInference {
    type Body = Bytes;
    type Form = Form;
    type Answer = Answer;

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        binary::walked_bytes(self.header.as_ref(), body, self.takes_strings)
    }

    fn decode(&self, model: &ServedModel, body: Bytes) -> Result<(InferRequest, Form)> {
        let target = target(model);
        match binary::split(self.header.as_ref(), body)? {
            Parts::Json { json, binary } => decode(target, &json, binary, self.header.is_some()),
            Parts::Raw(body) => {
                let request = binary::read_raw(target, max_batch_size(model) > 0, body)?;
                Ok((request, Form { id: None, outputs: Outputs::none(target).or_all(true), timeout: None }))
            }
        }
    }

    fn timeout(&self, form: &Form) -> Option<Duration> {
        form.timeout
    }

    fn encoded_bytes(&self, response: &InferResponse, form: &Form) -> usize {
        let bytes_of = |(index, output): (usize, &Tensor)| match form.outputs.get(index) {
            None => 0,
            Some(OutputRequest { binary: true, .. }) => raw::size(output) / COPIED_PER_WRITTEN,
            Some(_) => output.len() * BYTES_PER_VALUE,
        };
        response.outputs.iter().enumerate().map(bytes_of).sum()
    }

    fn encode(&self, model: &ServedModel, response: InferResponse, form: Form) -> Result<Answer> {
        let outputs = form.outputs.answer(&model.schema, max_batch_size(model) > 0, response)?;
        encode(&model.name, model.version, &form, &outputs)
    }
}
