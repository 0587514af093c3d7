//! A prediction by a protocol whose bodies and answers are one piece of text.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};

use crate::{
    api::{
        error::ErrorResponse,
        http::{app::App, body::UnreadBody, call::Call},
        prediction::{self, Deadline, Protocol},
    },
    error::Result,
    serving::served_model::ServedModel,
};

/// Reads the request's body, predicts, and answers in JSON.
///
/// # Errors
/// Those of the deadline and of [`prediction::predict`].
pub async fn answer<P: Protocol<Body = Bytes, Answer = Vec<u8>>>(
    app: &App,
    model: &Arc<ServedModel>,
    protocol: P,
    request: Request,
) -> Result<Response, ErrorResponse> {
    let call = Call::of(&request)?;
    call.answer_by(model);
    let deadline = call.deadline()?;
    answer_body(app, model, protocol, UnreadBody::of(request), deadline).await
}

/// As [`answer`], of a request whose head has been looked at.
///
/// # Errors
/// Those of [`prediction::predict`].
pub async fn answer_body<P: Protocol<Body = Bytes, Answer = Vec<u8>>>(
    app: &App,
    model: &Arc<ServedModel>,
    protocol: P,
    body: UnreadBody,
    deadline: Deadline,
) -> Result<Response, ErrorResponse> {
    let read = || body.read(app.config.limits.max_body_bytes, deadline);
    let json = prediction::predict(&app.service, model, deadline, protocol, read).await?;
    let mut response = Response::new(json.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
