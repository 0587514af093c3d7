//! The bundled models answer over the wire what ONNX Runtime and scikit-learn answered when they were made.

use std::{collections::BTreeSet, fs};

use onnxd::model::golden::{first_difference, read_beside};

use crate::harness::{TestServer, models};

/// What an answer may differ by from the one that ONNX Runtime itself gave in Python.
const RUNTIME_TOLERANCE: f64 = 1e-5;

const MODELS: [&str; 6] = ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"];

/// Posts every golden request of a model; the recorded answers of `source` must come back.
async fn answers_as(source: &str, model: &str) {
    let server = TestServer::start_with(models(model), |_| {}).await;
    let cases = read_beside(&models(model).join("1/model.onnx")).unwrap();
    let of_source: Vec<_> = cases.iter().filter(|case| case.source.starts_with(source)).collect();
    assert!(!of_source.is_empty(), "{model} has no case of {source}");
    for case in of_source {
        let tolerance = if source == "onnxruntime" { case.tolerance.min(RUNTIME_TOLERANCE) } else { case.tolerance };
        let request = case.request.get();
        let answer = server.predict("/predict", request).await;
        assert_eq!(first_difference(&case.response, &answer, tolerance), None, "{model} on {request}");
    }
}

#[test]
fn every_bundled_model_is_tested_here() {
    let entries = fs::read_dir(models("")).unwrap().map(|entry| entry.unwrap());
    let folders = entries.filter(|entry| entry.path().join("1/model.onnx").exists());
    let names: BTreeSet<_> = folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(names, MODELS.map(str::to_owned).into());
}

#[tokio::test]
async fn breast_cancer_answers_as_onnx_runtime_did() {
    answers_as("onnxruntime", "breast_cancer").await;
}

#[tokio::test]
async fn breast_cancer_answers_as_scikit_learn_did() {
    answers_as("scikit-learn", "breast_cancer").await;
}

#[tokio::test]
async fn digits_answer_as_onnx_runtime_did() {
    answers_as("onnxruntime", "digits").await;
}

#[tokio::test]
async fn digits_answer_as_scikit_learn_did() {
    answers_as("scikit-learn", "digits").await;
}

#[tokio::test]
async fn iris_answers_as_onnx_runtime_did() {
    answers_as("onnxruntime", "iris").await;
}

#[tokio::test]
async fn iris_answers_as_scikit_learn_did() {
    answers_as("scikit-learn", "iris").await;
}

#[tokio::test]
async fn zipmap_outputs_answer_as_onnx_runtime_did() {
    answers_as("onnxruntime", "iris_zipmap").await;
}

#[tokio::test]
async fn zipmap_outputs_answer_as_scikit_learn_did() {
    answers_as("scikit-learn", "iris_zipmap").await;
}

#[tokio::test]
async fn ride_duration_answers_as_onnx_runtime_did() {
    answers_as("onnxruntime", "ride_duration").await;
}

#[tokio::test]
async fn ride_duration_answers_as_scikit_learn_did() {
    answers_as("scikit-learn", "ride_duration").await;
}

#[tokio::test]
async fn string_inputs_answer_as_onnx_runtime_did() {
    answers_as("onnxruntime", "text").await;
}

#[tokio::test]
async fn string_inputs_answer_as_scikit_learn_did() {
    answers_as("scikit-learn", "text").await;
}

#[tokio::test]
async fn every_models_example_works_when_posted_back() {
    let server = TestServer::start().await;
    for model in MODELS {
        let details = server.get_json(&format!("/models/{model}")).await;
        let answer = server.predict(&format!("/models/{model}/predict"), &details["example"].to_string()).await;
        assert_eq!(answer["model"], model, "{answer}");
    }
}

#[tokio::test]
async fn example_of_a_model_without_golden_cases_works_when_posted_back() {
    let repository = tempfile::tempdir().unwrap();
    for model in MODELS {
        fs::copy(models(model).join("1/model.onnx"), repository.path().join(format!("{model}.onnx"))).unwrap();
    }
    let server = TestServer::start_with(repository.path(), |_| {}).await;
    for model in MODELS {
        let details = server.get_json(&format!("/models/{model}")).await;
        let answer = server.predict(&format!("/models/{model}/predict"), &details["example"].to_string()).await;
        assert_eq!(answer["model"], model, "{answer}");
    }
}
