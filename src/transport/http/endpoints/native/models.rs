//! `GET /models`, `GET /models/{model}`: what is served.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    edge::error::ErrorResponse,
    model::{
        name::ModelName,
        schema::Schema,
        signature::TensorSpec,
        task::{Classes, Task},
    },
    serving::{
        catalog::{ModelEntry, ModelState},
        served_model::ServedModel,
    },
    transport::http::pipeline::{app::App, url_path::UrlPath},
};

/// The body of `GET /models`.
#[derive(Debug, Serialize)]
struct ModelList {
    models: Vec<ModelDetails>,
    default_model: Option<String>,
}

/// One model: its default version in full, the others by state.
#[derive(Debug, Serialize)]
pub struct ModelDetails {
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    version: Option<String>,
    versions: Vec<VersionDetails>,
    #[serde(flatten)]
    description: Option<SchemaDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<ExecutionDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct VersionDetails {
    version: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

/// A schema as JSON; `onnxd inspect --json` prints the same.
#[derive(Debug, Serialize)]
pub struct SchemaDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    task: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_reason: Option<String>,
    inputs: Vec<TensorDetails>,
    outputs: Vec<TensorDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction_name: Option<String>,
}

/// How a model is run, and why; `onnxd inspect --json` prints the same.
#[derive(Debug, Serialize)]
pub struct ExecutionDetails {
    lane: &'static str,
    lane_reason: String,
    batched: bool,
    batching_reason: String,
    row_independence: &'static str,
    max_batch_rows: usize,
    instances: usize,
    intra_op_threads: usize,
    isolated: bool,
    measured: Vec<MeasuredRun>,
}

#[derive(Debug, Serialize)]
struct MeasuredRun {
    rows: usize,
    microseconds: f64,
}

impl ExecutionDetails {
    /// Takes over the plan and what it was made from.
    pub fn new(served_model: &ServedModel) -> Self {
        let (plan, instances) = (&served_model.plan, &served_model.manifest.instances);
        let measured = served_model.profile.timings.iter().map(|timing| MeasuredRun {
            rows: timing.rows,
            microseconds: (timing.time.as_secs_f64() * 1e7).round() / 10.0,
        });
        Self {
            lane: plan.lane.kind.name(),
            lane_reason: plan.lane_reason.clone(),
            batched: plan.lane.batched,
            batching_reason: plan.batching_reason.clone(),
            row_independence: served_model.file.independence.name(),
            max_batch_rows: plan.lane.limits.max_batch_rows,
            instances: instances.count,
            intra_op_threads: instances.intra_op_threads,
            isolated: instances.isolate,
            measured: measured.collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct TensorDetails {
    name: String,
    datatype: &'static str,
    shape: Vec<i64>,
}

pub async fn list(State(app): State<App>) -> Response {
    let catalog = app.service.catalog();
    let models = catalog.entries().map(|(name, entry)| ModelDetails::new(name, entry)).collect();
    let default_model = catalog.default_model().map(ToString::to_string);
    Json(ModelList { models, default_model }).into_response()
}

pub async fn one(State(app): State<App>, UrlPath(model): UrlPath<String>) -> Result<Response, ErrorResponse> {
    let catalog = app.service.catalog();
    let (name, entry) = catalog.entry(&model)?;
    Ok(Json(ModelDetails::new(name, entry)).into_response())
}

impl ModelDetails {
    fn new(name: &ModelName, entry: &ModelEntry) -> Self {
        let default_version = entry.default_version();
        let state = entry.state(default_version);
        let served_model = served(&state);
        Self {
            name: name.to_string(),
            state: state.name(),
            reason: reason(&state),
            version: default_version.map(|version| version.to_string()),
            versions: entry
                .versions()
                .map(|(version, state)| VersionDetails {
                    version: version.to_string(),
                    state: state.name(),
                    reason: reason(&state),
                    sha256: served(&state).map(|served_model| served_model.file.sha256.clone()),
                })
                .collect(),
            description: served_model.map(|served_model| SchemaDetails::new(&served_model.schema)),
            execution: served_model.map(ExecutionDetails::new),
            example: served_model.and_then(|served_model| served_model.example.clone()),
        }
    }
}

impl SchemaDetails {
    /// Takes over what a client needs to know.
    pub fn new(schema: &Schema) -> Self {
        let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref());
        let names = |classes: &Classes| classes.names.iter().map(ToString::to_string).collect();
        Self {
            description: schema.description.clone(),
            task: schema.task.name(),
            task_reason: schema.task.why_raw().map(ToOwned::to_owned),
            inputs: schema.signature.inputs.iter().map(TensorDetails::new).collect(),
            outputs: schema.signature.outputs.iter().map(|output| TensorDetails::new(&output.tensor)).collect(),
            features: features.map(|features| features.names().iter().map(ToString::to_string).collect()),
            classes: schema.classes.as_ref().map(names),
            prediction_name: match &schema.task {
                Task::Regression(regression) => regression.prediction_name.as_ref().map(ToString::to_string),
                Task::Classification(_) | Task::MultiLabel(_) | Task::Raw(_) => None,
            },
        }
    }
}

impl TensorDetails {
    fn new(tensor: &TensorSpec) -> Self {
        Self { name: tensor.name.to_string(), datatype: tensor.data_type.name(), shape: tensor.protocol_dims() }
    }
}

fn served(state: &ModelState) -> Option<&ServedModel> {
    match state {
        ModelState::Ready(served_model) => Some(served_model),
        ModelState::Loading | ModelState::Failed(_) => None,
    }
}

fn reason(state: &ModelState) -> Option<String> {
    match state {
        ModelState::Failed(reason) => Some(reason.clone()),
        ModelState::Loading | ModelState::Ready(_) => None,
    }
}
