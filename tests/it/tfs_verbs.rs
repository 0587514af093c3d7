//! `:classify` and `:regress`: examples by feature, classes with their scores, values.

use serde_json::{Value, json};

use crate::harness::TestServer;

const FLOWER: &str = r#"{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}"#;
const RIDE: &str = r#"{"PULocationID":100,"DOLocationID":200,"trip_distance":3.5}"#;

/// Pairs the classes with their probabilities, as `:classify` does.
fn pairs(native: &Value) -> Value {
    let probabilities = native["probabilities"].as_object().unwrap();
    probabilities.iter().map(|(class, score)| json!([class, score])).collect()
}

#[tokio::test]
async fn classify_answers_every_class_with_its_score() {
    let server = TestServer::start().await;
    let native = server.predict("/models/iris/predict", FLOWER).await;
    let expected = json!({"results": [pairs(&native), pairs(&native)]});
    for examples in [
        format!("[{FLOWER},{FLOWER}]"),
        // A feature may be a list of one value; the order of the keys means nothing.
        r#"[{"sepal_length":[5.1],"sepal_width":[3.5],"petal_length":[1.4],"petal_width":[0.2]},
            {"petal_width":0.2,"petal_length":1.4,"sepal_width":3.5,"sepal_length":5.1}]"#
            .to_owned(),
        // The input as a whole is a feature too.
        r#"[{"features":[5.1,3.5,1.4,0.2]},{"features":[5.1,3.5,1.4,0.2]}]"#.to_owned(),
    ] {
        for path in ["/v1/models/iris:classify", "/v1/models/iris/versions/1:classify"] {
            assert_eq!(server.predict(path, &format!(r#"{{"examples":{examples}}}"#)).await, expected, "{examples}");
        }
    }
    let body = format!(r#"{{"signature_name":"tensorflow/serving/classify","examples":[{FLOWER}]}}"#);
    assert_eq!(server.predict("/v1/models/iris:classify", &body).await, json!({"results": [pairs(&native)]}));
}

#[tokio::test]
async fn regress_answers_a_value_for_each_example() {
    let server = TestServer::start().await;
    let native = server.predict("/models/ride_duration/predict", RIDE).await;
    let answer =
        server.predict("/v1/models/ride_duration:regress", &format!(r#"{{"examples":[{RIDE},{RIDE}]}}"#)).await;
    assert_eq!(answer, json!({"results": [native["prediction"], native["prediction"]]}));
}

#[tokio::test]
async fn models_are_asked_only_for_what_they_are() {
    let server = TestServer::start().await;
    for (model, verb, was) in [
        ("iris", "regress", "tensorflow/serving/classify"),
        ("ride_duration", "classify", "tensorflow/serving/regress"),
        ("digits", "classify", "tensorflow/serving/predict"),
    ] {
        let error = server.refuse(&format!("/v1/models/{model}:{verb}"), r#"{"examples":[{}]}"#, 400).await;
        assert!(error.ends_with(&format!("method_name to be tensorflow/serving/{verb}. Was: {was}")), "{error}");
    }
}

#[tokio::test]
async fn examples_that_do_not_fit_are_refused() {
    let server = TestServer::start().await;
    for (body, expected) in [
        (r#"{"instances":[[1,2,3,4]]}"#, "key 'examples' is expected and was not found"),
        (r#"{"examples":{}}"#, "Expecting 'examples' value to be an list/array"),
        (r#"{"examples":[]}"#, "'examples' value is an empty array"),
        (r#"{"examples":[[1,2,3,4]]}"#, "Example must be JSON object"),
        (r#"{"examples":[{}]}"#, "Expected 4 columns, but got 0"),
        (r#"{"examples":[{"sepal_length":1}]}"#, "Expected 4 columns, but got 1"),
        (
            r#"{"examples":[{"sepal_length":1,"sepal_width":1,"petal_length":1,"other":1}]}"#,
            r#"unknown column "other""#,
        ),
        (
            r#"{"examples":[{"sepal_length":[1,2],"sepal_width":1,"petal_length":1,"petal_width":1}]}"#,
            r#"row 0, column "sepal_length": expected one value"#,
        ),
        (r#"{"context":{},"examples":[{}]}"#, "'context' is not supported"),
        (r#"{"signature_name":"other","examples":[{}]}"#, "Serving signature name"),
    ] {
        let error = server.refuse("/v1/models/iris:classify", body, 400).await;
        assert!(error.contains(expected), "{body}: {error}");
    }
}
