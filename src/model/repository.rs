//! A model repository: which models and versions lie under a path.
//!
//! Looks at names only; what is inside the files is read when a model is loaded. One bad model never hides the others.

mod single;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{MAIN_SEPARATOR, Path, PathBuf},
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
    /// The name, from the folder or the file; if that is not a valid one, the nearest that no other model has.
    pub name: ModelName,
    pub files: Result<ModelFiles>,
}

/// The settings and versions of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFiles {
    /// The folder that the model's own folder or file lies in.
    pub root: PathBuf,
    /// The settings from its model.toml.
    pub manifest: Manifest,
    /// The `model.onnx` of each version; at least one.
    pub versions: BTreeMap<ModelVersion, PathBuf>,
}

impl ModelFiles {
    /// Takes the folders above the model's out of a text: whoever asks over the network need not know where models lie.
    pub fn without_root(&self, text: &str) -> String {
        match self.root.to_str() {
            Some(root) if root.len() > 1 => text.replace(&format!("{root}{MAIN_SEPARATOR}"), ""),
            _ => text.to_owned(),
        }
    }

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

/// Lists the models under `path`; given a name, there is one model, and that is what it is called. Blocks on the disk.
///
/// # Errors
/// `InvalidArgument` where the path cannot be read or holds no model, and where the name is not a model's.
pub fn find(path: &Path, name: Option<&str>) -> Result<Vec<FoundModel>> {
    match name {
        Some(name) => single::find(path, name.parse()?).map(|found| vec![found]),
        None => scan(path),
    }
}

/// Lists the models under `path`: a repository, one model's folder, or one `.onnx` file. Blocks on the disk.
///
/// Hidden entries, other files, and folders that hold nothing of a model are passed over. Sorted by name. Warns in the
/// log of folders of a model that look like versions and are none.
///
/// # Errors
/// `InvalidArgument` where the path cannot be read or holds no model at all.
pub fn scan(path: &Path) -> Result<Vec<FoundModel>> {
    let unreadable = |error: io::Error| Error::invalid(format!("cannot read {}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.is_file() {
        return Ok(name_all([path.to_owned()]));
    }
    let path = path.canonicalize().map_err(unreadable)?;
    if !version_files(&path).map_err(unreadable)?.is_empty() {
        return Ok(name_all([path]));
    }
    let entries = fs::read_dir(&path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = entries.map_err(unreadable)?;
    // The system lists them in any order, and which of two bad names gets which number must not change.
    entries.sort_unstable();
    let found = name_all(entries.into_iter().filter(|entry| is_model(entry)));
    if found.is_empty() {
        return Err(Error::invalid(format!(
            "no models in {}: expected NAME/1/{MODEL_FILE_NAME} or NAME.onnx",
            path.display()
        )));
    }
    Ok(found)
}

/// Tells whether a directory entry is meant as a model.
fn is_model(path: &Path) -> bool {
    if is_hidden(path) {
        return false;
    }
    if path.is_file() {
        return path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    }
    path.join(manifest::FILE_NAME).exists()
        || path.join(MODEL_FILE_NAME).exists()
        || version_folders(path).is_ok_and(|versions| !versions.is_empty())
        || misnamed_versions(path).is_ok_and(|misnamed| !misnamed.is_empty())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// Makes models of what lies at `paths`, by name. Those with valid names go first: no other gets the name of one.
fn name_all(paths: impl IntoIterator<Item = PathBuf>) -> Vec<FoundModel> {
    let mut found = BTreeMap::new();
    let mut misnamed = Vec::new();
    for path in paths {
        let text = stem(&path);
        match text.parse::<ModelName>() {
            Ok(name) => {
                let twice =
                    || Error::invalid("it is there twice, as a folder and as a bare .onnx file, say: remove one");
                let files = files_at(&path, &name);
                found.entry(name).and_modify(|files| *files = Err(twice())).or_insert(files);
            }
            Err(error) => misnamed.push((text.into_owned(), error)),
        }
    }
    for (text, error) in misnamed {
        let name = ModelName::nearest_free(&text, |name| found.contains_key(name));
        found.insert(name, Err(error));
    }
    found.into_iter().map(|(name, files)| FoundModel { name, files }).collect()
}

/// Returns what a model is named by: its folder, or its bare file without the extension.
fn stem(path: &Path) -> Cow<'_, str> {
    let name = if path.is_file() { path.file_stem() } else { path.file_name() };
    name.unwrap_or_default().to_string_lossy()
}

fn files_at(path: &Path, name: &ModelName) -> Result<ModelFiles> {
    if path.is_file() {
        let versions = BTreeMap::from([(ModelVersion::ONE, path.to_owned())]);
        return Ok(ModelFiles { root: root_of(path), manifest: Manifest::default(), versions });
    }
    model_files(path, name)
}

fn root_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

fn model_files(folder: &Path, name: &ModelName) -> Result<ModelFiles> {
    let unreadable = |error: io::Error| Error::invalid(format!("cannot read {name}: {error}"));
    let manifest = Manifest::read(folder)?;
    let versions = version_files(folder).map_err(unreadable)?;
    if let Some(empty) =
        version_folders(folder).map_err(unreadable)?.iter().find(|version| !versions.contains_key(version))
    {
        return Err(Error::invalid(format!("version {empty} has no {MODEL_FILE_NAME}")));
    }
    let misnamed = misnamed_versions(folder).map_err(unreadable)?;
    if versions.is_empty() {
        let missing = || Error::invalid(format!("no version of it: expected {name}/1/{MODEL_FILE_NAME}"));
        return Err(misnamed.into_iter().next().unwrap_or_else(missing));
    }
    let files = ModelFiles { root: root_of(folder), manifest, versions };
    files.default_version()?;
    for reason in misnamed {
        tracing::warn!(model = %name, "model {name}: a folder with a {MODEL_FILE_NAME} is passed over: {reason}");
    }
    Ok(files)
}

/// Lists why each folder that has a `model.onnx` but is not named as a version is none.
fn misnamed_versions(folder: &Path) -> io::Result<Vec<Error>> {
    let mut misnamed = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !is_hidden(&path) && path.join(MODEL_FILE_NAME).is_file() {
            misnamed.extend(stem(&path).parse::<ModelVersion>().err());
        }
    }
    misnamed.sort_unstable_by(|one, other| one.message().cmp(other.message()));
    Ok(misnamed)
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
