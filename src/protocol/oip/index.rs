//! Triton's repository index: every model and version that was found, and its state.

use serde::Serialize;

use crate::{
    error::Error,
    serving::catalog::{Catalog, ModelState},
};

/// A model version, or a model that has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexEntry {
    pub name: String,
    /// Its version; absent for a model that failed as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub state: &'static str,
    /// Why it is not ready; empty where it is.
    pub reason: String,
}

/// Lists the repository; `only_ready` leaves out what does not serve.
pub fn list(catalog: &Catalog, only_ready: bool) -> Vec<IndexEntry> {
    let mut entries = Vec::new();
    for (name, entry) in catalog.entries() {
        entries.extend(
            entry.versions().map(|(version, state)| IndexEntry::new(name.as_str(), Some(version.to_string()), &state)),
        );
        if entry.default_version().is_none() {
            entries.push(IndexEntry::new(name.as_str(), None, &entry.state(None)));
        }
    }
    entries.retain(|entry| !only_ready || entry.state == "READY");
    entries
}

/// Makes the answer to a request to load or unload a model: what is served is decided when the server starts.
pub fn control_is_off() -> Error {
    Error::not_enabled(
        "explicit model load / unload is not enabled: the models are those that were there when the server started",
    )
}

impl IndexEntry {
    fn new(name: &str, version: Option<String>, state: &ModelState) -> Self {
        let (state, reason) = match state {
            ModelState::Ready(_) => ("READY", String::new()),
            ModelState::Loading => ("LOADING", String::new()),
            ModelState::Failed(reason) => ("UNAVAILABLE", reason.clone()),
        };
        Self { name: name.to_owned(), version, state, reason }
    }
}
