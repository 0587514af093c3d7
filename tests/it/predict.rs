//! Every body that `POST /predict` takes, and every answer it gives.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use onnxd::tensor::data_type::DataType;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{TestServer, error_text, models},
    identity::serve_identity,
};

/// A row of Fisher's iris, as its model takes it.
const ROW: &str = r#"{"features":[5.1,3.5,1.4,0.2]}"#;

/// Takes away what differs from request to request.
fn timeless(mut answer: Value) -> Value {
    answer.as_object_mut().expect("an answer is an object").remove("prediction_time").expect("an answer has its time");
    answer
}

/// Posts each body to the default model and checks that all get the same answer, which is returned.
async fn same_answer(server: &TestServer, bodies: &[&str]) -> Value {
    let expected = timeless(server.predict("/predict", bodies[0]).await);
    for body in &bodies[1..] {
        assert_eq!(timeless(server.predict("/predict", body).await), expected, "{body}");
    }
    expected
}

#[tokio::test]
async fn one_row_in_is_one_object_out() {
    let server = TestServer::start().await;
    let answer = server.predict("/predict", ROW).await;
    assert_eq!(answer["model"], "iris");
    assert_eq!(answer["model_version"], "1");
    assert_eq!(answer["prediction"], 0);
    assert_eq!(answer["prediction_index"], 0);
    assert_eq!(answer["predicted_class_name"], "setosa");
    let probabilities = answer["probabilities"].as_object().unwrap();
    assert_eq!(probabilities.keys().collect::<Vec<_>>(), ["setosa", "versicolor", "virginica"]);
    assert!(answer["prediction_time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(answer.get("predictions"), None, "{}", json!(answer));
}

#[tokio::test]
async fn rows_in_are_a_list_out_in_their_order() {
    let server = TestServer::serving("iris").await;
    let answer = server.predict("/predict", r#"{"features":[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]}"#).await;
    let classes: Vec<_> =
        answer["predictions"].as_array().unwrap().iter().map(|row| &row["predicted_class_name"]).collect();
    assert_eq!(classes, ["setosa", "virginica"]);
    assert_eq!(answer.get("prediction"), None);
}

#[tokio::test]
async fn one_row_in_a_list_is_a_list_out() {
    let server = TestServer::serving("iris").await;
    for body in [
        r#"{"features":[[5.1,3.5,1.4,0.2]]}"#,
        r#"{"features":[{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}]}"#,
        r#"{"instances":[[5.1,3.5,1.4,0.2]]}"#,
        r#"{"inputs":{"features":[[5.1,3.5,1.4,0.2]]}}"#,
    ] {
        let answer = server.predict("/predict", body).await;
        assert_eq!(answer["predictions"].as_array().map(Vec::len), Some(1), "{body}");
    }
}

#[tokio::test]
async fn a_row_in_a_list_is_answered_like_the_row_alone() {
    let server = TestServer::serving("iris").await;
    let alone = server.predict("/predict", ROW).await;
    let listed = server.predict("/predict", r#"{"features":[[5.1,3.5,1.4,0.2]]}"#).await;
    for key in ["prediction", "prediction_index", "predicted_class_name", "probabilities"] {
        assert_eq!(listed["predictions"][0][key], alone[key], "{key}");
    }
}

#[tokio::test]
async fn every_form_of_one_row_gets_the_same_answer() {
    let server = TestServer::serving("iris").await;
    let answer = same_answer(
        &server,
        &[
            r#"{"features":[6.0,2.9,4.5,1.5]}"#,
            r#"{"features":{"sepal_length":6.0,"sepal_width":2.9,"petal_length":4.5,"petal_width":1.5}}"#,
            r#"{"features":{"petal_width":1.5,"sepal_width":2.9,"sepal_length":6.0,"petal_length":4.5}}"#,
            r#"{"sepal_length":6.0,"sepal_width":2.9,"petal_length":4.5,"petal_width":1.5}"#,
            r#"{"petal_length":4.5,"petal_width":1.5,"sepal_width":2.9,"sepal_length":6.0}"#,
            " \r\n\t{ \"features\" : [ 6 , 29e-1 , 4.50 , 0.15E+1 ] } \n",
            r#"{"f\u0065atures":{"sepal_length":6,"sepal\u005fwidth":2.9,"petal_length":4.5,"petal_width":1.5}}"#,
        ],
    )
    .await;
    assert_eq!(answer["predicted_class_name"], "versicolor");
}

#[tokio::test]
async fn every_form_of_rows_gets_the_same_answer() {
    let server = TestServer::serving("iris").await;
    let named = r#"{"petal_width":0.2,"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4},
        {"sepal_length":6.3,"sepal_width":3.3,"petal_length":6.0,"petal_width":2.5}"#;
    let answer = same_answer(
        &server,
        &[
            r#"{"features":[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]}"#,
            &format!(r#"{{"features":[{named}]}}"#),
            r#"{"instances":[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]}"#,
            &format!(r#"{{"instances":[{named}]}}"#),
            r#"{"inputs":{"features":[[5.1,3.5,1.4,0.2],[6.3,3.3,6.0,2.5]]}}"#,
        ],
    )
    .await;
    assert_eq!(answer["predictions"][1]["prediction"], 2);
}

#[tokio::test]
async fn the_answer_of_many_rows_has_each_row_in_its_place() {
    let server = TestServer::serving("iris").await;
    let kinds = [("[5.1,3.5,1.4,0.2]", 0), ("[6.0,2.9,4.5,1.5]", 1), ("[6.3,3.3,6.0,2.5]", 2)];
    let rows: Vec<_> = (0..10_000).map(|row| kinds[row * 7 % 3]).collect();
    let body = rows.iter().map(|(row, _)| *row).collect::<Vec<_>>().join(",");
    let answer = server.predict("/predict", &format!(r#"{{"features":[{body}]}}"#)).await;
    let got: Vec<_> =
        answer["predictions"].as_array().unwrap().iter().map(|row| row["prediction"].as_i64().unwrap()).collect();
    assert_eq!(got, rows.iter().map(|(_, class)| *class).collect::<Vec<i64>>());
}

#[tokio::test]
async fn a_model_answers_at_its_own_path_and_at_its_versions() {
    let server = TestServer::start().await;
    let expected = timeless(server.predict("/predict", ROW).await);
    for path in ["/models/iris/predict", "/models/iris/versions/1/predict"] {
        assert_eq!(timeless(server.predict(path, ROW).await), expected, "{path}");
    }
    let other = server.predict("/models/iris_zipmap/predict", ROW).await;
    assert_eq!(other["model"], "iris_zipmap");
}

#[tokio::test]
async fn only_model_is_the_default() {
    let server = TestServer::serving("iris").await;
    assert_eq!(server.predict("/predict", ROW).await["model"], "iris");
}

#[tokio::test]
async fn several_models_without_a_default_are_a_404_that_explains() {
    let server = TestServer::start_with(models(""), |_config| {}).await;
    let error = server.refuse("/predict", ROW, 404).await;
    for part in ["no default model", "/models/NAME/predict", "--default-model", "iris_zipmap", "ride_duration"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn no_content_type_is_insisted_on() {
    let server = TestServer::serving("iris").await;
    let types = [
        None,
        Some("application/x-www-form-urlencoded"),
        Some("application/json"),
        Some("application/json; charset=utf-8"),
        Some("text/plain"),
        Some("application/octet-stream"),
    ];
    for content_type in types {
        let mut request = server.request(Method::POST, "/predict").body(ROW);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{content_type:?}");
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}

#[tokio::test]
async fn clients_at_the_same_time_get_each_their_own_answer() {
    let server = Arc::new(serve_identity(DataType::Int64, &[-1]).await);
    let mut clients = JoinSet::new();
    for client in 0..50 {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            for request in 0..20 {
                let number = client * 1000 + request;
                let answer = server.predict("/predict", &format!(r#"{{"x":{number}}}"#)).await;
                assert_eq!(answer["prediction"], number);
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn prediction_time_is_now_in_milliseconds() {
    let server = TestServer::serving("iris").await;
    let before = Timestamp::now() - SignedDuration::from_millis(1);
    let answer = server.predict("/predict", ROW).await;
    let time = answer["prediction_time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-20T05:00:00.123Z".len(), "{time}");
    assert!((before..=Timestamp::now()).contains(&time.parse().unwrap()), "{time}");
}

#[tokio::test]
async fn what_is_not_json_is_refused_whatever_its_content_type() {
    let server = TestServer::serving("iris").await;
    let request = server.request(Method::POST, "/predict").header("content-type", "application/json");
    let error = error_text(request.body("sepal_length=5.1").send().await.unwrap(), 400).await;
    assert!(error.starts_with("Request must be JSON"), "{error}");
}

#[tokio::test]
async fn health_tells_of_the_models_and_of_the_service() {
    let server = TestServer::start().await;
    let response = server.get("/health").await;
    assert_eq!(response.status(), 200);
    let health: Value = response.json().await.unwrap();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["model_version"], "1");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["service_up_since"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{health}");
    assert!(health["uptime_seconds"].as_f64().unwrap() >= 0.0);
    let models = health["models"].as_object().unwrap();
    assert_eq!(models.len(), 6);
    for (name, model) in models {
        assert_eq!((&model["state"], &model["version"]), (&json!("ready"), &json!("1")), "{name}");
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let server = TestServer::serving("iris").await;
    for path in ["/health", "/health/live", "/health/ready", "/", "/models", "/metrics"] {
        let response = server.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.text().await.unwrap(), "", "{path}");
    }
}

#[tokio::test]
async fn welcome_is_one_line_of_json_for_programs() {
    let server = TestServer::start().await;
    let text = server.get("/").await.text().await.unwrap();
    assert!(!text.trim().contains('\n'), "{text}");
    let welcome: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(welcome["onnxd"], env!("CARGO_PKG_VERSION"));
    assert_eq!(welcome["docs"], "/docs");
    assert_eq!(welcome["models"].as_array().map(Vec::len), Some(6));
}

#[tokio::test]
async fn welcome_is_a_page_for_a_browser() {
    let server = TestServer::serving("iris").await;
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let response = server.request(Method::GET, "/").header("accept", accept).send().await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    assert!(response.text().await.unwrap().contains(r#"href="docs""#));
}
