//! What the server and its models say of themselves.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    error::Result,
    model::{schema::Schema, signature::TensorSpec},
    protocol::oip::models::ready_versions,
    serving::{served_model::ServedModel, service::InferenceService},
};

/// What models run on, under Triton's name for it.
pub const PLATFORM: &str = "onnxruntime_onnx";

/// The extensions that work; clients ask for no others.
const EXTENSIONS: [&str; 4] = ["binary_tensor_data", "classification", "model_configuration", "statistics"];

#[derive(Clone, Debug, Serialize)]
pub struct ServerMetadata {
    pub name: &'static str,
    pub version: &'static str,
    /// The extensions of the protocol that it knows.
    pub extensions: &'static [&'static str],
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelMetadata {
    pub name: String,
    /// The versions that serve, or the one that was asked for.
    pub versions: Vec<String>,
    pub platform: &'static str,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
    /// `description`; `features` and `classes`, JSON lists of names: those that are known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<&'static str, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorMetadata {
    pub name: String,
    /// The protocol's name of its element type.
    pub datatype: &'static str,
    /// Its dimensions, -1 for dynamic ones.
    pub shape: Vec<i64>,
}

pub fn server() -> ServerMetadata {
    ServerMetadata { name: "onnxd", version: env!("CARGO_PKG_VERSION"), extensions: &EXTENSIONS }
}

/// Describes a model by its `served_model`; `one_version` says that a version was asked for, which is then the only one.
///
/// # Errors
/// `NotFound` where the service has no such model.
pub fn model(service: &InferenceService, served_model: &ServedModel, one_version: bool) -> Result<ModelMetadata> {
    let catalog = service.catalog();
    let (name, entry) = catalog.entry(served_model.name.as_str())?;
    let versions = match one_version {
        true => vec![served_model.version.to_string()],
        false => ready_versions(entry).map(|(version, _)| version.to_string()).collect(),
    };
    let schema = &served_model.schema;
    Ok(ModelMetadata {
        name: name.to_string(),
        versions,
        platform: PLATFORM,
        inputs: schema.signature.inputs.iter().map(TensorMetadata::new).collect(),
        outputs: outputs(schema, served_model.counts_rows()),
        properties: properties(schema),
    })
}

/// Returns what a model gives. Where axis 0 counts rows, it does so in outputs too, whatever their exporter declared.
pub(super) fn outputs(schema: &Schema, counts_rows: bool) -> Vec<TensorMetadata> {
    let mut outputs: Vec<_> =
        schema.signature.outputs.iter().map(|output| TensorMetadata::new(&output.tensor)).collect();
    if counts_rows {
        outputs.iter_mut().filter_map(|output| output.shape.first_mut()).for_each(|rows| *rows = -1);
    }
    outputs
}

/// Returns what else is known of a model, as text: lists as JSON.
pub(super) fn properties(schema: &Schema) -> BTreeMap<&'static str, String> {
    let json = |names: &mut dyn Iterator<Item = &str>| serde_json::Value::from_iter(names).to_string();
    let features = schema.rows.as_ref().and_then(|rows| rows.features.as_ref());
    let features = features.map(|features| json(&mut features.names().iter().map(|name| &**name)));
    let classes = schema.classes.as_ref().map(|classes| json(&mut classes.names.iter().map(|name| &**name)));
    let known = [("description", schema.description.clone()), ("features", features), ("classes", classes)];
    known.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

impl TensorMetadata {
    fn new(spec: &TensorSpec) -> Self {
        Self { name: spec.name.to_string(), datatype: spec.data_type.name(), shape: spec.protocol_dims() }
    }
}
