//! The model repository: one bad model never hides another, versions, bare files, and where names come from.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{TestServer, error_text, models},
    onnx,
    process::{Ended, Process, onnxd, onnxd_serve},
};

const IRIS_ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;
/// The misspelt key of the bad model.toml.
const MISSPELT: &str = "max_bach_size";

/// A folder of models that is gone with the test.
struct Repository(TempDir);

impl Repository {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Copies a file of the bundled models.
    fn copy(&self, bundled: &str, file: &str) {
        self.write(file, fs::read(models(bundled)).unwrap());
    }

    async fn serve(&self) -> TestServer {
        TestServer::start_with(self.path(), |_| {}).await
    }
}

/// A good model, and three that are bad in different ways.
fn three_bad_and_a_good_one() -> Repository {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "good/1/model.onnx");
    repository.write("corrupt/1/model.onnx", &fs::read(models("iris/1/model.onnx")).unwrap()[..100]);
    repository.write("outside/1/model.onnx", onnx::adding_external("../../weights.bin"));
    repository.write("weights.bin", [0; 16]);
    repository.copy("iris/1/model.onnx", "misspelt/1/model.onnx");
    repository.write("misspelt/model.toml", format!("[batching]\n{MISSPELT} = 8\n"));
    repository
}

async fn check(repository: &Repository) -> Ended {
    let mut command = onnxd(["check"]);
    command.arg(repository.path());
    Process::run(command).await
}

/// Asserts that the text names the bad models, and the reason of those where it is not the runtime's to say.
fn assert_names_the_bad(text: &str) {
    for part in ["corrupt", "outside", "outside the model's folder", "misspelt", MISSPELT] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[tokio::test]
async fn check_names_every_bad_model_with_its_reason() {
    let ended = check(&three_bad_and_a_good_one()).await;
    assert_names_the_bad(&format!("{}{}", ended.stdout, ended.stderr));
}

#[tokio::test]
async fn check_of_a_repository_with_a_bad_model_exits_1() {
    let ended = check(&three_bad_and_a_good_one()).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
}

#[tokio::test]
async fn check_of_good_models_exits_0() {
    let ended = Process::run(onnxd(["check".as_ref(), models("").as_os_str()])).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[tokio::test]
async fn check_fails_where_a_golden_case_differs() {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "iris/1/model.onnx");
    let case = json!({"request": {"features": [5.1, 3.5, 1.4, 0.2]}, "response": {"prediction": 2}});
    repository.write("iris/1/golden.json", json!({"cases": [case]}).to_string());
    let ended = check(&repository).await;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
}

#[tokio::test]
async fn good_model_serves_beside_bad_ones() {
    let repository = three_bad_and_a_good_one();
    let server = repository.serve().await;
    assert_eq!(server.predict("/models/good/predict", IRIS_ROW).await["prediction"], 0);
}

#[tokio::test]
async fn health_shows_bad_models_as_failed_with_the_reason() {
    let repository = three_bad_and_a_good_one();
    let server = repository.serve().await;
    let health = server.get_json("/health").await;
    for model in ["corrupt", "outside", "misspelt"] {
        assert_eq!(health["models"][model]["state"], "failed", "{health}");
    }
    assert_names_the_bad(&health["models"].to_string());
}

#[tokio::test]
async fn model_list_shows_bad_models_as_failed_with_the_reason() {
    let repository = three_bad_and_a_good_one();
    let server = repository.serve().await;
    let list = server.get_json("/models").await;
    let states = list["models"].as_array().unwrap().iter().map(|model| (&model["name"], &model["state"]));
    let expected = [("corrupt", "failed"), ("good", "ready"), ("misspelt", "failed"), ("outside", "failed")];
    assert!(
        states.eq(expected.map(|(name, state)| (json!(name), json!(state))).iter().map(|(name, state)| (name, state))),
        "{list}"
    );
    assert_names_the_bad(&list.to_string());
}

#[tokio::test]
async fn server_with_a_bad_model_is_not_ready_and_says_why() {
    let repository = three_bad_and_a_good_one();
    let server = repository.serve().await;
    assert_names_the_bad(&error_text(server.get("/health/ready").await, 503).await);
}

#[tokio::test]
async fn reasons_that_clients_read_do_not_tell_where_the_models_lie() {
    let repository = three_bad_and_a_good_one();
    let server = repository.serve().await;
    let root = repository.path().canonicalize().unwrap();
    let mut said = server.get_json("/health").await.to_string();
    said += &server.get_json("/models").await.to_string();
    for model in ["corrupt", "outside", "misspelt"] {
        said += &server.refuse(&format!("/models/{model}/predict"), IRIS_ROW, 503).await;
    }
    assert!(!said.contains(root.to_str().unwrap()), "{said}");
    assert!(said.contains("corrupt/1/model.onnx: ") && said.contains("misspelt/model.toml: "), "{said}");
}

#[tokio::test]
async fn folder_whose_versions_are_misnamed_is_a_failed_model() {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "iris/01/model.onnx");
    let server = repository.serve().await;
    let error = server.refuse("/predict", IRIS_ROW, 503).await;
    assert!(error.ends_with("\"01\" is not a version: expected a positive integer without leading zeros"), "{error}");
}

#[tokio::test]
async fn misnamed_version_beside_a_valid_one_is_warned_of() {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "iris/1/model.onnx");
    repository.copy("iris/1/model.onnx", "iris/v2/model.onnx");
    let path = repository.path().to_str().unwrap();
    let ended = Process::run(onnxd(["check", path, "--log-format", "text"])).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stderr.contains("model iris") && ended.stderr.contains("\"v2\" is not a version"), "{ended:#?}");
}

#[tokio::test]
async fn external_data_in_the_models_own_folder_is_loaded() {
    let repository = Repository::new();
    repository.write("adding/1/model.onnx", onnx::adding_external("weights.bin"));
    repository.write("adding/1/weights.bin", [1.0_f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
    let server = repository.serve().await;
    let answer = server.predict("/predict", r#"{"inputs":{"x":[[10,20,30,40]]}}"#).await;
    assert_eq!(answer["outputs"]["y"], json!([[11.0, 22.0, 33.0, 44.0]]), "{answer}");
}

/// Iris as version 2, and as version 10 with labels that are text.
fn two_versions() -> Repository {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "iris/2/model.onnx");
    repository.copy("iris_zipmap/1/model.onnx", "iris/10/model.onnx");
    repository
}

#[tokio::test]
async fn highest_version_is_the_default() {
    let repository = two_versions();
    let server = repository.serve().await;
    let answer = server.predict("/models/iris/predict", IRIS_ROW).await;
    assert_eq!((&answer["model_version"], &answer["prediction"]), (&json!("10"), &json!("setosa")));
}

#[tokio::test]
async fn each_version_can_be_addressed() {
    let repository = two_versions();
    let server = repository.serve().await;
    for (version, prediction) in [("2", json!(0)), ("10", json!("setosa"))] {
        let answer = server.predict(&format!("/models/iris/versions/{version}/predict"), IRIS_ROW).await;
        assert_eq!((&answer["model_version"], &answer["prediction"]), (&json!(version), &prediction));
    }
}

#[tokio::test]
async fn version_that_is_not_there_is_404_and_names_those_that_are() {
    let repository = two_versions();
    let server = repository.serve().await;
    let error = server.refuse("/models/iris/versions/3/predict", IRIS_ROW, 404).await;
    assert!(error.contains("2, 10"), "{error}");
}

#[tokio::test]
async fn model_toml_chooses_the_default_version() {
    let repository = two_versions();
    repository.write("iris/model.toml", "default_version = 2\n");
    let server = repository.serve().await;
    assert_eq!(server.predict("/models/iris/predict", IRIS_ROW).await["model_version"], "2");
}

#[tokio::test]
async fn bare_file_is_version_1_of_a_model_of_its_name() {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "flowers.onnx");
    let server = repository.serve().await;
    let answer = server.predict("/models/flowers/versions/1/predict", IRIS_ROW).await;
    assert_eq!((&answer["model"], &answer["model_version"]), (&json!("flowers"), &json!("1")));
}

#[tokio::test]
async fn path_of_a_file_serves_that_file_alone() {
    let repository = Repository::new();
    repository.copy("iris/1/model.onnx", "flowers.onnx");
    repository.copy("iris/1/model.onnx", "other.onnx");
    let server = TestServer::start_with(repository.path().join("flowers.onnx"), |_| {}).await;
    assert_eq!(server.predict("/predict", IRIS_ROW).await["model"], "flowers");
}

#[tokio::test]
async fn path_of_one_models_folder_serves_that_model() {
    let server = TestServer::start_with(models("iris"), |_| {}).await;
    assert_eq!(server.predict("/predict", IRIS_ROW).await["model"], "iris");
}

/// Breast cancer names features and classes in the file itself.
async fn breast_cancer(model_toml: &str) -> Value {
    let repository = Repository::new();
    repository.copy("breast_cancer/1/model.onnx", "breast_cancer/1/model.onnx");
    repository.write("breast_cancer/model.toml", model_toml);
    repository.serve().await.get_json("/models/breast_cancer").await
}

#[tokio::test]
async fn names_come_from_the_files_metadata() {
    let details = breast_cancer("").await;
    assert_eq!(details["features"][0], "mean_radius", "{details}");
    assert_eq!(details["classes"], json!(["malignant", "benign"]), "{details}");
}

#[tokio::test]
async fn class_names_of_model_toml_win_over_metadata() {
    let details = breast_cancer("[classes]\nnames = [\"bad\", \"good\"]\n").await;
    assert_eq!(details["classes"], json!(["bad", "good"]), "{details}");
}

#[tokio::test]
async fn feature_names_of_model_toml_win_over_metadata() {
    let names: Vec<_> = (0..30).map(|column| format!("column_{column}")).collect();
    let details = breast_cancer(&format!("[features]\nnames = {names:?}\n")).await;
    assert_eq!(details["features"], json!(names), "{details}");
}

#[tokio::test]
async fn placed_model_is_served_under_the_name_it_is_given() {
    let layouts = [
        ("flat", "model.onnx"),
        ("any-name", "iris-2026.onnx"),
        ("versions", "1/model.onnx"),
        ("nested", "bucket/iris/model.onnx"),
    ];
    for (layout, file) in layouts {
        let repository = Repository::new();
        repository.copy("iris/1/model.onnx", file);
        let server =
            TestServer::start_with(repository.path(), |config| config.model_name = Some("sample".to_owned())).await;
        let answer = server.predict("/models/sample/predict", IRIS_ROW).await;
        assert_eq!((&answer["model"], &answer["prediction"]), (&json!("sample"), &json!(0)), "{layout}");
        server.predict("/predict", IRIS_ROW).await;
    }
}

#[tokio::test]
async fn model_name_that_is_none_or_a_folder_of_several_models_is_one_line_and_exit_64() {
    let cases = [("-x", models("iris"), "is not a model name"), ("all", models(""), "no model in")];
    for (name, path, part) in cases {
        let ended = Process::run(onnxd_serve(&path, &["--model-name", name])).await;
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(64), 1), "{ended:#?}");
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
}
