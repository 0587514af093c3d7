//! Gives every error its JSON body: those of handlers, of the router, of tower's layers, and panics.

use std::any::Any;

use axum::{
    Json,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    api::{
        error::{ErrorBody, ErrorResponse, code_of_status, rendering},
        http::layers::request_id::RequestId,
    },
    error::{Error, ErrorKind},
};

/// What is remembered of a request in case it fails. Cheap to take: nearly all of them do not.
#[derive(Debug)]
pub struct Seen {
    id: Option<RequestId>,
    method: Method,
    content_encoding: Option<HeaderValue>,
}

/// Looks at a request before it is answered.
pub fn see(request: &mut Request) -> Seen {
    Seen {
        id: request.extensions().get::<RequestId>().cloned(),
        method: request.method().clone(),
        content_encoding: request.headers().get(header::CONTENT_ENCODING).cloned(),
    }
}

/// Writes the body of an error that has none yet, and logs the cause of an internal one, once, here.
#[expect(clippy::needless_pass_by_value, reason = "`around` hands over what it kept")]
pub fn describe(seen: Seen, response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let id = seen.id.as_ref().map_or("", RequestId::as_str);
    match response.extensions().get::<ErrorResponse>() {
        Some(ErrorResponse(error)) => {
            if error.kind() == ErrorKind::Internal {
                tracing::error!(request_id = id, "request {id} failed: {error}");
            }
            let body = ErrorBody { error: error.message(), code: rendering(error.kind()).code, request_id: id };
            with_body(&response, &body)
        }
        None if is_json(&response) => response,
        None => {
            let error = sentence(status, &seen);
            with_body(&response, &ErrorBody { error: &error, code: code_of_status(status), request_id: id })
        }
    }
}

/// Turns a panic in a handler into an internal error.
pub fn from_panic(panic: &(dyn Any + Send)) -> Response {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned());
    ErrorResponse::from(Error::internal(format!("a handler panicked: {text}"))).into_response()
}

fn sentence(status: StatusCode, seen: &Seen) -> String {
    match status {
        // The router adds that header only after this layer.
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("method {} is not allowed here; see the allow header", seen.method)
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let came = seen.content_encoding.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
            format!("content-encoding {:?} is not known: expected gzip, deflate or zstd", came.unwrap_or_default())
        }
        status => status.canonical_reason().unwrap_or("error").to_lowercase(),
    }
}

/// Keeps status, headers and extensions; replaces the body.
fn with_body(response: &Response, body: &ErrorBody<'_>) -> Response {
    let mut with_body = (response.status(), Json(body)).into_response();
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            with_body.headers_mut().append(name, value.clone());
        }
    }
    *with_body.extensions_mut() = response.extensions().clone();
    with_body
}

fn is_json(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}
