//! What there is to know of the server and its models.
//!
//! None of it is compressed: tritonclient's asyncio client says that it accepts that, and understands it only of inference.

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    edge::error::ErrorResponse,
    error::Result,
    protocol::oip::{config, metadata, models::find, statistics},
    transport::http::pipeline::{app::App, layers::codings::Uncompressed, url_path::UrlPath},
};

type Answered = Result<Response, ErrorResponse>;

pub async fn server() -> Response {
    plain(metadata::server())
}

/// `GET /v2/models`, as KServe has it.
pub async fn list(State(app): State<App>) -> Response {
    let catalog = app.service.catalog();
    let names: Vec<_> = catalog.entries().map(|(name, _)| name.as_str()).collect();
    plain(json!({"models": names}))
}

pub async fn metadata(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    describe(&app, &model, None)
}

pub async fn metadata_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    describe(&app, &model, Some(&version))
}

pub async fn ready(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    readiness(&app, &model, None)
}

pub async fn ready_version(State(app): State<App>, UrlPath((model, version)): UrlPath<(String, String)>) -> Answered {
    readiness(&app, &model, Some(&version))
}

pub async fn config(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    configuration(&app, &model, None)
}

pub async fn config_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    configuration(&app, &model, Some(&version))
}

pub async fn all_stats(State(app): State<App>) -> Response {
    plain(statistics::all(&app.service))
}

pub async fn stats(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    statistics_of(&app, &model, None)
}

pub async fn stats_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    statistics_of(&app, &model, Some(&version))
}

/// Writes an answer that is not compressed.
pub(super) fn plain(answer: impl Serialize) -> Response {
    (Extension(Uncompressed), Json(answer)).into_response()
}

fn describe(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(plain(metadata::model(&app.service, &served_model, version.is_some())?))
}

fn readiness(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(plain(json!({"name": served_model.name.as_str(), "ready": true})))
}

fn configuration(app: &App, model: &str, version: Option<&str>) -> Answered {
    Ok(plain(config::model(&*find(&app.service, model, version)?)))
}

fn statistics_of(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(plain(statistics::model(&app.service.catalog(), &served_model, version.is_some())?))
}
