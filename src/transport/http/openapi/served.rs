//! `GET /openapi.json`: the document, made once for each set of models that serve.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    body::Bytes,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::{
    edge::error::ErrorResponse,
    error::{Error, Result},
    serving::{catalog::Catalog, service::InferenceService},
    transport::http::openapi::document::document,
};

/// The document of the last catalog that was asked for.
pub struct ServedDocument {
    service: Arc<InferenceService>,
    made: Mutex<Option<MadeDocument>>,
}

struct MadeDocument {
    ready: ReadySet,
    json: Bytes,
}

/// The catalog's generation, and how many of its models serve: within a generation, models only fail.
type ReadySet = (u64, usize);

pub async fn openapi_json(State(document): State<Arc<ServedDocument>>) -> Result<Response, ErrorResponse> {
    let ready = ready_set(&document.service.catalog());
    let json = match document.made_for(&ready) {
        Some(json) => json,
        // With many models it takes longer than the event loop may wait.
        None => tokio::task::spawn_blocking(move || document.make(ready)).await.map_err(Error::internal)??,
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

impl ServedDocument {
    /// Makes the state; the document is made when it is first asked for.
    pub fn new(service: &Arc<InferenceService>) -> Self {
        Self { service: Arc::clone(service), made: Mutex::new(None) }
    }

    fn made_for(&self, ready: &ReadySet) -> Option<Bytes> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.as_ref().filter(|made| made.ready == *ready).map(|made| made.json.clone())
    }

    /// Makes the document and keeps it. Blocks; who comes meanwhile may make it too, which is rare and harmless.
    fn make(&self, ready: ReadySet) -> Result<Bytes> {
        let document = document(&self.service.catalog());
        let json = Bytes::from(document.to_json().map_err(Error::internal)?);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made = Some(MadeDocument { ready, json: json.clone() });
        Ok(json)
    }
}

fn ready_set(catalog: &Catalog) -> ReadySet {
    (catalog.generation(), catalog.ready().count())
}
