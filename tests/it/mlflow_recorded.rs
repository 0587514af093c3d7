//! onnxd beside what a real `mlflow models serve` answered, which `tests/clients/mlflow/record.py` has recorded.

use std::{fs, path::Path};

use serde_json::Value;

use crate::{harness::TestServer, mlflow::invoke};

fn recorded() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mlflow.json");
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    document["requests"].as_array().unwrap().clone()
}

/// Parses an answer as Python's json would; what it has for NaN becomes a string.
fn parse(answer: &str) -> Value {
    serde_json::from_str(&answer.replace("NaN", r#""NaN""#)).unwrap()
}

/// Tells whether two answers are the same, their numbers as the FP32 or INT64 that they are.
#[expect(clippy::cast_possible_truncation, reason = "MLflow writes an FP32 with the digits of the double that it is")]
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().unwrap() as f32 == other.as_f64().unwrap() as f32
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys()) && one.iter().all(|(key, value)| is_same(value, &other[key]))
        }
        (one, other) => one == other,
    }
}

#[tokio::test]
async fn every_recorded_request_gets_mlflows_answer_or_a_better_one() {
    let mut compared = 0;
    for model in ["digits", "iris", "iris_zipmap", "ride_duration", "text"] {
        let server = TestServer::serving(model).await;
        for request in recorded().iter().filter(|request| request["model"] == model) {
            let body = request["body"].as_str().unwrap();
            let response = invoke(&server, request["content_type"].as_str(), body).await;
            let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
            match (request["beyond"].as_bool().unwrap(), request["answer"].as_str()) {
                (true, None) => assert_eq!(status, 200, "{request}: {text}"),
                (true, Some(_)) => panic!("MLflow answers this too: {request}"),
                (false, Some(answer)) => {
                    assert_eq!(status, 200, "{request}: {text}");
                    assert!(is_same(&parse(&text), &parse(answer)), "{request}: {text}");
                }
                (false, None) => {
                    assert_eq!(u64::from(status), request["status"].as_u64().unwrap(), "{request}: {text}");
                    if let Some(error_code) = request["error_code"].as_str() {
                        assert_eq!(parse(&text)["error_code"], error_code, "{request}: {text}");
                    }
                }
            }
            compared += 1;
        }
    }
    assert!(compared >= 50, "only {compared} requests are recorded");
}
