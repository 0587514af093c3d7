//! The floors: the least that any axum server on the same core spends on a request.
//!
//! `--mode constant` reads the body and answers `--answer FILE` as it is. `--mode json` parses the
//! body into typed structs and serialises an answer of the same form as FILE; there is no model.
//! Both have the runtime that onnxd has: tokio's multi-threaded one, a thread for each CPU allowed.

use std::{fs, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
    serve::ListenerExt,
};
use bytes::Bytes;
use contestants::{Failure, argument};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (port, mode, form) = (argument::<u16>("port")?, argument::<String>("mode")?, argument::<String>("form")?);
    let answer = fs::read(argument::<String>("answer")?)?;
    let route = match (mode.as_str(), form.as_str()) {
        ("constant", _) => post(constant).with_state(Bytes::from(answer)),
        ("json", "iris") => json_route::<Row, Classification>(&answer)?,
        ("json", "row") => json_route::<Row, Outputs>(&answer)?,
        ("json", "image") => json_route::<Images, Outputs>(&answer)?,
        ("json", "tokens") => json_route::<Tokens, Outputs>(&answer)?,
        _ => return Err(format!("no floor for mode {mode}, form {form}").into()),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
        let _unsupported = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, Router::new().route("/predict", route).layer(DefaultBodyLimit::disable())).await?)
}

const JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

async fn constant(State(answer): State<Bytes>, _body: Bytes) -> Response {
    (JSON, answer).into_response()
}

/// Returns a route that parses a `Q` and serialises the `A` that `sample` is.
fn json_route<Q, A>(sample: &[u8]) -> Result<axum::routing::MethodRouter, Failure>
where
    Q: DeserializeOwned,
    A: DeserializeOwned + Serialize + Send + Sync + 'static,
{
    let answer = Arc::new(serde_json::from_slice::<A>(sample)?);
    Ok(post(async move |body: Bytes| match serde_json::from_slice::<Q>(&body) {
        Ok(question) => {
            // The parsed numbers are used by nothing else: keep the compiler from noticing.
            std::hint::black_box(&question);
            match serde_json::to_vec(&*answer) {
                Ok(text) => (JSON, text).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }))
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "features")]
    _features: Vec<f32>,
}

#[derive(Deserialize)]
struct Images {
    #[serde(rename = "inputs")]
    _inputs: Image,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "image")]
    _image: Vec<Vec<Vec<Vec<f32>>>>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(rename = "inputs")]
    _inputs: TokenIds,
}

#[derive(Deserialize)]
struct TokenIds {
    #[serde(rename = "token_ids")]
    _token_ids: Vec<Vec<i64>>,
}

#[derive(Deserialize, Serialize)]
struct Classification {
    model: String,
    model_version: String,
    prediction_time: String,
    prediction: i64,
    prediction_index: usize,
    predicted_class_name: String,
    probabilities: IrisProbabilities,
}

#[derive(Deserialize, Serialize)]
struct IrisProbabilities {
    setosa: f32,
    versicolor: f32,
    virginica: f32,
}

#[derive(Deserialize, Serialize)]
struct Outputs {
    model: String,
    model_version: String,
    prediction_time: String,
    outputs: OutputTensor,
}

#[derive(Deserialize, Serialize)]
struct OutputTensor {
    #[serde(alias = "embedding", rename(serialize = "logits"))]
    logits: Vec<Vec<f32>>,
}
