//! The repository: its index; loading and unloading, which are off.

use axum::{extract::State, response::Response};
use serde::Deserialize;

use crate::{
    edge::error::ErrorResponse,
    error::{Error, Result},
    protocol::oip::index,
    transport::http::{
        endpoints::oip::models::plain,
        pipeline::{
            app::App,
            arrival::{Arrival, CalledBody, Routed},
            body::{BodyLimits, UnreadBody},
            url_path::UrlPath,
        },
    },
};

/// The body of a request for the index.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IndexRequest {
    /// Whether only what serves is listed.
    ready: bool,
}

pub async fn index(State(app): State<App>, Routed(arrival): Routed) -> Result<Response, ErrorResponse> {
    let IndexRequest { ready } = read_index_request(&app, arrival).await?;
    Ok(plain(index::list(&app.service.catalog(), ready)))
}

pub async fn refuse(UrlPath(_model): UrlPath<String>) -> ErrorResponse {
    index::control_is_off().into()
}

async fn read_index_request(app: &App, arrival: Arrival) -> Result<IndexRequest, ErrorResponse> {
    let CalledBody { body, .. } = arrival.into_body();
    let limits =
        BodyLimits { max_body_bytes: app.config.limits.max_body_bytes, budget: app.service.budget(), element_bytes: 0 };
    let (body, _charge) = UnreadBody(body).read(limits).await?;
    match body.trim_ascii() {
        [] => Ok(IndexRequest::default()),
        json => serde_json::from_slice(json).map_err(|error| {
            let what =
                if error.is_data() { "expected an object such as {\"ready\":true}" } else { "Request must be JSON" };
            Error::invalid(format!("{what}: {error}")).into()
        }),
    }
}
