//! Triton's model configuration, as far as there is something to say.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    model::signature::TensorSpec,
    protocol::oip::{
        metadata::{self, PLATFORM},
        models::max_batch_size,
    },
    serving::served_model::ServedModel,
    tensor::data_type::DataType,
};

/// A model's configuration. Names and values are those of Triton's `model_config.proto`.
#[derive(Clone, Debug, Serialize)]
pub struct ModelConfig {
    pub name: String,
    pub platform: &'static str,
    pub backend: &'static str,
    pub version_policy: VersionPolicy,
    /// The most rows run at once; 0 where rows are not batched. A request of more rows is split, not refused.
    pub max_batch_size: usize,
    /// What the model takes; without axis 0 where rows are batched.
    pub input: Vec<ModelInput>,
    /// What it gives; without axis 0 where rows are batched.
    pub output: Vec<ModelOutput>,
    pub instance_group: [InstanceGroup; 1],
    pub default_model_filename: &'static str,
    /// What else is known of it, as in its metadata.
    pub parameters: BTreeMap<&'static str, ModelParameter>,
    /// How requests are run together; absent where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dynamic_batching: Option<DynamicBatching>,
    pub model_transaction_policy: TransactionPolicy,
}

#[derive(Clone, Debug, Serialize)]
pub struct VersionPolicy {
    pub specific: SpecificVersions,
}

#[derive(Clone, Debug, Serialize)]
pub struct SpecificVersions {
    pub versions: Vec<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelInput {
    pub name: String,
    pub data_type: &'static str,
    /// Its dimensions, -1 for dynamic ones.
    pub dims: Vec<i64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ModelOutput {
    pub name: String,
    pub data_type: &'static str,
    /// Its dimensions, -1 for dynamic ones.
    pub dims: Vec<i64>,
}

/// The instances of a model.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceGroup {
    pub name: String,
    pub kind: &'static str,
    pub count: usize,
}

/// A value that is text.
#[derive(Clone, Debug, Serialize)]
pub struct ModelParameter {
    pub string_value: String,
}

/// How requests are run together.
#[derive(Clone, Debug, Serialize)]
pub struct DynamicBatching {
    /// How long the oldest request waits for company.
    pub max_queue_delay_microseconds: u64,
    /// The most requests that wait.
    pub default_queue_policy: QueuePolicy,
}

#[derive(Clone, Debug, Serialize)]
pub struct QueuePolicy {
    pub max_queue_size: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct TransactionPolicy {
    /// Whether there may be none or several.
    pub decoupled: bool,
}

/// Describes how a model is run.
pub fn model(served_model: &ServedModel) -> ModelConfig {
    let (schema, manifest) = (&served_model.schema, &served_model.manifest);
    let max_batch_size = max_batch_size(served_model);
    let dims = |shape: Vec<i64>| match max_batch_size {
        0 => shape,
        _ => shape.into_iter().skip(1).collect(),
    };
    let input = |spec: &TensorSpec| ModelInput {
        name: spec.name.to_string(),
        data_type: type_name(spec.data_type),
        dims: dims(spec.protocol_dims()),
    };
    let outputs = metadata::outputs(schema, served_model.counts_rows());
    let output = outputs.into_iter().zip(&schema.signature.outputs).map(|(output, spec)| ModelOutput {
        name: output.name,
        data_type: type_name(spec.tensor.data_type),
        dims: dims(output.shape),
    });
    let properties = metadata::properties(schema).into_iter();
    let batching = &manifest.batching;
    ModelConfig {
        name: served_model.name.to_string(),
        platform: PLATFORM,
        backend: "onnxruntime",
        version_policy: VersionPolicy { specific: SpecificVersions { versions: vec![served_model.version.number()] } },
        max_batch_size,
        input: schema.signature.inputs.iter().map(input).collect(),
        output: output.collect(),
        instance_group: [InstanceGroup {
            name: served_model.name.to_string(),
            kind: "KIND_CPU",
            count: manifest.instances.count,
        }],
        default_model_filename: "model.onnx",
        parameters: properties.map(|(key, value)| (key, ModelParameter { string_value: value })).collect(),
        dynamic_batching: served_model.plan.lane.batched.then_some(DynamicBatching {
            max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            default_queue_policy: QueuePolicy { max_queue_size: batching.max_queue_size },
        }),
        model_transaction_policy: TransactionPolicy { decoupled: false },
    }
}

/// Returns the name that configurations have for an element type.
pub fn type_name(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "TYPE_BOOL",
        DataType::Uint8 => "TYPE_UINT8",
        DataType::Uint16 => "TYPE_UINT16",
        DataType::Uint32 => "TYPE_UINT32",
        DataType::Uint64 => "TYPE_UINT64",
        DataType::Int8 => "TYPE_INT8",
        DataType::Int16 => "TYPE_INT16",
        DataType::Int32 => "TYPE_INT32",
        DataType::Int64 => "TYPE_INT64",
        DataType::Fp16 => "TYPE_FP16",
        DataType::Bf16 => "TYPE_BF16",
        DataType::Fp32 => "TYPE_FP32",
        DataType::Fp64 => "TYPE_FP64",
        DataType::Bytes => "TYPE_STRING",
    }
}
