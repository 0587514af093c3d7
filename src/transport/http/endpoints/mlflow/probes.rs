//! `GET /ping`, `GET /version`

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{edge::error::ErrorResponse, serving::catalog::ModelRef, transport::http::pipeline::app::App};

/// Answers 200 and an empty line while the model that `/invocations` asks serves, as MLflow does.
pub async fn ping(State(app): State<App>) -> Result<Response, ErrorResponse> {
    app.service.resolve(ModelRef::DEFAULT)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], "\n").into_response())
}

/// Answers onnxd's version, as text.
pub async fn version() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], env!("CARGO_PKG_VERSION")).into_response()
}
