//! `GET /metrics`

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{edge::error::ErrorResponse, metrics::Metrics, transport::http::pipeline::app::App};

/// Answers everything that is measured, in Prometheus' text format.
pub async fn metrics(State(app): State<App>) -> Result<Response, ErrorResponse> {
    let text = app.service.render_metrics()?;
    Ok(([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response())
}
