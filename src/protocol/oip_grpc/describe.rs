//! What there is to know of the server and its models, as messages.

use crate::{
    error::{Error, Result},
    protocol::{
        oip::{config, index::IndexEntry, metadata, statistics},
        proto::inference::{
            self as proto, DataType, InferBatchStatistics, InferStatistics, ModelConfig, ModelDynamicBatching,
            ModelInput, ModelInstanceGroup, ModelMetadataResponse, ModelOutput, ModelParameter, ModelQueuePolicy,
            ModelStatisticsResponse, ModelTransactionPolicy, ModelVersionPolicy, RepositoryIndexResponse,
            ServerMetadataResponse, StatisticDuration, model_config::SchedulingChoice, model_instance_group::Kind,
            model_metadata_response::TensorMetadata, model_version_policy, repository_index_response::ModelIndex,
        },
    },
};

pub(crate) fn server(server: &metadata::ServerMetadata) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: server.name.to_owned(),
        version: server.version.to_owned(),
        extensions: server.extensions.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(crate) fn model(model: metadata::ModelMetadata) -> ModelMetadataResponse {
    let tensor = |tensor: metadata::TensorMetadata| TensorMetadata {
        name: tensor.name,
        datatype: tensor.datatype.to_owned(),
        shape: tensor.shape,
    };
    ModelMetadataResponse {
        name: model.name,
        versions: model.versions,
        platform: model.platform.to_owned(),
        inputs: model.inputs.into_iter().map(tensor).collect(),
        outputs: model.outputs.into_iter().map(tensor).collect(),
    }
}

/// # Errors
/// `Internal` where a name is not the protocol's, or a number does not fit.
pub(crate) fn config(config: config::ModelConfig) -> Result<ModelConfig> {
    let versions = config.version_policy.specific.versions.into_iter().map(number).collect::<Result<_>>()?;
    let specific = model_version_policy::Specific { versions };
    let input = |input: config::ModelInput| {
        Ok(ModelInput { name: input.name, data_type: data_type(input.data_type)?, dims: input.dims })
    };
    let output = |output: config::ModelOutput| {
        Ok(ModelOutput { name: output.name, data_type: data_type(output.data_type)?, dims: output.dims })
    };
    let instances = |group: config::InstanceGroup| {
        let kind = Kind::from_str_name(group.kind).ok_or_else(|| unknown(group.kind))?;
        Ok(ModelInstanceGroup { name: group.name, kind: kind.into(), count: number(group.count)? })
    };
    let batching = |batching: config::DynamicBatching| -> Result<_> {
        let max_queue_size = number(batching.default_queue_policy.max_queue_size)?;
        Ok(SchedulingChoice::DynamicBatching(ModelDynamicBatching {
            max_queue_delay_microseconds: batching.max_queue_delay_microseconds,
            default_queue_policy: Some(ModelQueuePolicy { max_queue_size }),
        }))
    };
    let parameters = config.parameters.into_iter();
    Ok(ModelConfig {
        name: config.name,
        platform: config.platform.to_owned(),
        backend: config.backend.to_owned(),
        version_policy: Some(ModelVersionPolicy {
            policy_choice: Some(model_version_policy::PolicyChoice::Specific(specific)),
        }),
        max_batch_size: number(config.max_batch_size)?,
        input: config.input.into_iter().map(input).collect::<Result<_>>()?,
        output: config.output.into_iter().map(output).collect::<Result<_>>()?,
        instance_group: config.instance_group.into_iter().map(instances).collect::<Result<_>>()?,
        default_model_filename: config.default_model_filename.to_owned(),
        parameters: parameters
            .map(|(key, value)| (key.to_owned(), ModelParameter { string_value: value.string_value }))
            .collect(),
        model_transaction_policy: Some(ModelTransactionPolicy { decoupled: config.model_transaction_policy.decoupled }),
        scheduling_choice: config.dynamic_batching.map(batching).transpose()?,
    })
}

pub(crate) fn statistics(statistics: statistics::AllStatistics) -> ModelStatisticsResponse {
    ModelStatisticsResponse { model_stats: statistics.model_stats.into_iter().map(of_model).collect() }
}

pub(crate) fn index(entries: Vec<IndexEntry>) -> RepositoryIndexResponse {
    let models = entries.into_iter().map(|entry| ModelIndex {
        name: entry.name,
        version: entry.version.unwrap_or_default(),
        state: entry.state.to_owned(),
        reason: entry.reason,
    });
    RepositoryIndexResponse { models: models.collect() }
}

fn of_model(model: statistics::ModelStatistics) -> proto::ModelStatistics {
    let of_runs = |runs: statistics::BatchStatistics| InferBatchStatistics {
        batch_size: runs.batch_size,
        compute_input: duration(runs.compute_input),
        compute_infer: duration(runs.compute_infer),
        compute_output: duration(runs.compute_output),
    };
    let whole = model.inference_stats;
    proto::ModelStatistics {
        name: model.name,
        version: model.version,
        last_inference: model.last_inference,
        inference_count: model.inference_count,
        execution_count: model.execution_count,
        inference_stats: Some(InferStatistics {
            success: duration(whole.success),
            fail: duration(whole.fail),
            queue: duration(whole.queue),
            compute_input: duration(whole.compute_input),
            compute_infer: duration(whole.compute_infer),
            compute_output: duration(whole.compute_output),
            cache_hit: duration(whole.cache_hit),
            cache_miss: duration(whole.cache_miss),
        }),
        batch_stats: model.batch_stats.into_iter().map(of_runs).collect(),
        ..Default::default()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "every message is optional in its field")]
fn duration(duration: statistics::Duration) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: duration.count, ns: duration.ns })
}

fn data_type(name: &str) -> Result<i32> {
    DataType::from_str_name(name).map(i32::from).ok_or_else(|| unknown(name))
}

fn number<T: TryInto<U>, U>(number: T) -> Result<U>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    number.try_into().map_err(Error::internal)
}

fn unknown(name: &str) -> Error {
    Error::internal(format!("the protocol has no {name:?}"))
}
