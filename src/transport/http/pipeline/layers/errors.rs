//! Gives every error its JSON body: those of handlers, of the router, of tower's layers, and panics.

use std::any::Any;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    edge::error::{
        ErrorBody, ErrorResponse, MlflowError, code_of_status, mlflow_code_of_status, of_panic, rendering, told,
    },
    error::ErrorKind,
    protocol::mlflow,
    transport::http::pipeline::call::Call,
};

/// Writes the body of an error that has none yet, and logs the cause of an internal one, once, here.
pub fn describe(call: &Call, response: &mut Response) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let id = &call.id().to_string();
    let is_mlflow = mlflow::PATHS.contains(&call.route().path());
    let body = |error: &str, code| {
        let error = &told(error);
        let mlflow = is_mlflow.then(|| MlflowError { error_code: mlflow_code_of_status(status), message: error });
        with_body(response, &ErrorBody { error, code, request_id: id, mlflow })
    };
    *response = match response.extensions().get::<ErrorResponse>() {
        Some(ErrorResponse(error)) => {
            if error.kind() == ErrorKind::Internal {
                tracing::error!(request_id = id, "request {id} failed: {error}");
            }
            body(error.message(), rendering(error.kind()).code)
        }
        None if is_json(response) => return,
        None => body(&sentence(status, call), code_of_status(status)),
    };
}

/// Turns a panic in a handler into an internal error.
pub fn from_panic(panic: &(dyn Any + Send)) -> Response {
    ErrorResponse::from(of_panic(panic)).into_response()
}

fn sentence(status: StatusCode, call: &Call) -> String {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("method {} is not allowed here; see the allow header", call.method())
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let came = call.content_encoding().map(|value| String::from_utf8_lossy(value.as_bytes()));
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
