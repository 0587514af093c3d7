//! Each bundled model in every form it takes, and what the server tells of it.

use onnxd::model::golden;
use serde_json::{Value, json};

use crate::harness::{TestServer, models};

const NAMES: [&str; 6] = ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"];

/// Takes the one prediction out of an answer, whether it is a list or not.
fn prediction(answer: &Value) -> &Value {
    answer["predictions"].get(0).map_or(&answer["prediction"], |row| &row["prediction"])
}

#[tokio::test]
async fn golden_cases_hold_over_the_wire() {
    let server = TestServer::start().await;
    for name in NAMES {
        let cases = golden::read_beside(&models(&format!("{name}/1/model.onnx"))).unwrap();
        assert!(!cases.is_empty(), "{name} has golden cases");
        for case in cases {
            let answer = server.predict(&format!("/models/{name}/predict"), case.request.get()).await;
            let difference = golden::first_difference(&case.response, &answer, case.tolerance);
            assert_eq!(difference, None, "{name}, {}: {}", case.source, case.request);
        }
    }
}

#[tokio::test]
async fn an_example_works_when_it_is_posted_back() {
    let server = TestServer::start().await;
    let listed = server.get_json("/models").await;
    let listed = listed["models"].as_array().unwrap();
    assert_eq!(listed.iter().map(|model| model["name"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    for model in listed {
        let path = format!("/models/{}", model["name"].as_str().unwrap());
        assert_eq!(&server.get_json(&path).await, model);
        server.predict(&format!("{path}/predict"), &model["example"].to_string()).await;
    }
}

#[tokio::test]
async fn a_model_tells_what_it_is() {
    let server = TestServer::start().await;
    let iris = server.get_json("/models/iris").await;
    assert_eq!(iris["state"], "ready");
    assert_eq!(iris["version"], "1");
    assert_eq!(iris["task"], "classification");
    assert_eq!(iris["inputs"], json!([{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]));
    assert_eq!(iris["features"], json!(["sepal_length", "sepal_width", "petal_length", "petal_width"]));
    assert_eq!(iris["classes"], json!(["setosa", "versicolor", "virginica"]));
    assert_eq!(iris["versions"][0]["sha256"].as_str().map(str::len), Some(64));
    let ride = server.get_json("/models/ride_duration").await;
    assert_eq!((&ride["task"], &ride["prediction_name"]), (&json!("regression"), &json!("duration")));
    assert_eq!(ride["features"], json!(["PULocationID", "DOLocationID", "trip_distance"]));
    assert_eq!(server.get_json("/models/digits").await["task"], "raw");
    assert_eq!(server.get_json("/models/breast_cancer").await["features"].as_array().map(Vec::len), Some(30));
}

#[tokio::test]
async fn the_list_says_which_model_is_the_default() {
    let server = TestServer::start().await;
    assert_eq!(server.get_json("/models").await["default_model"], "iris");
}

#[tokio::test]
async fn a_zipmap_model_answers_like_plain_probabilities() {
    let server = TestServer::serving("iris_zipmap").await;
    let answer = server.predict("/predict", r#"{"features":[6.0,2.7,5.1,1.6]}"#).await;
    assert_eq!(answer["prediction"], "virginica");
    assert_eq!(answer["prediction_index"], 2);
    assert_eq!(answer["predicted_class_name"], "virginica");
    let probabilities = answer["probabilities"].as_object().unwrap();
    assert_eq!(probabilities.keys().collect::<Vec<_>>(), ["setosa", "versicolor", "virginica"]);
    assert!((probabilities.values().map(|value| value.as_f64().unwrap()).sum::<f64>() - 1.0).abs() < 1e-6);
}

#[tokio::test]
async fn one_input_a_column_takes_every_form_by_name() {
    let server = TestServer::serving("ride_duration").await;
    let row = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;
    let bodies = [
        row.to_owned(),
        r#"{"trip_distance":3.5,"DOLocationID":200,"PULocationID":100}"#.to_owned(),
        format!(r#"{{"features":{row}}}"#),
        format!(r#"{{"features":[{row}]}}"#),
        format!(r#"{{"instances":[{row}]}}"#),
        r#"{"inputs":{"PULocationID":[[100]],"DOLocationID":[[200]],"trip_distance":[[3.5]]}}"#.to_owned(),
        r#"{"inputs":{"trip_distance":[[3.5]],"DOLocationID":[[200]],"PULocationID":[[100]]}}"#.to_owned(),
    ];
    for body in bodies {
        let answer = server.predict("/predict", &body).await;
        let value = prediction(&answer).as_f64().unwrap();
        assert!((value - 13.651377).abs() < 1e-5, "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_regression_answers_under_its_own_name_too() {
    let server = TestServer::serving("ride_duration").await;
    let answer = server.predict("/predict", r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#).await;
    assert!(answer["prediction"].is_f64());
    assert_eq!(answer["duration"], answer["prediction"]);
    assert_eq!(answer.get("probabilities"), None);
}

#[tokio::test]
async fn several_inputs_are_never_bound_by_position() {
    let server = TestServer::serving("ride_duration").await;
    for body in [
        r#"{"features":[100,200,3.5]}"#,
        r#"{"features":[[100,200,3.5]]}"#,
        r#"{"instances":[[100,200,3.5]]}"#,
        r#"{"inputs":[[[100]],[[200]],[[3.5]]]}"#,
    ] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.contains("PULocationID"), "{body}: {error}");
    }
}

#[tokio::test]
async fn thirty_names_from_the_files_metadata_are_known() {
    let server = TestServer::serving("breast_cancer").await;
    let model = server.get_json("/models/breast_cancer").await;
    let names = model["features"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let pairs: Vec<_> = names.zip(0..).map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    let values: Vec<_> = (0..30).map(|value| value.to_string()).collect();
    let positional = server.predict("/predict", &format!(r#"{{"features":[{}]}}"#, values.join(","))).await;
    let backwards: Vec<_> = pairs.iter().rev().map(String::as_str).collect();
    let named = server.predict("/predict", &format!("{{{}}}", backwards.join(","))).await;
    assert_eq!(named["probabilities"], positional["probabilities"]);
}

#[tokio::test]
async fn a_raw_model_answers_outputs_as_nested_lists() {
    let server = TestServer::serving("digits").await;
    let image = vec![vec![0.5; 8]; 8];
    let answer = server.predict("/predict", &json!({"inputs": {"image": [[image], [image]]}}).to_string()).await;
    let scores = answer["outputs"]["scores"].as_array().unwrap();
    assert_eq!(scores.iter().map(|row| row.as_array().unwrap().len()).collect::<Vec<_>>(), [10, 10]);
    assert_eq!(answer.get("prediction"), None);
    assert_eq!(answer.get("predictions"), None);
}

#[tokio::test]
async fn a_raw_model_takes_no_rows() {
    let server = TestServer::serving("digits").await;
    for body in [r#"{"features":[1,2,3]}"#, r#"{"instances":[[1,2,3]]}"#, r#"{"pixel_0":1}"#] {
        let error = server.refuse("/predict", body, 400).await;
        assert!(error.contains(r#""inputs""#), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_text_model_takes_strings_in_every_form() {
    let server = TestServer::serving("text").await;
    let sentence = r#""Images of handwritten digits, written by 43 people""#;
    for body in [
        format!(r#"{{"text":{sentence}}}"#),
        format!(r#"{{"features":[{sentence}]}}"#),
        format!(r#"{{"features":{{"text":{sentence}}}}}"#),
        format!(r#"{{"features":[[{sentence}]]}}"#),
        format!(r#"{{"instances":[[{sentence}]]}}"#),
        format!(r#"{{"instances":[{{"text":{sentence}}}]}}"#),
        format!(r#"{{"inputs":{{"text":[[{sentence}]]}}}}"#),
    ] {
        let answer = server.predict("/predict", &body).await;
        assert_eq!(prediction(&answer), "digits", "{body}");
    }
}
