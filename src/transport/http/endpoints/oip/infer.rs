//! `POST /v2/models/{model}/infer`

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::future::{BoxFuture, ready};

use crate::{
    edge::{error::ErrorResponse, prediction::Protocol},
    error::Result,
    protocol::{
        oip::{
            models::{find, target},
            outputs::{OutputRequest, Outputs},
            raw,
        },
        oip_rest::{
            binary::{self, INFERENCE_HEADER_CONTENT_LENGTH, Parts},
            decode::{Form, decode},
            encode::{Answer, encode},
        },
    },
    request::{InferRequest, InferResponse},
    serving::served_model::ServedModel,
    tensor::{data_type::DataType, tensor::Tensor},
    transport::http::pipeline::{
        answer::{Begun, answer_with},
        app::App,
        arrival::{Arrival, Routed},
        url_path::{Named, UrlPath, named},
    },
};

/// About how many bytes a number takes in JSON.
const BYTES_PER_VALUE: usize = 10;
/// How many times faster bytes are copied than text is written.
const COPIED_PER_WRITTEN: usize = 16;

pub fn model(
    State(app): State<App>,
    UrlPath(model): UrlPath<String>,
    Routed(arrival): Routed,
) -> BoxFuture<'static, Response> {
    infer(&app, find(&app.service, &model, None), arrival)
}

pub fn version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
    Routed(arrival): Routed,
) -> BoxFuture<'static, Response> {
    infer(&app, find(&app.service, &model, Some(&version)), arrival)
}

pub fn directly(app: &App, arrival: Arrival) -> BoxFuture<'static, Response> {
    let Named { model, version } = named(arrival.uri().path());
    infer(app, find(&app.service, model.unwrap_or_default(), version), arrival)
}

/// Begins before the future is polled, so that the request's head, which is large, is neither moved into it nor kept.
fn infer(app: &App, model: Result<Arc<ServedModel>>, arrival: Arrival) -> BoxFuture<'static, Response> {
    let begun = model.map_err(ErrorResponse::from).and_then(|model| {
        let protocol = OpenInference::of(&model, arrival.headers());
        Begun::new(model, arrival).map(|begun| (protocol, begun))
    });
    match begun {
        Ok((protocol, begun)) => Box::pin(answer_with(app.clone(), protocol, begun, render)),
        Err(error) => Box::pin(ready(error.into_response())),
    }
}

fn render(answer: Answer, headers: &mut HeaderMap) -> Body {
    match answer.json_bytes {
        None => headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        Some(json_bytes) => {
            headers.insert(INFERENCE_HEADER_CONTENT_LENGTH, HeaderValue::from(json_bytes));
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        }
    };
    answer.body.into()
}

/// The protocol, for one request.
struct OpenInference {
    header: Option<HeaderValue>,
    takes_strings: bool,
}

impl OpenInference {
    /// Takes what the protocol must know of a request's head.
    fn of(model: &ServedModel, headers: &HeaderMap) -> Self {
        let inputs = &model.schema.signature.inputs;
        Self {
            header: headers.get(INFERENCE_HEADER_CONTENT_LENGTH).cloned(),
            takes_strings: inputs.iter().any(|input| input.data_type == DataType::Bytes),
        }
    }
}

impl Protocol for OpenInference {
    type Body = Bytes;
    type Form = Form;
    type Answer = Answer;

    const IS_OF_ROWS: bool = false;

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        binary::walked_bytes(self.header.as_ref(), body, self.takes_strings)
    }

    fn decode(&self, model: &ServedModel, body: Bytes) -> Result<(InferRequest, Form)> {
        let target = target(model);
        match binary::split(self.header.as_ref(), body)? {
            Parts::Json { json, binary } => decode(target, &json, binary, self.header.is_some()),
            Parts::Raw(body) => {
                let request = binary::read_raw(target, model.counts_rows(), body)?;
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
        let outputs = form.outputs.answer(&model.schema, model.counts_rows(), response)?;
        encode(&model.name, model.version, &form, &outputs)
    }
}
