//! A model version as JSON. Where `GET /models` says the same, it has the same words.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    cli::{
        candidate::{Candidate, VersionFiles},
        inspect::text::predict_path,
    },
    model::{
        manifest::Manifest,
        schema::{Schema, Source},
        signature::{Dim, TensorSpec},
        task::Task,
    },
    serving::served_model::ServedModel,
    transport::http::endpoints::native::models::{ExecutionDetails, SchemaDetails},
};

/// What is known of a model version.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Document {
    Ready(Box<Ready>),
    /// One that cannot be served.
    Failed(Failed),
}

/// A version that was loaded.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    name: String,
    version: String,
    is_default_version: bool,
    state: &'static str,
    file: String,
    size_bytes: u64,
    sha256: String,
    producer: String,
    ir_version: i64,
    opsets: BTreeMap<String, i64>,
    metadata: BTreeMap<String, String>,
    external_data: BTreeSet<String>,
    load_seconds: f64,
    #[serde(flatten)]
    schema: SchemaDetails,
    dimensions: Value,
    roles: Value,
    sources: Value,
    execution: ExecutionDetails,
    settings: Value,
    predict_path: String,
    example: Option<Box<RawValue>>,
}

/// A version, or a model as a whole, that cannot be served.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    name: String,
    version: Option<String>,
    state: &'static str,
    reason: String,
    file: Option<String>,
}

impl Document {
    /// Takes over what is known of a version that was loaded.
    pub(super) fn ready(files: &VersionFiles, model: &ServedModel) -> Self {
        let file = &model.file;
        let metadata = file.metadata.iter().map(|(key, value)| (key.clone(), value.clone()));
        Self::Ready(Box::new(Ready {
            name: model.name.to_string(),
            version: model.version.to_string(),
            is_default_version: files.is_default,
            state: "ready",
            file: files.path.display().to_string(),
            size_bytes: file.size_bytes,
            sha256: file.sha256.clone(),
            producer: file.producer.clone(),
            ir_version: file.ir_version,
            opsets: file.opsets.clone(),
            metadata: metadata.collect(),
            external_data: file.external_data.clone(),
            load_seconds: model.load_time.as_secs_f64(),
            schema: SchemaDetails::new(&model.schema),
            dimensions: dimensions(&model.schema),
            roles: roles(&model.schema),
            sources: sources(&model.schema),
            execution: ExecutionDetails::new(model),
            settings: settings(&model.manifest),
            predict_path: predict_path(model.name.as_str(), files),
            example: model.example.clone(),
        }))
    }

    /// Says why a version, or a model as a whole, cannot be served.
    pub(super) fn failed(candidate: &Candidate, reason: &str) -> Self {
        let files = candidate.files.as_ref().ok();
        Self::Failed(Failed {
            name: candidate.name.to_string(),
            version: files.map(|files| files.version.to_string()),
            state: "failed",
            reason: reason.to_owned(),
            file: files.map(|files| files.path.display().to_string()),
        })
    }
}

/// Names the outputs that are the label, the probabilities or the value.
fn roles(schema: &Schema) -> Value {
    let name = |index: usize| schema.signature.outputs.get(index).map(|output| &*output.tensor.name);
    match &schema.task {
        Task::Classification(classification) => json!({
            "label": classification.label.and_then(name),
            "probabilities": classification.probabilities.and_then(name),
        }),
        Task::Regression(regression) => json!({"value": name(regression.value)}),
        Task::MultiLabel(multi_label) => {
            json!({"labels": name(multi_label.indicators), "probabilities": name(multi_label.probabilities)})
        }
        Task::Raw(_) => json!({}),
    }
}

fn sources(schema: &Schema) -> Value {
    let known = |source: Source| (source != Source::Unknown).then(|| source.to_string());
    let sources = &schema.sources;
    json!({"features": known(sources.features), "classes": known(sources.classes), "task": known(sources.task)})
}

/// Lists each tensor's dimensions with the graph's own names, where `shape` has only -1; null for an unknown rank.
fn dimensions(schema: &Schema) -> Value {
    let dimension = |dim: &Dim| match dim {
        Dim::Fixed(size) => json!(size),
        Dim::Dynamic(Some(symbol)) => json!(&**symbol),
        Dim::Dynamic(None) => json!(-1),
    };
    let entry = |tensor: &TensorSpec| {
        let dims = tensor.dims.as_ref().map(|dims| dims.iter().map(dimension).collect::<Vec<_>>());
        (tensor.name.to_string(), json!(dims))
    };
    let signature = &schema.signature;
    let inputs: Map<_, _> = signature.inputs.iter().map(entry).collect();
    let outputs: Map<_, _> = signature.outputs.iter().map(|output| entry(&output.tensor)).collect();
    json!({"inputs": inputs, "outputs": outputs})
}

fn settings(manifest: &Manifest) -> Value {
    let (batching, instances) = (&manifest.batching, &manifest.instances);
    json!({
        "batching": {
            "lane": batching.lane.name(),
            "independent_rows": batching.independent_rows,
            "max_batch_size": batching.max_batch_size,
            "max_queue_delay_microseconds": batching.max_queue_delay_microseconds,
            "max_queue_size": batching.max_queue_size,
            "max_queue_wait_milliseconds": batching.max_queue_wait_milliseconds,
        },
        "instances": {
            "count": instances.count,
            "intra_op_threads": instances.intra_op_threads,
            "isolate": instances.isolate,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::inspect::text::tensor,
        error::Error,
        model::{
            onnx_file::OnnxFile,
            signature::{OutputSpec, Signature},
        },
    };

    #[test]
    fn what_the_shapes_leave_open_is_named() {
        let rows = |columns| Some(vec![Dim::Dynamic(Some("N".into())), Dim::Fixed(columns)]);
        let outputs = vec![OutputSpec { tensor: tensor("variable", rows(1)), map_keys: None }];
        let signature = Signature { inputs: vec![tensor("X", rows(2))], outputs };
        let manifest =
            Manifest::parse("[features]\nnames = [\"a\", \"b\"]\n[output]\nprediction_name = \"price\"").unwrap();
        let schema = Schema::new(signature, &manifest, &OnnxFile::default()).unwrap();
        assert_eq!(roles(&schema), json!({"value": "variable"}));
        assert_eq!(sources(&schema), json!({"features": "model.toml", "classes": null, "task": "model.toml"}));
        assert_eq!(dimensions(&schema), json!({"inputs": {"X": ["N", 2]}, "outputs": {"variable": ["N", 1]}}));
    }

    #[test]
    fn a_model_without_versions_has_its_reason() {
        let candidate = Candidate { name: "typo".parse().unwrap(), files: Err(Error::invalid("line 2")) };
        let document = serde_json::to_value(Document::failed(&candidate, "line 2")).unwrap();
        let expected = json!({"name": "typo", "version": null, "state": "failed", "reason": "line 2", "file": null});
        assert_eq!(document, expected);
    }

    #[test]
    fn every_setting_in_force_is_there() {
        let settings = settings(&Manifest::default());
        assert_eq!(settings["batching"]["max_queue_size"], 1024);
        assert_eq!(settings["instances"], json!({"count": 1, "intra_op_threads": 1, "isolate": false}));
    }
}
