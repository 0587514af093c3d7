//! The OpenAPI document of the models that serve now, and Swagger UI to try them.
//!
//! The document is made of `utoipa`'s types, from the models' schemas. A new
//! endpoint gets its operation in `operations`; what a body may be is said in `request`, what an answer is in `response`.

pub mod docs;
pub mod document;
mod element;
mod mlflow;
mod open_inference;
mod open_inference_schemas;
mod operations;
mod parts;
mod predict;
mod request;
mod response;
pub mod served;
mod tfs;
mod values;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::routing::get;

use crate::{
    serving::service::InferenceService,
    transport::http::{
        openapi::{docs::docs_routes, served::ServedDocument},
        pipeline::routes::Routes,
    },
};

/// Makes the routes of the document and of the page.
pub fn routes(service: &Arc<InferenceService>) -> Routes {
    let document = Routes::new()
        .route("/openapi.json", get(served::openapi_json))
        .with_state(Arc::new(ServedDocument::new(service)));
    document.merge(docs_routes())
}
