//! What handlers share.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    api::http::native::encode::Encoder,
    config::ServerConfig,
    error::{Error, ErrorKind, Result},
    model::name::{ModelName, ModelVersion},
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
    in_flight: AtomicUsize,
    encoders: HashMap<(ModelName, ModelVersion), OnceLock<Encoder>>,
}

impl App {
    /// Makes the state; encoders are made when a model is first asked.
    pub fn new(service: Arc<InferenceService>, config: Arc<ServerConfig>) -> Self {
        let models = service.registry().entries();
        let keys = models.flat_map(|(name, entry)| entry.versions().map(|(version, _)| (name.clone(), version)));
        let encoders = keys.map(|key| (key, OnceLock::new())).collect();
        Self(Arc::new(AppState { service, config, in_flight: AtomicUsize::new(0), encoders }))
    }
}

impl AppState {
    /// Calls `encode` with the model's encoder.
    pub fn with_encoder<T>(&self, model: &ServedModel, encode: impl FnOnce(&Encoder) -> T) -> T {
        let make = || Encoder::new(Arc::clone(&model.schema), &model.name, model.version);
        match self.encoders.get(&(model.name.clone(), model.version)) {
            Some(slot) => encode(slot.get_or_init(make)),
            // Every version that can be found was there when the state was made; a new one would be served all the same.
            None => encode(&make()),
        }
    }
}

/// One prediction's place among those in flight; dropping it frees the place.
#[derive(Debug)]
pub struct Place(App);

impl App {
    /// Takes a place among the predictions in flight.
    ///
    /// # Errors
    /// `Overloaded` where all are taken.
    pub fn enter(&self) -> Result<Place> {
        let most = self.config.limits.max_in_flight;
        if self.in_flight.fetch_add(1, Ordering::AcqRel) < most {
            return Ok(Place(self.clone()));
        }
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        Err(Error::new(
            ErrorKind::Overloaded,
            format!("{most} predictions are in flight (--max-in-flight); retry later"),
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}
