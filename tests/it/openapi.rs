//! `/openapi.json` is OpenAPI 3.1, and says of requests and answers what is so.

use std::{collections::BTreeSet, fs, path::Path};

use onnxd::model::golden::read_beside;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fake_engine::{FakeEngine, fake_repository},
    harness::{TestServer, models, until, within_patience},
};

/// The JSON Schema of OpenAPI 3.1 documents, of 2022-10-07, by the OpenAPI Initiative.
fn openapi_schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openapi-3.1.schema.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Checks a value against a schema of the document.
#[track_caller]
fn fits(document: &Value, schema: &Value, value: &Value) {
    let rooted = json!({"allOf": [schema], "components": document["components"]});
    let validator = jsonschema::draft202012::new(&rooted).unwrap();
    let problems: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{value} does not fit {schema}: {problems:?}");
}

/// Returns the schema of a JSON body, following a reference to a shared response.
fn content<'a>(document: &'a Value, body: &'a Value) -> &'a Value {
    let body = match body["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => body,
    };
    &body["content"]["application/json"]["schema"]
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let items = document["paths"].as_object().unwrap();
    items
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (&**path, &**method, operation))
        })
        .collect()
}

/// Collects every `$ref` in a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| match (&**key, value) {
            ("$ref", Value::String(reference)) => {
                found.insert(reference);
            }
            _ => references(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_refers_to_nothing_that_is_not_there() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    let validator = jsonschema::draft202012::new(&openapi_schema()).unwrap();
    let problems: Vec<_> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    for schema in document["components"]["schemas"].as_object().unwrap().values() {
        assert!(jsonschema::meta::is_valid(
            &json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema]})
        ));
    }
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} is not there");
    }
    let operation_ids: Vec<_> =
        operations(&document).iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    let unique: BTreeSet<_> = operation_ids.iter().collect();
    assert_eq!(unique.len(), operation_ids.len(), "{operation_ids:?}");
}

#[tokio::test]
async fn every_example_works_when_it_is_posted_and_the_answer_is_as_declared() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    let mut tried = 0;
    let predicts = |path: &str| path.ends_with("/predict") || path.starts_with("/v1/") || path == "/invocations";
    for (path, _, operation) in
        operations(&document).into_iter().filter(|(path, method, _)| *method == "post" && predicts(path))
    {
        let body = &operation["requestBody"]["content"]["application/json"];
        let examples = body["examples"].as_object().unwrap();
        assert_eq!(examples.keys().next().unwrap(), "example", "{path}");
        for example in examples.values() {
            fits(&document, &body["schema"], &example["value"]);
            let answer = predict_as_json(&server, path, &example["value"]).await;
            fits(&document, content(&document, &operation["responses"]["200"]), &answer);
            tried += 1;
        }
    }
    assert_eq!(
        tried, 25,
        "six models, one of them by default too; all but digits have an example of rows; as TensorFlow Serving six \
         predict, four classify and one regresses; MLflow asks the default model"
    );
}

/// Posts a body under its content type, and returns the answer, which must be strict JSON.
async fn predict_as_json(server: &TestServer, path: &str, body: &Value) -> Value {
    let response = server.request(reqwest::Method::POST, path).json(body).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, 200, "{path} {body}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn other_protocols_answers_to_golden_requests_are_as_declared() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    for (path, body) in [
        ("/v1/models/iris:predict", json!({"inputs": [[5.1, 3.5, 1.4, 0.2]]})),
        ("/v1/models/iris:predict", json!({"instances": [[5.1, 3.5, 1.4, 0.2]]})),
        ("/v1/models/iris_zipmap:predict", json!({"instances": [[5.1, 3.5, 1.4, 0.2]]})),
        (
            "/v1/models/ride_duration:predict",
            json!({"inputs": {"PULocationID": [1], "DOLocationID": [2], "trip_distance": [3]}}),
        ),
        ("/v1/models/text:predict", json!({"instances": [{"text": {"b64": "aGk="}}, {"text": ["hi"]}]})),
        ("/v1/models/text:classify", json!({"examples": [{"text": "hi"}]})),
        ("/invocations", json!({"inputs": {"features": [[5.1, 3.5, 1.4, 0.2]]}})),
        ("/invocations", json!({"instances": [{"features": [5.1, 3.5, 1.4, 0.2]}], "params": {}})),
        ("/invocations", json!({"dataframe_records": [[5.1, 3.5, 1.4, 0.2]]})),
        ("/invocations", json!({"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[5.1, 3.5, 1.4, 0.2]]}})),
    ] {
        let operation = &document["paths"][path]["post"];
        fits(&document, &operation["requestBody"]["content"]["application/json"]["schema"], &body);
        let answer = predict_as_json(&server, path, &body).await;
        fits(&document, &closed(&document, content(&document, &operation["responses"]["200"])), &answer);
    }
}

#[tokio::test]
async fn golden_requests_fit_and_so_do_their_answers_with_no_key_undeclared() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    for model in ["breast_cancer", "digits", "iris", "iris_zipmap", "ride_duration", "text"] {
        let path = format!("/models/{model}/predict");
        let operation = &document["paths"][&path]["post"];
        let declared = content(&document, &operation["responses"]["200"]);
        for case in read_beside(&models(model).join("1/model.onnx")).unwrap() {
            let request: Value = serde_json::from_str(case.request.get()).unwrap();
            fits(&document, &operation["requestBody"]["content"]["application/json"]["schema"], &request);
            let answer = server.predict(&path, case.request.get()).await;
            fits(&document, &closed(&document, declared), &answer);
        }
    }
}

/// Forbids keys that are not declared: an answer may have more some day, but it must not today.
fn closed(document: &Value, schema: &Value) -> Value {
    let mut schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap().clone(),
        None => schema.clone(),
    };
    match &mut schema {
        Value::Object(members) if members.contains_key("properties") => {
            members.entry("additionalProperties").or_insert(json!(false));
            let properties = members["properties"].as_object_mut().unwrap();
            properties.values_mut().for_each(|property| *property = closed(document, property));
        }
        Value::Object(members) if members.contains_key("oneOf") => {
            let kinds = members["oneOf"].as_array_mut().unwrap();
            kinds.iter_mut().for_each(|kind| *kind = closed(document, kind));
        }
        Value::Object(members) if members.contains_key("items") => {
            members["items"] = closed(document, &members["items"]);
        }
        _ => {}
    }
    schema
}

#[tokio::test]
async fn the_servers_own_answers_are_as_declared() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    for (path, url) in [
        ("/models", "/models"),
        ("/models/{model}", "/models/iris"),
        ("/models/{model}", "/models/ride_duration"),
        ("/models/{model}", "/models/digits"),
        ("/health", "/health"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/{model}", "/v1/models/iris"),
        ("/v1/models/{model}/versions/{version}", "/v1/models/iris/versions/1"),
        ("/v1/models/{model}/metadata", "/v1/models/iris/metadata"),
        ("/health/live", "/health/live"),
        ("/health/ready", "/health/ready"),
    ] {
        let declared = content(&document, &document["paths"][path]["get"]["responses"]["200"]);
        fits(&document, &closed(&document, declared), &server.get_json(url).await);
    }
    let predict = &document["paths"]["/models/iris/predict"]["post"]["responses"];
    let refusal: Value = server.post("/models/iris/predict", "not JSON").await.json().await.unwrap();
    fits(&document, &closed(&document, content(&document, &predict["400"])), &refusal);
    let refusal: Value = server.post("/invocations", "not JSON").await.json().await.unwrap();
    let invocations = &document["paths"]["/invocations"]["post"]["responses"];
    fits(&document, &closed(&document, content(&document, &invocations["415"])), &refusal);
    let metrics = server.get("/metrics").await;
    let content_type = metrics.headers()["content-type"].to_str().unwrap();
    let declared = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"].as_object().unwrap();
    assert!(declared.contains_key(content_type), "{content_type}");
}

#[tokio::test]
async fn what_the_open_inference_protocol_answers_is_as_declared() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    let operations = operations(&document);
    let of_protocol: Vec<_> = operations.iter().filter(|(path, ..)| path.starts_with("/v2")).collect();
    assert_eq!(of_protocol.len(), 18);
    for (path, method, operation) in of_protocol {
        for model in ["iris", "text", "digits"] {
            let url = path.replace("{model}", model).replace("{version}", "1");
            let body = &operation["requestBody"]["content"]["application/json"];
            let response = match (*method, path.ends_with("infer")) {
                ("get", _) => server.get(&url).await,
                (_, false) => server.post(&url, r#"{"ready":true}"#).await,
                (_, true) if model != "iris" => continue,
                (_, true) => {
                    let example = &body["examples"]["example"]["value"];
                    fits(&document, &body["schema"], example);
                    server.post(&url, example.to_string()).await
                }
            };
            let declared = content(&document, &operation["responses"][response.status().as_str()]);
            fits(&document, &closed(&document, declared), &response.json().await.unwrap());
        }
    }
}

#[tokio::test]
async fn properties_come_in_the_features_order_and_models_before_the_rest() {
    let server = TestServer::start().await;
    let document = server.get_json("/openapi.json").await;
    let row = document["components"]["schemas"]["iris.Row"]["properties"].as_object().unwrap();
    assert_eq!(row.keys().collect::<Vec<_>>(), ["sepal_length", "sepal_width", "petal_length", "petal_width"]);
    let paths: Vec<_> = document["paths"].as_object().unwrap().keys().collect();
    assert!(paths[0].ends_with("/predict") && paths.iter().any(|path| **path == "/predict"), "{paths:?}");
}

#[tokio::test]
async fn the_document_has_the_models_that_are_ready_and_no_others() {
    let folder = fake_repository(&["first", "second"], "");
    let engine = FakeEngine::new();
    engine.0.close_load();
    let server = TestServer::start_loading(std::sync::Arc::new(engine.clone()), folder.path(), |_| {}).await;
    let paths = async || server.get_json("/openapi.json").await["paths"].clone();
    assert!(paths().await.get("/models/first/predict").is_none());
    engine.0.open_load();
    within_patience(server.service.loaded()).await;
    until(async || paths().await.get("/models/second/predict").is_some()).await;
}

#[tokio::test]
async fn versions_have_paths_of_their_own_where_there_are_several() {
    let folder: TempDir = fake_repository(&["model"], "");
    let second = folder.path().join("model/2");
    fs::create_dir(&second).unwrap();
    fs::copy(models("iris/1/model.onnx"), second.join("model.onnx")).unwrap();
    let server = TestServer::start_on(std::sync::Arc::new(FakeEngine::new()), folder.path(), |_| {}).await;
    let document = server.get_json("/openapi.json").await;
    let paths: Vec<_> =
        document["paths"].as_object().unwrap().keys().filter(|path| path.ends_with("predict")).collect();
    assert_eq!(
        paths,
        [
            "/models/model/versions/1/predict",
            "/v1/models/model/versions/1:predict",
            "/models/model/predict",
            "/predict",
            "/v1/models/model:predict",
            "/models/model/versions/2/predict",
            "/v1/models/model/versions/2:predict",
        ]
    );
    let version = |schema: &str| {
        document["components"]["schemas"][schema]["oneOf"][0]["properties"]["model_version"]["enum"][0].clone()
    };
    assert_eq!((version("model.Response"), version("model.Response.1")), (json!("2"), json!("1")));
}
