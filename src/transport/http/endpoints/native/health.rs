//! `GET /health`, `/health/live`, `/health/ready`

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    edge::error::ErrorResponse,
    error::Error,
    serving::{catalog::ModelState, service::InferenceService},
    transport::http::pipeline::app::App,
};

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    models: BTreeMap<String, ModelHealth>,
    /// The default model's version.
    model_version: Option<String>,
    service_up_since: String,
    uptime_seconds: f64,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct ModelHealth {
    state: &'static str,
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Answers 200 when every model serves, else 503, with the state of each model.
pub async fn health(State(app): State<App>) -> Response {
    let service = &app.service;
    let reason = service.why_not_ready();
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = Health {
        status: if reason.is_none() { "healthy" } else { "unhealthy" },
        reason,
        models: models(service),
        model_version: default_version(service),
        service_up_since: format!("{:.3}", service.up_since()),
        uptime_seconds: (service.uptime_seconds() * 1e3).round() / 1e3,
        version: env!("CARGO_PKG_VERSION"),
    };
    (status, Json(health)).into_response()
}

/// Answers 200 for as long as the process answers at all.
pub async fn live() -> Response {
    Json(serde_json::json!({"live": true})).into_response()
}

/// Answers 200 when requests should come here, else 503 with the reason.
pub async fn ready(State(app): State<App>) -> Result<Response, ErrorResponse> {
    match app.service.why_not_ready() {
        None => Ok(Json(serde_json::json!({"ready": true})).into_response()),
        Some(reason) => Err(Error::unavailable(reason).into()),
    }
}

fn models(service: &InferenceService) -> BTreeMap<String, ModelHealth> {
    let catalog = service.catalog();
    let models = catalog.entries().map(|(name, entry)| {
        let version = entry.default_version();
        let state = entry.state(version);
        let health = ModelHealth {
            state: state.name(),
            version: version.map(|version| version.to_string()),
            reason: match state {
                ModelState::Failed(reason) => Some(reason),
                ModelState::Loading | ModelState::Ready(_) => None,
            },
        };
        (name.to_string(), health)
    });
    models.collect()
}

fn default_version(service: &InferenceService) -> Option<String> {
    let catalog = service.catalog();
    let (_, entry) = catalog.entry(catalog.default_model()?.as_str()).ok()?;
    entry.default_version().map(|version| version.to_string())
}
