//! What handlers share.

use std::{ops::Deref, sync::Arc};

use crate::{config::ServerConfig, serving::service::InferenceService};

/// The state of the HTTP application; cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<AppState>);

#[derive(Debug)]
pub struct AppState {
    pub service: Arc<InferenceService>,
    pub config: Arc<ServerConfig>,
}

impl App {
    pub fn new(service: Arc<InferenceService>, config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(AppState { service, config }))
    }
}

impl Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}
