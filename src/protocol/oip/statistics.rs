//! Triton's statistics, from the counters that are running anyway.

use serde::Serialize;

use crate::{
    error::Result,
    metrics::{statistics::Total, total},
    protocol::oip::models::ready_versions,
    serving::{catalog::Catalog, served_model::ServedModel, service::InferenceService},
};

/// The statistics of models, in the protocol's form.
#[derive(Clone, Debug, Serialize)]
pub struct AllStatistics {
    /// One of each version that serves.
    pub model_stats: Vec<ModelStatistics>,
}

/// The statistics of one model version since it was loaded.
#[derive(Clone, Debug, Serialize)]
pub struct ModelStatistics {
    pub name: String,
    pub version: String,
    /// When the last request ended, in milliseconds since 1970; 0 where there was none.
    pub last_inference: u64,
    /// Rows answered where axis 0 counts rows, else requests.
    pub inference_count: u64,
    pub execution_count: u64,
    pub inference_stats: InferenceStatistics,
    /// Runs by the number of their rows.
    pub batch_stats: Vec<BatchStatistics>,
}

/// How often, and how long in all.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Duration {
    pub count: u64,
    /// How long in all, in nanoseconds.
    pub ns: u64,
}

/// Where the time of requests went.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InferenceStatistics {
    /// Whole requests that were answered.
    pub success: Duration,
    pub fail: Duration,
    pub queue: Duration,
    pub compute_input: Duration,
    /// Running the model; a run counts for each request in it.
    pub compute_infer: Duration,
    pub compute_output: Duration,
    /// Always none: nothing is cached.
    pub cache_hit: Duration,
    /// Always none: nothing is cached.
    pub cache_miss: Duration,
}

/// The runs of one size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BatchStatistics {
    /// The rows of a run.
    pub batch_size: u64,
    /// Always none: requests are read one by one.
    pub compute_input: Duration,
    pub compute_infer: Duration,
    /// Always none: answers are written one by one.
    pub compute_output: Duration,
}

/// Returns the statistics of every model version that serves.
pub fn all(service: &InferenceService) -> AllStatistics {
    AllStatistics { model_stats: service.catalog().ready().map(|served_model| of(&served_model)).collect() }
}

/// Returns the statistics of a model: of the version asked for, or of all that serve.
///
/// # Errors
/// `NotFound` where `served_model` is not of this catalog.
pub fn model(catalog: &Catalog, served_model: &ServedModel, one_version: bool) -> Result<AllStatistics> {
    let (_, entry) = catalog.entry(served_model.name.as_str())?;
    let model_stats = match one_version {
        true => vec![of(served_model)],
        false => ready_versions(entry).map(|(_, served_model)| of(&served_model)).collect(),
    };
    Ok(AllStatistics { model_stats })
}

fn of(served_model: &ServedModel) -> ModelStatistics {
    let metrics = &served_model.metrics;
    let (whole, fail) = (total(&metrics.latency), metrics.statistics.failures());
    let success = Duration {
        count: whole.count.saturating_sub(fail.count),
        ns: whole.nanoseconds.saturating_sub(fail.nanoseconds),
    };
    let none = Duration::default();
    // Clients divide by these counts, and end with an error where they differ, as they would between two readings.
    let of_requests = |nanoseconds| Duration { count: success.count, ns: nanoseconds };
    ModelStatistics {
        name: served_model.name.to_string(),
        version: served_model.version.to_string(),
        last_inference: metrics.statistics.last_request_milliseconds(),
        inference_count: if served_model.counts_rows() { metrics.predictions.get() } else { success.count },
        execution_count: total(&metrics.compute).count,
        inference_stats: InferenceStatistics {
            success,
            fail: fail.into(),
            queue: of_requests(total(&metrics.queue).nanoseconds),
            compute_input: of_requests(total(&metrics.decode).nanoseconds),
            compute_infer: of_requests(metrics.statistics.compute_nanoseconds()),
            compute_output: of_requests(total(&metrics.encode).nanoseconds),
            cache_hit: none,
            cache_miss: none,
        },
        batch_stats: metrics
            .statistics
            .runs()
            .into_iter()
            .map(|(rows, total)| BatchStatistics {
                batch_size: rows as u64,
                compute_input: none,
                compute_infer: total.into(),
                compute_output: none,
            })
            .collect(),
    }
}

impl From<Total> for Duration {
    fn from(total: Total) -> Self {
        Self { count: total.count, ns: total.nanoseconds }
    }
}
