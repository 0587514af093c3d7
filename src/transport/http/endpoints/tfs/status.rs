//! `GET /v1/models`, `GET /v1/models/{model}`: what is served, and whether it is.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{
    edge::error::ErrorResponse,
    error::{Error, Result},
    model::name::ModelVersion,
    serving::catalog::{Catalog, ModelEntry, ModelState},
    transport::http::{
        endpoints::tfs::path::{is_number, malformed, unknown_label},
        pipeline::{app::App, url_path::UrlPath},
    },
};

#[derive(Debug, Serialize)]
struct ModelNames<'a> {
    models: Vec<&'a str>,
}

/// A model as both protocols' clients look for it: `name` and `ready` are KServe's, the rest is TensorFlow Serving's.
#[derive(Debug, Serialize)]
struct ModelStatus<'a> {
    name: &'a str,
    ready: bool,
    model_version_status: Vec<VersionStatus>,
}

#[derive(Debug, Serialize)]
struct VersionStatus {
    version: String,
    state: &'static str,
    status: StatusProto,
}

#[derive(Debug, Serialize)]
struct StatusProto {
    error_code: &'static str,
    error_message: String,
}

pub async fn list(State(app): State<App>) -> Response {
    let catalog = app.service.catalog();
    let models = catalog.entries().map(|(name, _)| name.as_str()).collect();
    Json(ModelNames { models }).into_response()
}

pub async fn model(
    State(app): State<App>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    if name.contains(':') {
        return Err(malformed(&request).into());
    }
    let catalog = app.service.catalog();
    let entry = entry(&catalog, &name)?;
    let ready = matches!(entry.state(entry.default_version()), ModelState::Ready(_));
    let statuses: Vec<_> = entry.versions().map(|(version, state)| VersionStatus::new(version, &state)).collect();
    Ok(Json(ModelStatus { name: &name, ready, model_version_status: statuses }).into_response())
}

pub async fn version(
    State(app): State<App>,
    UrlPath((name, number)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, ErrorResponse> {
    if !is_number(&number) {
        return Err(malformed(&request).into());
    }
    let catalog = app.service.catalog();
    let known = entry(&catalog, &name)?.versions().find(|(version, _)| version.to_string() == number);
    let (version, state) =
        known.ok_or_else(|| Error::not_found(format!("Could not find version {number} of model {name}")))?;
    let ready = matches!(state, ModelState::Ready(_));
    let status = VersionStatus::new(version, &state);
    Ok(Json(ModelStatus { name: &name, ready, model_version_status: vec![status] }).into_response())
}

/// `GET /v1/models/{model}/labels/{label}`, and the metadata of one
pub async fn label(
    State(app): State<App>,
    UrlPath((name, label)): UrlPath<(String, String)>,
) -> Result<Response, ErrorResponse> {
    entry(&app.service.catalog(), &name)?;
    Err(unknown_label(&label).into())
}

fn entry<'c>(catalog: &'c Catalog, name: &str) -> Result<&'c ModelEntry> {
    let found = catalog.entry(name);
    found
        .map(|(_, entry)| entry)
        .map_err(|error| error.context(format_args!("Could not find any versions of model {name}")))
}

impl VersionStatus {
    fn new(version: ModelVersion, state: &ModelState) -> Self {
        let (state, error_code, error_message) = match state {
            ModelState::Loading => ("LOADING", "OK", String::new()),
            ModelState::Ready(_) => ("AVAILABLE", "OK", String::new()),
            ModelState::Failed(reason) => ("END", "UNAVAILABLE", reason.clone()),
        };
        Self { version: version.to_string(), state, status: StatusProto { error_code, error_message } }
    }
}
