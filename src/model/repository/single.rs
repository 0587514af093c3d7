//! The one model at a path, under a name that somebody else chose: how a platform that fetches models lays them down.
//!
//! KServe, for example, puts what its storage holds below `/mnt/models`: a file of any name, a model's folder with its
//! versions, or a folder around either, as the storage happened to have it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    error::{Error, Result},
    model::{
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        repository::{FoundModel, MODEL_FILE_NAME, ModelFiles, is_hidden, model_files, root_of, version_files},
    },
};

/// How many folders, each alone in the one above it, a model may lie in.
const MAX_DEPTH: usize = 4;

/// Finds the model at `path`: an ONNX file of any name, a folder with one or with versions, or a folder around that.
///
/// # Errors
/// `InvalidArgument` where the path cannot be read, or what lies there is not one model.
pub(super) fn find(path: &Path, name: ModelName) -> Result<FoundModel> {
    let unreadable = |error: io::Error| Error::invalid(format!("cannot read {}: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.is_file() {
        return Ok(FoundModel { name, files: one_file(path.to_owned(), Manifest::default()) });
    }
    let mut folder = path.canonicalize().map_err(unreadable)?;
    for _depth in 0..MAX_DEPTH {
        if !version_files(&folder).map_err(unreadable)?.is_empty() {
            let files = model_files(&folder, &name);
            return Ok(FoundModel { name, files });
        }
        let entries = Entries::of(&folder).map_err(unreadable)?;
        if let Some(file) = entries.model_file(&folder)? {
            let files = Manifest::read(&folder).and_then(|manifest| one_file(file, manifest));
            return Ok(FoundModel { name, files });
        }
        match <[PathBuf; 1]>::try_from(entries.folders) {
            Ok([only]) => folder = only,
            Err(_) => break,
        }
    }
    Err(Error::invalid(format!(
        "no model in {}: expected {MODEL_FILE_NAME}, one file NAME.onnx, or 1/{MODEL_FILE_NAME}",
        path.display()
    )))
}

fn one_file(file: PathBuf, manifest: Manifest) -> Result<ModelFiles> {
    let files = ModelFiles { root: root_of(&file), manifest, versions: BTreeMap::from([(ModelVersion::ONE, file)]) };
    files.default_version().map(|_one| files)
}

/// What a folder holds, without what is hidden: the volumes of Kubernetes have `..data` beside the files.
struct Entries {
    folders: Vec<PathBuf>,
    onnx_files: Vec<PathBuf>,
}

impl Entries {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut entries = Self { folders: Vec::new(), onnx_files: Vec::new() };
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_onnx = || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
            if is_hidden(&path) {
                continue;
            }
            if path.is_dir() {
                entries.folders.push(path);
            } else if is_onnx() {
                entries.onnx_files.push(path);
            }
        }
        Ok(entries)
    }

    /// Returns the file that is the model: the one called `model.onnx`, else the only one.
    fn model_file(&self, folder: &Path) -> Result<Option<PathBuf>> {
        let usual = folder.join(MODEL_FILE_NAME);
        match &self.onnx_files[..] {
            [] => Ok(None),
            [only] => Ok(Some(only.clone())),
            several if several.contains(&usual) => Ok(Some(usual)),
            several => Err(Error::invalid(format!(
                "{} ONNX files in {}: expected one, or one called {MODEL_FILE_NAME}",
                several.len(),
                folder.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn find_in(path: &Path) -> Result<FoundModel> {
        find(path, "placed".parse().unwrap())
    }

    #[test]
    fn a_model_is_found_however_it_was_laid_down() {
        let cases = [
            (&["model.onnx"][..], "model.onnx", 1),
            (&["iris-v7.onnx", "README.md"], "iris-v7.onnx", 1),
            (&["model.onnx", "extra.onnx"], "model.onnx", 1),
            (&["1/model.onnx", "3/model.onnx"], "3/model.onnx", 3),
            (&["iris/model.onnx"], "iris/model.onnx", 1),
            (&["bucket/iris/2/model.onnx"], "bucket/iris/2/model.onnx", 2),
            (&["..data/model.onnx", "model.onnx"], "model.onnx", 1),
        ];
        for (files, expected, version) in cases {
            let root = laid_out(files);
            let found = find_in(root.path()).unwrap();
            let files = found.files.unwrap();
            assert_eq!(found.name.as_str(), "placed");
            let default_version = files.default_version().unwrap();
            assert_eq!(default_version, ModelVersion::new(version).unwrap(), "{expected}");
            assert!(files.versions[&default_version].ends_with(expected), "{expected}: {files:?}");
        }
    }

    #[test]
    fn a_file_is_the_model_whatever_it_is_called() {
        let root = laid_out(&["weights"]);
        let found = find_in(&root.path().join("weights")).unwrap();
        assert!(found.files.unwrap().versions[&ModelVersion::ONE].ends_with("weights"));
    }

    #[test]
    fn what_is_not_one_model_is_refused_with_what_was_expected() {
        let cases = [
            (&["README.md"][..], "no model in"),
            (&["a.onnx", "b.onnx"], "2 ONNX files in"),
            (&["iris/1/model.onnx", "wine/1/model.onnx"], "expected model.onnx, one file NAME.onnx, or 1/model.onnx"),
            (&["a/b/c/d/model.onnx"], "no model in"),
        ];
        for (files, expected) in cases {
            let root = laid_out(files);
            let error = find_in(root.path()).unwrap_err();
            assert!(error.message().contains(expected), "{files:?}: {error}");
        }
        assert!(find_in(Path::new("/no/such/path")).unwrap_err().message().starts_with("cannot read"));
    }

    #[test]
    fn a_model_toml_beside_the_file_counts_and_a_bad_one_is_the_models_failure() {
        let root = laid_out(&["model.onnx"]);
        fs::write(root.path().join("model.toml"), "description = \"placed\"").unwrap();
        let files = find_in(root.path()).unwrap().files.unwrap();
        assert_eq!(files.manifest.description.as_deref(), Some("placed"));
        for bad in ["[batchin]", "default_version = 3"] {
            fs::write(root.path().join("model.toml"), bad).unwrap();
            assert!(find_in(root.path()).unwrap().files.is_err(), "{bad}");
        }
    }
}
