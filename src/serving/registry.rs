//! Which models and versions there are, and the state of each.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use crate::{
    error::{Error, Result},
    model::{
        name::{ModelName, ModelVersion},
        repository::FoundModel,
    },
    serving::served_model::ServedModel,
};

/// All models of a server. The set is fixed when the repository is scanned; states move one way, from loading on.
#[derive(Debug)]
pub struct ModelRegistry {
    models: BTreeMap<ModelName, ModelEntry>,
    default_model: Option<ModelName>,
}

/// One model: its versions, or why it has none.
#[derive(Debug)]
pub struct ModelEntry {
    default_version: Option<ModelVersion>,
    versions: BTreeMap<ModelVersion, OnceLock<Result<Arc<ServedModel>, String>>>,
    problem: Option<String>,
}

/// The state of a model or of one of its versions.
#[derive(Clone, Debug)]
pub enum ModelState {
    /// Not loaded yet.
    Loading,
    /// Serving.
    Ready(Arc<ServedModel>),
    /// Not serving, with the reason.
    Failed(String),
}

impl ModelState {
    /// Returns the word for this state: `loading`, `ready` or `failed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
        }
    }
}

impl ModelRegistry {
    /// Makes an entry for each model found, all of them loading or failed. The default is the one named, else the only one.
    ///
    /// # Errors
    /// `NotFound` where `default_model` names a model that is not there.
    pub fn new(found: &[FoundModel], default_model: Option<&str>) -> Result<Self> {
        let entries = found.iter().map(|model| (model.name.clone(), ModelEntry::new(model)));
        let mut registry = Self { models: entries.collect(), default_model: None };
        registry.default_model = match default_model {
            Some(name) => {
                let known = registry.models.get_key_value(name).map(|(name, _)| name.clone());
                Some(known.ok_or_else(|| registry.unknown_model(name))?)
            }
            None if registry.models.len() == 1 => registry.models.keys().next().cloned(),
            None => None,
        };
        Ok(registry)
    }

    /// Finds a model version that serves. No name is the default model, no version the model's default version.
    ///
    /// # Errors
    /// `NotFound` for a name or version that is not there, naming those that are; `Unavailable` while it is loading or
    /// once it has failed, with the reason.
    pub fn find(&self, name: Option<&str>, version: Option<&str>) -> Result<Arc<ServedModel>> {
        let name = match (name, &self.default_model) {
            (Some(name), _) => name,
            (None, Some(name)) => name.as_str(),
            (None, None) => {
                return Err(Error::not_found(format!(
                    "there is no default model: name one as in /models/NAME/predict, or start with --default-model; there are {}",
                    self.names()
                )));
            }
        };
        let entry = self.models.get(name).ok_or_else(|| self.unknown_model(name))?;
        let version = version.map(|version| entry.known_version(name, version)).transpose()?;
        match entry.state(version.or(entry.default_version)) {
            ModelState::Ready(served_model) => match served_model.failure() {
                None => Ok(served_model),
                Some(reason) => Err(Error::unavailable(format!("model {name:?} has failed: {reason}"))),
            },
            ModelState::Loading => Err(Error::unavailable(format!("model {name:?} is loading"))),
            ModelState::Failed(reason) => Err(Error::unavailable(format!("model {name:?} has failed: {reason}"))),
        }
    }

    /// Returns an entry by name.
    ///
    /// # Errors
    /// `NotFound`, naming the models that are there.
    pub fn entry(&self, name: &str) -> Result<(&ModelName, &ModelEntry)> {
        self.models.get_key_value(name).ok_or_else(|| self.unknown_model(name))
    }

    /// Returns all models, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&ModelName, &ModelEntry)> {
        self.models.iter()
    }

    /// Returns the state of every model version, and that of each model that has failed as a whole, without a version.
    pub fn states(&self) -> impl Iterator<Item = (&ModelName, Option<ModelVersion>, ModelState)> {
        self.entries().flat_map(|(name, entry)| {
            let versions = entry.versions().map(|(version, state)| (Some(version), state));
            let whole = entry.default_version().is_none().then(|| (None, entry.state(None)));
            versions.chain(whole).map(move |(version, state)| (name, version, state))
        })
    }

    /// Returns every model version that serves now, by name and version.
    pub fn ready(&self) -> impl Iterator<Item = Arc<ServedModel>> {
        self.entries().flat_map(|(_, entry)| entry.versions()).filter_map(|(_, state)| match state {
            ModelState::Ready(served_model) => Some(served_model),
            ModelState::Loading | ModelState::Failed(_) => None,
        })
    }

    /// Returns the model that a request gets when it names none.
    pub fn default_model(&self) -> Option<&ModelName> {
        self.default_model.as_ref()
    }

    /// Says once how loading a version ended.
    pub(super) fn settle(&self, name: &ModelName, version: ModelVersion, outcome: Result<Arc<ServedModel>, String>) {
        if let Some(slot) = self.models.get(name).and_then(|entry| entry.versions.get(&version)) {
            let _already_settled = slot.set(outcome);
        }
    }

    fn unknown_model(&self, name: &str) -> Error {
        Error::not_found(format!("there is no model {name:?}; there are {}", self.names()))
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.models.keys().map(ModelName::as_str).collect();
        names.join(", ")
    }
}

impl ModelEntry {
    fn new(found: &FoundModel) -> Self {
        match &found.files {
            Ok(files) => Self {
                default_version: files.default_version().ok(),
                versions: files.versions.keys().map(|version| (*version, OnceLock::new())).collect(),
                problem: None,
            },
            Err(error) => Self { default_version: None, versions: BTreeMap::new(), problem: Some(error.to_string()) },
        }
    }

    /// Returns the version that a request gets when it names none; `None` if the model has failed as a whole.
    pub fn default_version(&self) -> Option<ModelVersion> {
        self.default_version
    }

    /// Returns the versions and their states, by number.
    pub fn versions(&self) -> impl Iterator<Item = (ModelVersion, ModelState)> {
        self.versions.keys().map(|version| (*version, self.state(Some(*version))))
    }

    /// Returns the state of a version, or of the whole model where it has no version.
    pub fn state(&self, version: Option<ModelVersion>) -> ModelState {
        let slot = version.and_then(|version| self.versions.get(&version));
        match (slot.map(OnceLock::get), &self.problem) {
            (Some(Some(Ok(served_model))), _) => match served_model.failure() {
                Some(reason) => ModelState::Failed(reason.into_owned()),
                None => ModelState::Ready(Arc::clone(served_model)),
            },
            (Some(Some(Err(reason))), _) => ModelState::Failed(reason.clone()),
            (Some(None), _) => ModelState::Loading,
            (None, problem) => ModelState::Failed(problem.clone().unwrap_or_else(|| "it has no version".to_owned())),
        }
    }

    fn known_version(&self, name: &str, version: &str) -> Result<ModelVersion> {
        let known = version.parse().ok().filter(|version| self.versions.contains_key(version));
        known.ok_or_else(|| {
            let versions: Vec<_> = self.versions.keys().map(ToString::to_string).collect();
            Error::not_found(format!(
                "there is no version {version:?} of model {name:?}; it has {}",
                versions.join(", ")
            ))
        })
    }
}
