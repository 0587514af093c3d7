//! What there is to know of the server and its models.

use axum::{Json, extract::State, response::IntoResponse, response::Response};
use serde_json::json;

use crate::{
    api::{
        error::ErrorResponse,
        http::{app::App, url_path::UrlPath},
        oip::{config, metadata, models::find, statistics},
    },
    error::Result,
};

/// A handler's outcome.
type Answered = Result<Response, ErrorResponse>;

/// `GET /v2`
pub async fn server() -> Response {
    Json(metadata::server()).into_response()
}

/// `GET /v2/models`, as KServe has it.
pub async fn list(State(app): State<App>) -> Response {
    let names: Vec<_> = app.service.registry().entries().map(|(name, _)| name.as_str()).collect();
    Json(json!({"models": names})).into_response()
}

/// `GET /v2/models/{model}`
pub async fn metadata(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    describe(&app, &model, None)
}

/// `GET /v2/models/{model}/versions/{version}`
pub async fn metadata_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    describe(&app, &model, Some(&version))
}

/// `GET /v2/models/{model}/ready`
pub async fn ready(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    readiness(&app, &model, None)
}

/// `GET /v2/models/{model}/versions/{version}/ready`
pub async fn ready_version(State(app): State<App>, UrlPath((model, version)): UrlPath<(String, String)>) -> Answered {
    readiness(&app, &model, Some(&version))
}

/// `GET /v2/models/{model}/config`
pub async fn config(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    configuration(&app, &model, None)
}

/// `GET /v2/models/{model}/versions/{version}/config`
pub async fn config_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    configuration(&app, &model, Some(&version))
}

/// `GET /v2/models/stats`
pub async fn all_stats(State(app): State<App>) -> Response {
    Json(statistics::all(&app.service)).into_response()
}

/// `GET /v2/models/{model}/stats`
pub async fn stats(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Answered {
    statistics_of(&app, &model, None)
}

/// `GET /v2/models/{model}/versions/{version}/stats`
pub async fn stats_of_version(
    State(app): State<App>,
    UrlPath((model, version)): UrlPath<(String, String)>,
) -> Answered {
    statistics_of(&app, &model, Some(&version))
}

fn describe(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(Json(metadata::model(&app.service, &served_model, version.is_some())?).into_response())
}

fn readiness(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(Json(json!({"name": served_model.name.as_str(), "ready": true})).into_response())
}

fn configuration(app: &App, model: &str, version: Option<&str>) -> Answered {
    Ok(Json(config::model(&*find(&app.service, model, version)?)).into_response())
}

fn statistics_of(app: &App, model: &str, version: Option<&str>) -> Answered {
    let served_model = find(&app.service, model, version)?;
    Ok(Json(statistics::model(app.service.registry(), &served_model, version.is_some())?).into_response())
}
