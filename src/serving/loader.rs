//! Loading: from files on disk to models that serve. One after the other; a bad one never stops the rest.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
    time::Instant,
};

use crate::{
    batching::worker::Lane,
    engine::{Engine, LoadOptions, Session},
    error::{Error, Result},
    metrics::Metrics,
    model::{
        golden,
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        onnx_file::OnnxFile,
        repository::FoundModel,
        schema::Schema,
        signature::TensorSpec,
    },
    serving::{example, registry::ModelRegistry, served_model::ServedModel},
    tensor::tensor::Tensor,
};

/// Turns files into served models.
#[derive(Clone)]
pub struct Loader {
    /// What runs them.
    pub engine: Arc<dyn Engine>,
    /// Where their metrics are.
    pub metrics: Arc<Metrics>,
}

impl Loader {
    /// Loads every version of every model found, and settles each in the registry. Blocks; stops early once `stop` says so.
    pub fn load_all(&self, found: &[FoundModel], registry: &ModelRegistry, stop: impl Fn() -> bool) {
        for model in found {
            let files = match &model.files {
                Ok(files) => files,
                Err(error) => {
                    tracing::error!(model = %model.name, "model {} cannot be served: {error}", model.name);
                    continue;
                }
            };
            for (version, path) in &files.versions {
                if stop() {
                    return;
                }
                let outcome = self.load_caught(&model.name, *version, path, &files.manifest);
                log_outcome(&model.name, *version, &outcome);
                registry.settle(&model.name, *version, outcome.map(Arc::new).map_err(|error| error.to_string()));
            }
        }
    }

    /// Loads one version. Blocks.
    ///
    /// # Errors
    /// `InvalidArgument` with the reason.
    pub fn load(
        &self,
        name: &ModelName,
        version: ModelVersion,
        path: &Path,
        manifest: &Manifest,
    ) -> Result<ServedModel> {
        let started = Instant::now();
        let file = OnnxFile::read(path)?;
        let options = LoadOptions { intra_op_threads: manifest.instances.intra_op_threads, file: &file };
        let instance = |_| self.engine.load(path, &options);
        let mut sessions = (0..manifest.instances.count).map(instance).collect::<Result<Vec<_>>>()?;
        sessions.iter_mut().for_each(|session| warm_up(name, &mut **session));
        let Some(session) = sessions.first() else {
            return Err(Error::internal("no instance was asked for"));
        };
        let schema = Schema::new(session.signature().clone(), manifest, &file)?;
        let example = match golden::read_beside(path)?.into_iter().next() {
            Some(case) => case.request,
            None => example::synthetic_body(&schema)?,
        };
        let load_time = started.elapsed();
        let metrics = self.metrics.model(name, version, &file.sha256, load_time);
        let lane = Lane::start(name.as_str(), sessions, manifest.batching.max_queue_size, Arc::clone(&metrics))?;
        Ok(ServedModel {
            name: name.clone(),
            version,
            schema: Arc::new(schema),
            file,
            manifest: manifest.clone(),
            example,
            load_time,
            metrics,
            lane,
        })
    }

    /// Loads one version like [`Self::load`]; a panic on the way is an error too. Blocks.
    ///
    /// # Errors
    /// `InvalidArgument` with the reason.
    pub fn load_caught(
        &self,
        name: &ModelName,
        version: ModelVersion,
        path: &Path,
        manifest: &Manifest,
    ) -> Result<ServedModel> {
        let load = || self.load(name, version, path, manifest);
        catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
            Err(Error::invalid("ONNX Runtime's binding panicked on this file; the log has the place"))
        })
    }
}

/// Runs a session once, on zeros with dynamic dimensions of 1, so that the first request does not pay for what the
/// runtime does only once. A model may refuse zeros of that shape; that says nothing of real requests.
fn warm_up(name: &ModelName, session: &mut dyn Session) {
    let zeros = |input: &TensorSpec| {
        let shape = input.dims.iter().flatten().map(|dim| dim.fixed().unwrap_or(1)).collect();
        Tensor::zeros(input.data_type, shape)
    };
    let inputs = session.signature().inputs.iter().map(zeros).collect::<Result<Vec<_>>>();
    if let Err(error) = inputs.and_then(|inputs| session.run(&inputs)) {
        tracing::warn!(model = %name, "model {name} could not be warmed up on zeros: {error}");
    }
}

fn log_outcome(name: &ModelName, version: ModelVersion, outcome: &Result<ServedModel>) {
    match outcome {
        Ok(model) => tracing::info!(
            model = %name,
            version = %version,
            load_ms = u64::try_from(model.load_time.as_millis()).unwrap_or(u64::MAX),
            "model {name} version {version} is ready: {}",
            model.schema.task.name()
        ),
        Err(error) => {
            tracing::error!(model = %name, version = %version, "model {name} version {version} cannot be served: {error}");
        }
    }
}
