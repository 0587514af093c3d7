//! The model versions under a path, for the commands that look at each of them.

use std::{path::PathBuf, sync::Arc};

use crate::{
    error::{Error, Result},
    model::{
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        repository::FoundModel,
    },
    serving::{loader::Loader, served_model::ServedModel},
};

/// A model version, or a model that has none.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: ModelName,
    /// What there is to load, or why there is nothing.
    pub(super) files: Result<VersionFiles>,
}

/// What a model version is loaded from.
#[derive(Debug)]
pub(super) struct VersionFiles {
    pub(super) version: ModelVersion,
    /// Whether it is the one served when a request names none.
    pub(super) is_default: bool,
    pub(super) path: PathBuf,
    /// The settings of the model.
    pub(super) manifest: Arc<Manifest>,
}

impl Candidate {
    /// Makes one candidate of each version, by name and version.
    pub(super) fn of_all(found: Vec<FoundModel>) -> Vec<Self> {
        found.into_iter().flat_map(Self::of_one).collect()
    }

    fn of_one(model: FoundModel) -> Vec<Self> {
        let name = model.name;
        let files = match model.files {
            Ok(files) => files,
            Err(error) => {
                return vec![Self { name, files: Err(error) }];
            }
        };
        let default_version = files.default_version().ok();
        let manifest = Arc::new(files.manifest);
        let versions = files.versions.into_iter().map(|(version, path)| Self {
            name: name.clone(),
            files: Ok(VersionFiles {
                version,
                is_default: default_version == Some(version),
                path,
                manifest: Arc::clone(&manifest),
            }),
        });
        versions.collect()
    }

    /// Loads the version, as `serve` does. Blocks.
    ///
    /// # Errors
    /// The reason in one line.
    pub(super) fn load(&self, loader: &Loader) -> Result<ServedModel, String> {
        let files = self.files.as_ref().map_err(Error::to_string)?;
        let loaded = loader.load(&self.name, files.version, &files.path, &files.manifest);
        loaded.map_err(|error| super::one_line(&error.to_string()))
    }

    /// Returns name and version for people: `iris 1`; the name alone of a model that has no version.
    pub(super) fn title(&self) -> String {
        match &self.files {
            Ok(files) => format!("{} {}", self.name, files.version),
            Err(_) => self.name.to_string(),
        }
    }
}
