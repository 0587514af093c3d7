//! What a scan finds, and by what names.

use std::{fs, path::Path};

use crate::model::{
    name::ModelVersion,
    repository::{FoundModel, scan},
};

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
    for file in ["iris/1/model.onnx", "iris/10/model.onnx", "iris/notes/x", "wine.onnx", "README.md", "data/x.csv"] {
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
    for file in
        ["good/1/model.onnx", "flat/model.onnx", "twice/1/model.onnx", "twice.onnx", "hole/1/model.onnx", "hole/2/x"]
    {
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
fn a_name_that_is_not_valid_takes_none_from_a_model_that_has_it() {
    let root = tempfile::tempdir().unwrap();
    for file in ["bad name/1/model.onnx", "bad-name/1/model.onnx", "bad:name.onnx"] {
        write(root.path(), file, "");
    }
    let found = scan(root.path()).unwrap();
    assert_eq!(names(&found), ["bad-name", "bad-name-2", "bad-name-3"]);
    assert_eq!(found[0].files.as_ref().unwrap().versions.len(), 1);
    for (model, text) in [(&found[1], "\"bad name\""), (&found[2], "\"bad:name\"")] {
        let reason = model.files.as_ref().unwrap_err().message();
        assert!(reason.starts_with(&format!("{text} is not a model name")), "{reason}");
    }
}

#[test]
fn a_folder_whose_versions_are_misnamed_is_a_model_that_failed() {
    let root = tempfile::tempdir().unwrap();
    for file in ["v0/0/model.onnx", "v01/01/model.onnx", "m/v1/model.onnx", "good/1/model.onnx", "good/v2/model.onnx"] {
        write(root.path(), file, "");
    }
    write(root.path(), "hidden/.1/model.onnx", "");
    let found = scan(root.path()).unwrap();
    assert_eq!(names(&found), ["good", "m", "v0", "v01"]);
    assert_eq!(found[0].files.as_ref().unwrap().versions.len(), 1);
    for (model, folder) in found[1..].iter().zip(["v1", "0", "01"]) {
        let expected = format!("{folder:?} is not a version: expected a positive integer without leading zeros");
        assert_eq!(model.files.as_ref().unwrap_err().message(), expected);
    }
}

#[test]
fn the_extension_of_a_bare_file_may_be_in_capitals() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "UP.ONNX", "");
    assert_eq!(names(&scan(root.path()).unwrap()), ["UP"]);
}

#[test]
fn what_clients_read_is_relative_to_the_repository() {
    let root = tempfile::tempdir().unwrap();
    for file in ["iris/1/model.onnx", "flat/model.onnx", "wine.onnx"] {
        write(root.path(), file, "");
    }
    let found = scan(root.path()).unwrap();
    assert_eq!(found[0].files.as_ref().unwrap_err().message(), "no version of it: expected flat/1/model.onnx");
    for (model, shown) in [(&found[1], "iris/1/model.onnx"), (&found[2], "wine.onnx")] {
        let files = model.files.as_ref().unwrap();
        let reason = format!("{}: not an ONNX model", files.versions[&ModelVersion::ONE].display());
        assert_eq!(files.without_root(&reason), format!("{shown}: not an ONNX model"));
    }
}

#[test]
fn a_folder_without_models_says_what_was_expected() {
    let root = tempfile::tempdir().unwrap();
    assert!(scan(root.path()).unwrap_err().message().contains("expected NAME/1/model.onnx or NAME.onnx"));
}
