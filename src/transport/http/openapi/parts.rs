//! Parts that operations share: errors, headers, references, and the names of components.

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::{
    Content, ContentBuilder, Ref, Response, ResponseBuilder,
    header::{Header, HeaderBuilder},
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::{ComponentsBuilder, Object, ObjectBuilder, Type},
};

use crate::{
    edge::{
        error::{Rendering, code_of_status, rendering},
        request_id::X_REQUEST_ID,
    },
    error::ErrorKind,
    model::name::{ModelName, ModelVersion},
    transport::http::pipeline::call::X_REQUEST_TIMEOUT_MS,
};

/// The media type of all bodies but metrics and pages.
pub(super) const JSON: &str = "application/json";

const ERROR: &str = "Error";
const REQUEST_ID: &str = "RequestId";
const RETRY_AFTER: &str = "RetryAfter";
const TIMEOUT: &str = "Timeout";

/// The kinds of error that an operation may answer with.
pub(super) const PREDICTION_ERRORS: &[ErrorKind] = &[
    ErrorKind::InvalidArgument,
    ErrorKind::NotFound,
    ErrorKind::RequestTimeout,
    ErrorKind::PayloadTooLarge,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::Overloaded,
    ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Internal,
];

/// What a component is for; its key begins with the model's name, so that no two are the same.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Request,
    Row,
    Response,
    Prediction,
}

/// Names a component of a model, or of one of its versions: `iris.Request`, `iris.Request.2`.
///
/// A key ends in a part or in digits, so a model whose name looks like another's key still has its own.
pub(super) fn component_key(part: Part, name: &ModelName, version: Option<ModelVersion>) -> String {
    let part = match part {
        Part::Request => "Request",
        Part::Row => "Row",
        Part::Response => "Response",
        Part::Prediction => "Prediction",
    };
    match version {
        None => format!("{name}.{part}"),
        Some(version) => format!("{name}.{part}.{version}"),
    }
}

/// Adds the parts that every operation refers to.
pub(super) fn shared_components(components: ComponentsBuilder) -> ComponentsBuilder {
    let components = components
        .schema(ERROR, error_schema())
        .header(
            REQUEST_ID,
            text_header("The request's id, which the log has too: the client's own x-request-id, or a new one."),
        )
        .header(RETRY_AFTER, text_header("After how many seconds to try again."))
        .parameter(TIMEOUT, timeout_parameter());
    PREDICTION_ERRORS.iter().fold(components, |components, kind| {
        let rendering = rendering(*kind);
        components.response(rendering.code, error_response(describe(*kind), rendering.code, rendering.retry))
    })
}

/// Refers to the response for a kind of error, and to its status.
pub(super) fn error_reference(kind: ErrorKind) -> (String, Ref) {
    (rendering(kind).status.as_str().to_owned(), Ref::from_response_name(rendering(kind).code))
}

/// Makes the response of an error that is no component, because another of its code is.
pub(super) fn own_error(kind: ErrorKind) -> (String, Response) {
    let Rendering { status, code, retry, .. } = rendering(kind);
    (status.as_str().to_owned(), error_response(describe(kind), code, retry))
}

/// Refers to the parameter for the header that shortens the deadline.
pub(super) fn timeout_reference() -> Ref {
    Ref::new(format!("#/components/parameters/{TIMEOUT}"))
}

/// Makes a response with the header that all have.
pub(super) fn response(description: impl Into<String>) -> ResponseBuilder {
    let header = Ref::new(format!("#/components/headers/{REQUEST_ID}"));
    ResponseBuilder::new().description(description).header_ref(X_REQUEST_ID.as_str(), header)
}

/// Makes a response with a body of JSON.
pub(super) fn json_response(description: impl Into<String>, content: Content) -> Response {
    response(description).content(JSON, content).build()
}

fn describe(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => {
            "The body is not JSON, or has wrong names, shape, types or values; the message says which."
        }
        ErrorKind::NotFound => "There is no such model or version.",
        ErrorKind::RequestTimeout => "The body did not arrive in time.",
        ErrorKind::PayloadTooLarge => "The body is larger than --max-body-bytes, counted after decompression.",
        ErrorKind::Overloaded => "The model's queue is full: try again.",
        ErrorKind::Unavailable => {
            "The model is loading or has failed, or the server is about to stop; the message says which."
        }
        ErrorKind::NotEnabled => "This server does not do that.",
        ErrorKind::DeadlineExceeded => "No answer was ready before the deadline.",
        ErrorKind::UnsupportedMediaType => "The content-type or the content-encoding is none that is known here.",
        ErrorKind::Unimplemented => "The protocol has this, but onnxd does not.",
        ErrorKind::Internal | ErrorKind::Crashed => "The server's fault; its log has the cause under the request's id.",
    }
}

fn error_response(description: &str, code: &str, retry: bool) -> Response {
    let example =
        json!({"error": "what was expected, and what came", "code": code, "request_id": "8d9a6e1c-0b5f-4c0e"});
    let error = ContentBuilder::new().schema(Some(Ref::from_schema_name(ERROR))).example(Some(example)).build();
    let response = response(description).content(JSON, error);
    match retry {
        true => response.header_ref("retry-after", Ref::new(format!("#/components/headers/{RETRY_AFTER}"))).build(),
        false => response.build(),
    }
}

fn error_schema() -> Object {
    let codes = PREDICTION_ERRORS.iter().map(|kind| rendering(*kind).code);
    let unimplemented = rendering(ErrorKind::Unimplemented).code;
    let others = [unimplemented, code_of_status(StatusCode::METHOD_NOT_ALLOWED)];
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    ObjectBuilder::new()
        .description(Some("The body of every error."))
        .property("error", text("What was wrong, for a person."))
        .property("code", text("What was wrong, for a program.").enum_values(Some(codes.chain(others))))
        .property("request_id", text("The request's id, which the log has too."))
        .property("error_code", text("On MLflow's paths: what MLflow calls it."))
        .property("message", text("On MLflow's paths: the error once more."))
        .required("error")
        .required("code")
        .required("request_id")
        .build()
}

fn text_header(description: &str) -> Header {
    HeaderBuilder::new().schema(Some(Object::with_type(Type::String))).description(Some(description)).build()
}

fn timeout_parameter() -> Parameter {
    ParameterBuilder::new()
        .name(X_REQUEST_TIMEOUT_MS.as_str())
        .parameter_in(ParameterIn::Header)
        .description(Some("A deadline of the request's own, in milliseconds; --request-timeout is the longest."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1))))
        .build()
}
