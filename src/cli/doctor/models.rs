//! The models that `serve` would find, by their names, files and settings.

use std::{fs, path::Path};

use serde::Serialize;

use crate::{
    config::ServerConfig,
    model::{
        golden,
        manifest::InstanceSettings,
        repository::{self, FoundModel, ModelFiles},
    },
    serving::catalog::Catalog,
};

/// What lies under the model path.
#[derive(Debug, Default, Serialize)]
pub(super) struct ModelsFacts {
    pub(super) path: String,
    pub(super) default_model: Option<String>,
    pub(super) models: Vec<ModelFacts>,
}

/// One model that can be read.
#[derive(Debug, Default, Serialize)]
pub(super) struct ModelFacts {
    pub(super) name: String,
    pub(super) versions: usize,
    /// Of the files of all versions.
    pub(super) size_bytes: u64,
    pub(super) instances: usize,
    pub(super) intra_op_threads: usize,
}

impl ModelFacts {
    /// Returns what its model.toml says, or the defaults.
    pub(super) fn instance_settings(&self) -> InstanceSettings {
        InstanceSettings { count: self.instances, intra_op_threads: self.intra_op_threads, isolate: false }
    }

    /// Returns the threads of one version when all its instances run.
    pub(super) fn threads(&self) -> usize {
        self.instances * self.intra_op_threads
    }
}

impl ModelsFacts {
    /// Returns the threads that are busy when all instances of all versions run at once.
    pub(super) fn threads(&self) -> usize {
        self.models.iter().map(|model| model.threads() * model.versions).sum()
    }

    /// Returns the bytes that all instances hold at the least: each has the weights once more.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.models.iter().map(|model| model.size_bytes.saturating_mul(model.instances as u64)).sum()
    }
}

/// Looks at the models without loading them, and says what would keep any from being served.
pub(super) fn look_at(config: &ServerConfig, problems: &mut Vec<String>) -> ModelsFacts {
    let path = config.model_path.display().to_string();
    let found = repository::find(&config.model_path, config.model_name.as_deref()).unwrap_or_else(|error| {
        problems.push(format!("{error}; name the folder of models, or a .onnx file, as PATH or in MODEL_PATH"));
        Vec::new()
    });
    // Without any model the path is to blame, not the name.
    if !found.is_empty()
        && let Err(error) = Catalog::new(&found, config.default_model.as_deref())
    {
        problems.push(format!("--default-model: {error}"));
    }
    let models = found.iter().filter_map(|model| model_facts(model, problems)).collect();
    ModelsFacts { path, default_model: config.default_model.clone(), models }
}

fn model_facts(model: &FoundModel, problems: &mut Vec<String>) -> Option<ModelFacts> {
    let files = match &model.files {
        Ok(files) => files,
        Err(error) => {
            problems.push(format!("model {} cannot be served: {error}", model.name));
            return None;
        }
    };
    Some(ModelFacts {
        name: model.name.to_string(),
        versions: files.versions.len(),
        size_bytes: size_bytes(files),
        instances: files.manifest.instances.count,
        intra_op_threads: files.manifest.instances.intra_op_threads,
    })
}

/// Adds up the files of all versions: what lies in a version's folder, for external data lies there too, or a bare file
/// alone.
fn size_bytes(files: &ModelFiles) -> u64 {
    let length = |path: &Path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map_or(0, |file| file.len());
    let in_folder = |folder: &Path| -> Option<u64> {
        let files = fs::read_dir(folder).ok()?.flatten().filter(|file| file.file_name() != golden::FILE_NAME);
        Some(files.map(|file| length(&file.path())).sum())
    };
    let of_version = |path: &Path| match path.parent().filter(|_| path.ends_with(repository::MODEL_FILE_NAME)) {
        Some(folder) => in_folder(folder).unwrap_or(0),
        None => length(path),
    };
    files.versions.values().map(|path| of_version(path)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_path_and_a_bad_model_are_problems() {
        let root = tempfile::tempdir().unwrap();
        let facts = |path: &Path, default_model: Option<&str>| {
            let mut config = ServerConfig::for_testing(path);
            config.default_model = default_model.map(str::to_owned);
            let mut problems = Vec::new();
            (look_at(&config, &mut problems), problems)
        };
        let (_, problems) = facts(&root.path().join("absent"), None);
        assert!(
            matches!(&problems[..], [problem] if problem.contains("cannot read") && problem.contains("MODEL_PATH"))
        );

        for (file, text) in [
            ("good/1/model.onnx", "12345"),
            ("good/1/weights", "678"),
            ("good/1/golden.json", "{}"),
            ("bad/1/model.onnx", ""),
        ] {
            fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
            fs::write(root.path().join(file), text).unwrap();
        }
        fs::write(root.path().join("bad/model.toml"), "[batchin]").unwrap();
        let (models, problems) = facts(root.path(), Some("best"));
        assert_eq!((models.models.len(), models.threads(), models.memory_bytes()), (1, 1, 8));
        assert!(problems[0].starts_with("--default-model: there is no model \"best\""), "{problems:?}");
        assert!(problems[1].starts_with("model bad cannot be served"), "{problems:?}");
    }
}
