//! Models as the protocol finds them, and in its words where they are not there.

use std::sync::Arc;

use crate::{
    error::{Error, ErrorKind, Result},
    model::name::ModelVersion,
    protocol::oip::inputs::{Target, quoted, shown},
    serving::{
        catalog::{ModelEntry, ModelRef, ModelState},
        served_model::ServedModel,
        service::InferenceService,
    },
};

/// Finds a model version that serves; no version is the default version.
///
/// # Errors
/// `NotFound` for a name or version that is not there; `Unavailable` while it is loading or once it has failed.
pub fn find(service: &InferenceService, name: &str, version: Option<&str>) -> Result<Arc<ServedModel>> {
    match service.resolve(ModelRef::new(Some(name), version)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(unknown(service, name, version)),
        Err(error) => Err(error),
        Ok(served_model) => Ok(served_model),
    }
}

/// Tells whether a model version serves now.
///
/// # Errors
/// `NotFound` for a name or version that is not there.
pub fn is_ready(service: &InferenceService, name: &str, version: Option<&str>) -> Result<bool> {
    match find(service, name, version) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
        Err(_) => Ok(false),
    }
}

/// Returns the versions of a model that serve, by number.
pub fn ready_versions(entry: &ModelEntry) -> impl Iterator<Item = (ModelVersion, Arc<ServedModel>)> {
    entry.versions().filter_map(|(version, state)| match state {
        ModelState::Ready(served_model) => Some((version, served_model)),
        ModelState::Loading | ModelState::Failed(_) => None,
    })
}

/// Returns what requests to a model are checked against.
pub fn target(served_model: &ServedModel) -> Target<'_> {
    Target { name: served_model.name.as_str(), signature: &served_model.schema.signature }
}

/// Returns the `max_batch_size` of the model's configuration: 0 where onnxd does not batch rows. A request of more rows is
/// split, not refused.
pub fn max_batch_size(served_model: &ServedModel) -> usize {
    if served_model.plan.lane.batched { served_model.manifest.batching.max_batch_size } else { 0 }
}

fn unknown(service: &InferenceService, name: &str, version: Option<&str>) -> Error {
    let name_is_known = service.catalog().entry(name).is_ok();
    Error::not_found(match version.filter(|_| name_is_known) {
        Some(version) => {
            format!("Request for unknown model: {} version {} is not found", quoted(name), shown(version))
        }
        None => format!("Request for unknown model: {} is not found", quoted(name)),
    })
}
