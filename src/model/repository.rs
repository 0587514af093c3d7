//! A model repository: which models and versions lie under a path.
//!
//! Looks at names only; what is inside the files is read when a model is loaded. One bad model never hides the others.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    model::{
        manifest::{self, Manifest},
        name::{ModelName, ModelVersion},
    },
};

/// The name of a model's file in its version folder.
pub const MODEL_FILE_NAME: &str = "model.onnx";

/// A model found on disk: what it consists of, or why it cannot be served.
#[derive(Debug)]
pub struct FoundModel {
    /// The name, from the folder or the file.
    pub name: ModelName,
    /// Its settings and versions.
    pub files: Result<ModelFiles>,
}

/// The settings and versions of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFiles {
    /// The settings from its model.toml.
    pub manifest: Manifest,
    /// The `model.onnx` of each version; at least one.
    pub versions: BTreeMap<ModelVersion, PathBuf>,
}

impl ModelFiles {
    /// Returns the version that a request gets when it names none: the manifest's choice, else the highest.
    ///
    /// # Errors
    /// `InvalidArgument` where the manifest chooses a version that is not there.
    pub fn default_version(&self) -> Result<ModelVersion> {
        let chosen = self.manifest.default_version.and_then(ModelVersion::new);
        match (chosen, self.versions.last_key_value()) {
            (Some(version), _) if self.versions.contains_key(&version) => Ok(version),
            (Some(version), _) => Err(Error::invalid(format!(
                "{} default_version = {version}: there is no such version folder",
                manifest::FILE_NAME
            ))),
            (None, Some((highest, _))) => Ok(*highest),
            (None, None) => Err(Error::invalid("there is no version of it")),
        }
    }
}

/// Lists the models under `path`: a repository, one model's folder, or one `.onnx` file. Blocks on the disk.
///
/// Hidden entries, other files, and folders that hold nothing of a model are passed over. Sorted by name.
///
/// # Errors
/// `InvalidArgument` where the path cannot be read or holds no model at all.
pub fn scan(path: &Path) -> Result<Vec<FoundModel>> {
    let unreadable = |error: io::Error| Error::invalid(format!("cannot read {}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.is_file() {
        return Ok(vec![bare_file(path)]);
    }
    let path = &path.canonicalize().map_err(unreadable)?;
    if !version_files(path).map_err(unreadable)?.is_empty() {
        return Ok(vec![found(path.file_name(), || model_files(path))]);
    }
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        if let Some(model) = look_at(&entry.map_err(unreadable)?.path()) {
            let twice = || Error::invalid("it is there twice, as a folder and as a bare .onnx file, say: remove one");
            found.entry(model.name).and_modify(|files| *files = Err(twice())).or_insert(model.files);
        }
    }
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "no models in {}: expected NAME/1/{MODEL_FILE_NAME} or NAME.onnx",
            path.display()
        )));
    }
    Ok(found.into_iter().map(|(name, files)| FoundModel { name, files }).collect())
}

/// Makes a model of a directory entry, or nothing of an entry that is none.
fn look_at(path: &Path) -> Option<FoundModel> {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    if hidden {
        return None;
    }
    if path.is_file() {
        let is_model = path.extension().is_some_and(|extension| extension == "onnx");
        return is_model.then(|| bare_file(path));
    }
    let holds_a_model = path.join(manifest::FILE_NAME).exists()
        || path.join(MODEL_FILE_NAME).exists()
        || version_folders(path).is_ok_and(|versions| !versions.is_empty());
    if !holds_a_model {
        return None;
    }
    Some(found(path.file_name(), || model_files(path)))
}

fn bare_file(path: &Path) -> FoundModel {
    let versions = BTreeMap::from([(ModelVersion::ONE, path.to_owned())]);
    found(path.file_stem(), || Ok(ModelFiles { manifest: Manifest::default(), versions }))
}

/// Makes a model of what is on disk under `file_name`; one whose name is not valid goes by the nearest name that is.
fn found(file_name: Option<&OsStr>, files: impl FnOnce() -> Result<ModelFiles>) -> FoundModel {
    let text = file_name.unwrap_or_default().to_string_lossy();
    match text.parse() {
        Ok(name) => FoundModel { name, files: files() },
        Err(error) => FoundModel { name: ModelName::nearest(&text), files: Err(error) },
    }
}

fn model_files(folder: &Path) -> Result<ModelFiles> {
    let unreadable = |error: io::Error| Error::invalid(format!("cannot read {}: {error}", folder.display()));
    let manifest = Manifest::read(folder)?;
    let versions = version_files(folder).map_err(unreadable)?;
    if let Some(empty) =
        version_folders(folder).map_err(unreadable)?.iter().find(|version| !versions.contains_key(version))
    {
        return Err(Error::invalid(format!("version {empty} has no {MODEL_FILE_NAME}")));
    }
    if versions.is_empty() {
        return Err(Error::invalid(format!(
            "no version of it: expected {}",
            folder.join("1").join(MODEL_FILE_NAME).display()
        )));
    }
    let files = ModelFiles { manifest, versions };
    files.default_version()?;
    Ok(files)
}

/// Lists the `model.onnx` of each version folder that has one.
fn version_files(folder: &Path) -> io::Result<BTreeMap<ModelVersion, PathBuf>> {
    let file = |version: &ModelVersion| folder.join(version.to_string()).join(MODEL_FILE_NAME);
    let versions = version_folders(folder)?.into_iter().map(|version| (version, file(&version)));
    Ok(versions.filter(|(_, file)| file.is_file()).collect())
}

/// Lists the folders that are named as versions.
fn version_folders(folder: &Path) -> io::Result<Vec<ModelVersion>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str);
        versions.extend(name.and_then(|name| name.parse::<ModelVersion>().ok()).filter(|_| path.is_dir()));
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(found: &[FoundModel]) -> Vec<&str> {
        found.iter().map(|model| model.name.as_str()).collect()
    }

    #[test]
    fn folders_and_bare_files_are_models_and_the_rest_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        for file in ["iris/1/model.onnx", "iris/10/model.onnx", "iris/notes/x", "wine.onnx", "README.md", "data/x.csv"]
        {
            write(root.path(), file, "");
        }
        write(root.path(), ".git/1/model.onnx", "");
        write(root.path(), "__pycache__/x.pyc", "");
        let found = scan(root.path()).unwrap();
        assert_eq!(names(&found), ["iris", "wine"]);
        let iris = found[0].files.as_ref().unwrap();
        assert_eq!(iris.versions.len(), 2);
        assert_eq!(iris.default_version().unwrap(), ModelVersion::new(10).unwrap());
    }

    #[test]
    fn one_model_or_one_file_is_a_repository_of_one() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "iris/1/model.onnx", "");
        write(root.path(), "wine.onnx", "");
        assert_eq!(names(&scan(&root.path().join("iris")).unwrap()), ["iris"]);
        assert_eq!(names(&scan(&root.path().join("wine.onnx")).unwrap()), ["wine"]);
        assert!(scan(&root.path().join("absent")).unwrap_err().message().starts_with("cannot read"));
    }

    #[test]
    fn a_bad_model_is_named_with_its_reason_beside_the_good_ones() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "good/1/model.onnx",
            "flat/model.onnx",
            "twice/1/model.onnx",
            "twice.onnx",
            "hole/1/model.onnx",
            "hole/2/x",
        ] {
            write(root.path(), file, "");
        }
        write(root.path(), "my model.onnx", "");
        write(root.path(), "typo/1/model.onnx", "");
        write(root.path(), "typo/model.toml", "[batchin]\n");
        write(root.path(), "chosen/1/model.onnx", "");
        write(root.path(), "chosen/model.toml", "default_version = 3\n");
        let found = scan(root.path()).unwrap();
        let reason = |name: &str| {
            let model = found.iter().find(|model| model.name.as_str() == name).unwrap();
            model.files.as_ref().err().map(ToString::to_string).unwrap_or_default()
        };
        assert_eq!(reason("good"), "");
        assert!(reason("flat").contains("expected") && reason("flat").ends_with("flat/1/model.onnx"));
        assert!(reason("twice").contains("it is there twice, as a folder and as a bare"));
        assert!(reason("my-model").starts_with("\"my model\" is not a model name"));
        assert_eq!(reason("hole"), "version 2 has no model.onnx");
        assert!(reason("typo").contains("unknown field `batchin`"));
        assert!(reason("chosen").contains("default_version = 3"));
    }

    #[test]
    fn a_folder_without_models_says_what_was_expected() {
        let root = tempfile::tempdir().unwrap();
        assert!(scan(root.path()).unwrap_err().message().contains("expected NAME/1/model.onnx or NAME.onnx"));
    }
}
