//! What handlers share.

use std::{
    iter,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use crate::{
    config::ServerConfig,
    protocol::native::encode::Encoder,
    serving::{served_model::ServedModel, service::InferenceService},
};

/// The state of the HTTP application; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<AppState>);

/// What handlers share.
#[derive(Debug)]
pub struct AppState {
    /// The models.
    pub service: Arc<InferenceService>,
    /// The settings.
    pub config: Arc<ServerConfig>,
    /// By the models' index.
    encoders: Vec<OnceLock<Encoder>>,
}

impl App {
    /// Makes the state; encoders are made when a model is first asked.
    pub fn new(service: Arc<InferenceService>, config: Arc<ServerConfig>) -> Self {
        let versions = service.registry().entries().map(|(_, entry)| entry.versions().count()).sum();
        let encoders = iter::repeat_with(OnceLock::new).take(versions).collect();
        Self(Arc::new(AppState { service, config, encoders }))
    }
}

impl AppState {
    /// Calls `encode` with the model's encoder.
    pub fn with_encoder<T>(&self, model: &ServedModel, encode: impl FnOnce(&Encoder) -> T) -> T {
        let make = || Encoder::new(Arc::clone(&model.schema), &model.name, model.version);
        match self.encoders.get(model.index) {
            Some(slot) => encode(slot.get_or_init(make)),
            // Every version that can be found was there when the state was made; a new one would be served all the same.
            None => encode(&make()),
        }
    }
}

impl Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}
