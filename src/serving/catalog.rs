//! Which models and versions there are, and the state of each: an immutable snapshot.
//!
//! The service swaps a catalog for the next one as a whole. A request that has resolved its model keeps it, whatever is
//! swapped meanwhile.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::{Error, Result},
    model::{
        name::{ModelName, ModelVersion},
        repository::FoundModel,
    },
    serving::served_model::ServedModel,
};

/// All models of a server at one moment.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: BTreeMap<ModelName, ModelEntry>,
    default_model: Option<ModelName>,
    generation: u64,
}

/// One model: its versions, or why it has none.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    default_version: Option<ModelVersion>,
    versions: BTreeMap<ModelVersion, ModelState>,
    problem: Option<String>,
}

/// The state of a model or of one of its versions.
#[derive(Clone, Debug)]
pub enum ModelState {
    Loading,
    Ready(Arc<ServedModel>),
    /// Not serving, with the reason.
    Failed(String),
}

/// The model version that a request names.
#[derive(Clone, Copy, Debug)]
pub struct ModelRef<'a> {
    /// The default model where there is none.
    pub name: Option<&'a str>,
    pub version: VersionRef<'a>,
}

/// The version that a request names, as it is written.
#[derive(Clone, Copy, Debug)]
pub enum VersionRef<'a> {
    /// The model's default version.
    Default,
    /// The version of this number.
    Number(&'a str),
    /// The version with this label.
    Label(&'a str),
}

impl<'a> ModelRef<'a> {
    /// The default version of the default model.
    pub const DEFAULT: Self = Self { name: None, version: VersionRef::Default };

    /// The default model where there is no name, its default version where there is no number.
    pub fn new(name: Option<&'a str>, number: Option<&'a str>) -> Self {
        Self { name, version: number.map_or(VersionRef::Default, VersionRef::Number) }
    }
}

impl ModelState {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready(_) => "ready",
            Self::Failed(_) => "failed",
        }
    }

    /// A model that panicked since it was loaded has failed.
    fn now(&self) -> Self {
        match self {
            Self::Ready(served_model) => match served_model.failure() {
                Some(reason) => Self::Failed(reason.into_owned()),
                None => Self::Ready(Arc::clone(served_model)),
            },
            other => other.clone(),
        }
    }
}

impl Catalog {
    /// Lists the models found, all of them loading or failed. The default is the one named, else the only one.
    ///
    /// # Errors
    /// `NotFound` where `default_model` names none of them.
    pub fn new(found: &[FoundModel], default_model: Option<&str>) -> Result<Self> {
        let entries = found.iter().map(|model| (model.name.clone(), ModelEntry::new(model)));
        let mut catalog = Self { models: entries.collect(), default_model: None, generation: 0 };
        catalog.default_model = match default_model {
            Some(name) => {
                let known = catalog.models.get_key_value(name).map(|(name, _)| name.clone());
                Some(known.ok_or_else(|| catalog.unknown_model(name))?)
            }
            None if catalog.models.len() == 1 => catalog.models.keys().next().cloned(),
            None => None,
        };
        Ok(catalog)
    }

    /// The next catalog, in which a version has another state. The version is added where the model did not have it.
    #[must_use]
    pub fn with_version(&self, name: &ModelName, version: ModelVersion, state: ModelState) -> Self {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        if let Some(entry) = next.models.get_mut(name.as_str()) {
            entry.versions.insert(version, state);
        }
        next
    }

    /// Counts the catalogs of a server; the same for the same set of models and states.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Finds a model version that serves.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, version or label, with those that are known; `Unavailable` while the version is
    /// loading or once it has failed, with the reason.
    pub fn resolve(&self, model: ModelRef<'_>) -> Result<Arc<ServedModel>> {
        let name = match (model.name, &self.default_model) {
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
        let version = match model.version {
            VersionRef::Default => entry.default_version,
            VersionRef::Number(version) | VersionRef::Label(version) => Some(entry.known_version(name, version)?),
        };
        match version.and_then(|version| entry.versions.get(&version)) {
            Some(ModelState::Ready(served_model)) => match served_model.failure() {
                None => Ok(Arc::clone(served_model)),
                Some(reason) => Err(Error::unavailable(format!("model {name:?} has failed: {reason}"))),
            },
            Some(ModelState::Loading) => Err(Error::unavailable(format!("model {name:?} is loading"))),
            Some(ModelState::Failed(reason)) => Err(Error::unavailable(format!("model {name:?} has failed: {reason}"))),
            None => Err(Error::unavailable(format!("model {name:?} has failed: {}", entry.problem()))),
        }
    }

    /// Returns an entry by name.
    ///
    /// # Errors
    /// `NotFound`, naming the known models.
    pub fn entry(&self, name: &str) -> Result<(&ModelName, &ModelEntry)> {
        self.models.get_key_value(name).ok_or_else(|| self.unknown_model(name))
    }

    pub fn entries(&self) -> impl Iterator<Item = (&ModelName, &ModelEntry)> {
        self.models.iter()
    }

    /// The state of every version, and that of each model that has failed as a whole, without a version.
    pub fn states(&self) -> impl Iterator<Item = (&ModelName, Option<ModelVersion>, ModelState)> {
        self.entries().flat_map(|(name, entry)| {
            let versions = entry.versions().map(|(version, state)| (Some(version), state));
            let whole = entry.default_version().is_none().then(|| (None, entry.state(None)));
            versions.chain(whole).map(move |(version, state)| (name, version, state))
        })
    }

    /// Every model version that serves now, by name and version.
    pub fn ready(&self) -> impl Iterator<Item = Arc<ServedModel>> {
        self.entries().flat_map(|(_, entry)| entry.versions()).filter_map(|(_, state)| match state {
            ModelState::Ready(served_model) => Some(served_model),
            ModelState::Loading | ModelState::Failed(_) => None,
        })
    }

    /// Every model version that was loaded and is held by this catalog, also if it has failed since.
    pub(super) fn loaded(&self) -> impl Iterator<Item = &Arc<ServedModel>> {
        self.models.values().flat_map(|entry| entry.versions.values()).filter_map(|state| match state {
            ModelState::Ready(served_model) => Some(served_model),
            ModelState::Loading | ModelState::Failed(_) => None,
        })
    }

    /// The model of a request that names none.
    pub fn default_model(&self) -> Option<&ModelName> {
        self.default_model.as_ref()
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
                versions: files.versions.keys().map(|version| (*version, ModelState::Loading)).collect(),
                problem: None,
            },
            Err(error) => Self { default_version: None, versions: BTreeMap::new(), problem: Some(error.to_string()) },
        }
    }

    /// The version of a request that names none; `None` if the model has failed as a whole.
    pub fn default_version(&self) -> Option<ModelVersion> {
        self.default_version
    }

    /// The versions and their states, by number.
    pub fn versions(&self) -> impl Iterator<Item = (ModelVersion, ModelState)> {
        self.versions.iter().map(|(version, state)| (*version, state.now()))
    }

    /// The state of a version, or of the whole model where it has no version.
    pub fn state(&self, version: Option<ModelVersion>) -> ModelState {
        match version.and_then(|version| self.versions.get(&version)) {
            Some(state) => state.now(),
            None => ModelState::Failed(self.problem().to_owned()),
        }
    }

    fn problem(&self) -> &str {
        self.problem.as_deref().unwrap_or("it has no version")
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
