//! `onnxd.v1.PredictionService.Predict`: rows in, predictions out, for every bundled model of rows.

use onnxd::protocol::proto::onnxd_v1::{PredictRequest, PredictResponse, Prediction, Row, Value, value::Kind};
use serde_json::json;
use tonic::Code;

use crate::{
    grpc_client::{Client, PREDICT},
    harness::TestServer,
};

const FEATURES: [f64; 4] = [5.1, 3.5, 1.4, 0.2];

fn number(number: f64) -> Value {
    Value { kind: Some(Kind::Number(number)) }
}

fn integer(integer: i64) -> Value {
    Value { kind: Some(Kind::Integer(integer)) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::Text(text.to_owned())) }
}

fn named<const N: usize>(values: [(&str, Value); N]) -> std::collections::HashMap<String, Value> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn for_model(model: &str) -> PredictRequest {
    PredictRequest { model: model.to_owned(), ..Default::default() }
}

async fn refuse(client: &Client, request: PredictRequest) -> String {
    client.refuse::<_, PredictResponse>(PREDICT, request, Code::InvalidArgument).await
}

/// Asserts that JSON says the same, in the fewest digits that read back to the same FP32.
fn assert_same(value: f64, json: &serde_json::Value) {
    let expected = json.as_f64().unwrap();
    assert!((value - expected).abs() <= expected.abs() * f64::from(f32::EPSILON), "{value} is not {expected}");
}

/// Returns the one prediction of an answer.
fn only(response: PredictResponse) -> Prediction {
    let [prediction] = <[Prediction; 1]>::try_from(response.predictions).expect("one row, one prediction");
    prediction
}

#[tokio::test]
async fn a_row_gets_class_name_and_probabilities() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    let response = client.predict(PredictRequest { features: FEATURES.to_vec(), ..Default::default() }).await;
    assert_eq!((&*response.model, &*response.model_version), ("iris", "1"));
    let prediction = only(response);
    assert_eq!(prediction.prediction, Some(integer(0)));
    assert_eq!((&*prediction.class_name, prediction.class_index), ("setosa", Some(0)));
    let json = server.predict("/predict", &json!({"features": FEATURES}).to_string()).await;
    for (name, probability) in &prediction.probabilities {
        assert_same(*probability, &json["probabilities"][name]);
    }
    assert_eq!(prediction.probabilities.len(), 3);
}

#[tokio::test]
async fn rows_by_position_and_by_name_mix() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let by_name = named([
        ("petal_width", number(2.5)),
        ("sepal_length", number(6.3)),
        ("petal_length", integer(6)),
        ("sepal_width", number(3.3)),
    ]);
    let rows = vec![
        Row { features: FEATURES.to_vec(), ..Default::default() },
        Row { named: by_name, ..Default::default() },
        Row { values: FEATURES.map(number).to_vec(), ..Default::default() },
    ];
    let response = client.predict(PredictRequest { rows, ..Default::default() }).await;
    let names: Vec<_> = response.predictions.iter().map(|prediction| &*prediction.class_name).collect();
    assert_eq!(names, ["setosa", "virginica", "setosa"]);
}

#[tokio::test]
async fn columns_of_several_types_come_by_name() {
    let server = TestServer::serving("ride_duration").await;
    let client = Client::of(&server).await;
    let ride = named([("PULocationID", integer(43)), ("DOLocationID", number(151.0)), ("trip_distance", number(1.1))]);
    let prediction = only(client.predict(PredictRequest { named: ride.clone(), ..Default::default() }).await);
    let json = r#"{"PULocationID":43,"DOLocationID":151,"trip_distance":1.1}"#;
    let answer = server.predict("/predict", json).await;
    let Some(Kind::Number(duration)) = prediction.prediction.unwrap().kind else {
        panic!("a regression gives a number")
    };
    assert_same(duration, &answer["duration"]);
    assert_eq!((&*prediction.class_name, prediction.class_index), ("", None));

    let positional = PredictRequest { features: vec![43.0, 151.0, 1.1], ..Default::default() };
    let error = refuse(&client, positional).await;
    assert_eq!(error, r#"expected the features by name: "PULocationID", "DOLocationID", "trip_distance""#);
    let mut fraction = ride;
    fraction.insert("PULocationID".to_owned(), number(43.5));
    let error = refuse(&client, PredictRequest { named: fraction, ..Default::default() }).await;
    assert_eq!(error, r#"feature "PULocationID": expected a whole number for INT64, but got 43.5"#);
}

#[tokio::test]
async fn strings_are_for_inputs_of_strings() {
    let server = TestServer::serving("text").await;
    let client = Client::of(&server).await;
    let sentence = "petal width of a flower";
    let values = vec![text(sentence)];
    let prediction = only(client.predict(PredictRequest { values, ..Default::default() }).await);
    let json = server.predict("/predict", &json!({"text": sentence}).to_string()).await;
    assert_eq!(prediction.prediction, Some(text(json["prediction"].as_str().unwrap())));
    assert_eq!(prediction.class_name, json["predicted_class_name"].as_str().unwrap());
    let error = refuse(&client, PredictRequest { features: vec![1.0], ..Default::default() }).await;
    assert_eq!(error, r#"feature "text": expected a string for BYTES, but got 1"#);
}

#[tokio::test]
async fn labels_of_a_zipmap_are_its_strings() {
    let server = TestServer::serving("iris_zipmap").await;
    let client = Client::of(&server).await;
    let prediction = only(client.predict(PredictRequest { features: FEATURES.to_vec(), ..Default::default() }).await);
    assert_eq!(prediction.prediction, Some(text("setosa")));
    assert_eq!(prediction.probabilities["setosa"], 1.0);
}

#[tokio::test]
async fn wrong_rows_are_refused_by_name() {
    let server = TestServer::start().await;
    let client = Client::of(&server).await;
    let row = |features: &[f64]| Row { features: features.to_vec(), ..Default::default() };
    let iris = || for_model("iris");
    let cases = [
        (iris(), "expected features, named, values or rows, but got none"),
        (PredictRequest { features: vec![1.0; 3], ..iris() }, "expected 4 features, but got 3"),
        (PredictRequest { rows: vec![row(&FEATURES), row(&[1.0])], ..iris() }, "row 1: expected 4 features, but got 1"),
        (PredictRequest { rows: vec![Row::default()], ..iris() }, "row 0: expected 4 features, but got 0"),
        (
            PredictRequest { features: FEATURES.to_vec(), rows: vec![row(&FEATURES)], ..iris() },
            "expected one row or rows, but got both",
        ),
        (
            PredictRequest { features: FEATURES.to_vec(), values: vec![number(1.0)], ..iris() },
            "expected one of features, named and values, but got several",
        ),
        (
            PredictRequest { named: named([("sepal_length", number(1.0))]), ..iris() },
            r#"feature "sepal_width" is missing"#,
        ),
        (
            PredictRequest { named: named([("petal_lenght", number(1.0))]), ..iris() },
            r#"unknown feature "petal_lenght": expected "sepal_length", "sepal_width", "petal_length", "petal_width"; did you mean "petal_length"?"#,
        ),
        (
            PredictRequest { values: vec![number(1.0), text("a"), number(1.0), number(1.0)], ..iris() },
            r#"feature "sepal_width": expected a number for FP32, but got "a""#,
        ),
        (
            PredictRequest { rows: vec![row(&[1.0, 1e300, 1.0, 1.0])], ..iris() },
            r#"row 0, feature "sepal_width": expected a number for FP32, but got 1e300"#,
        ),
        (
            PredictRequest { features: vec![1.0; 64], ..for_model("digits") },
            "the model's inputs are not rows of features: ask inference.GRPCInferenceService, which takes tensors by name",
        ),
    ];
    for (request, expected) in cases {
        let error = refuse(&client, request).await;
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn a_model_that_is_not_there_is_not_found() {
    let server = TestServer::serving("iris").await;
    let client = Client::of(&server).await;
    let version = PredictRequest { model_version: "9".to_owned(), ..for_model("iris") };
    for request in [for_model("nope"), version] {
        client.refuse::<_, PredictResponse>(PREDICT, request, Code::NotFound).await;
    }
}
