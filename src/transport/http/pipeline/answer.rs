//! A prediction by a protocol whose bodies and answers are one piece of text.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::{
    edge::{
        error::ErrorResponse,
        prediction::{self, Deadline, Protocol},
    },
    serving::served_model::ServedModel,
    transport::http::pipeline::{
        app::App,
        arrival::{Arrival, CalledBody},
        body::{BodyLimits, UnreadBody},
    },
};

/// A prediction of which only the body is still to come: what is kept of the request's head, which is large.
#[derive(Debug)]
pub struct Begun {
    pub model: Arc<ServedModel>,
    pub deadline: Deadline,
    pub body: UnreadBody,
    /// The headers of the answer: none yet, in the room that the request's had.
    pub headers: HeaderMap,
}

impl Begun {
    /// Begins a prediction by this model.
    ///
    /// # Errors
    /// `InvalidArgument` where the request's own deadline is none.
    pub fn new(model: Arc<ServedModel>, arrival: Arrival) -> Result<Self, ErrorResponse> {
        let (head, CalledBody { call, body }) = arrival.into_parts();
        call.answer_by(&model);
        let mut headers = head.headers;
        headers.clear();
        Ok(Self { model, deadline: call.deadline()?, body: UnreadBody(body), headers })
    }
}

/// Reads the request's body, predicts, and answers in JSON, or with what went wrong.
pub fn answer<P: Protocol<Body = Bytes, Answer = Vec<u8>>>(
    app: App,
    protocol: P,
    begun: Begun,
) -> impl Future<Output = Response> + Send {
    answer_with(app, protocol, begun, |json, headers| {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        json.into()
    })
}

/// As [`answer`], of a protocol whose answer `render` makes the headers and the body of.
#[expect(clippy::manual_async_fn, reason = "arguments of an async function lie in its future twice")]
pub fn answer_with<P: Protocol<Body = Bytes>>(
    app: App,
    protocol: P,
    begun: Begun,
    render: impl FnOnce(P::Answer, &mut HeaderMap) -> Body + Send,
) -> impl Future<Output = Response> + Send {
    // Field by field: what is taken apart lies in the future twice, too.
    async move {
        let read = || {
            let limits = BodyLimits {
                max_body_bytes: app.config.limits.max_body_bytes,
                budget: app.service.budget(),
                element_bytes: begun.model.element_bytes,
            };
            begun.body.read(limits)
        };
        match prediction::predict(&app.service, &begun.model, begun.deadline, protocol, read).await {
            Ok(answer) => {
                let mut headers = begun.headers;
                let mut response = Response::new(render(answer, &mut headers));
                *response.headers_mut() = headers;
                response
            }
            Err(error) => ErrorResponse::from(error).into_response(),
        }
    }
}
