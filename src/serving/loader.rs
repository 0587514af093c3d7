//! Loading: from files on disk to models that serve. One after the other; a bad one never stops the rest.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{
    batching::lane::Lane,
    engine::{Engine, Isolation, LoadOptions},
    error::{Error, Result},
    metrics::{Loaded, Metrics},
    model::{
        golden,
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        onnx_file::OnnxFile,
        repository::FoundModel,
        schema::Schema,
    },
    serving::{
        empty::{Outcomes, Subject, Trials},
        example,
        plan::Plan,
        probe::{probe, warm_up},
        registry::ModelRegistry,
        served_model::ServedModel,
    },
};

/// The longest that a batch may hold the event loop, unless the settings say otherwise.
pub const DEFAULT_INLINE_BUDGET: Duration = Duration::from_micros(500);

/// Turns files into served models.
#[derive(Clone)]
pub struct Loader {
    /// What runs them.
    pub engine: Arc<dyn Engine>,
    /// Where their metrics are.
    pub metrics: Arc<Metrics>,
    /// The longest that a batch may hold the event loop.
    pub inline_budget: Duration,
    /// Held by the one model that has a process to try a request in.
    pub trial_turn: Arc<Mutex<()>>,
}

impl Loader {
    /// Makes a loader with metrics of its own and the default budget, for commands that do not serve.
    ///
    /// # Errors
    /// Those of [`Metrics::new`].
    pub fn new(engine: Arc<dyn Engine>) -> Result<Self> {
        let metrics = Arc::new(Metrics::new(engine.version())?);
        Ok(Self { engine, metrics, inline_budget: DEFAULT_INLINE_BUDGET, trial_turn: Arc::default() })
    }

    /// Loads every version of every model found, and settles each in the registry. Blocks; stops early once `stop` says so.
    pub fn load_all(&self, found: &[FoundModel], registry: &ModelRegistry, stop: impl Fn() -> bool) {
        let mut index = 0;
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
                let outcome = self.load(&model.name, *version, path, &files.manifest);
                log_outcome(&model.name, *version, &outcome);
                outcome.iter().for_each(warn_of_crashers);
                let outcome = outcome.map(|loaded| Arc::new(ServedModel { index, ..loaded }));
                registry.settle(&model.name, *version, outcome.map_err(|error| files.without_root(&error.to_string())));
                index += 1;
            }
        }
    }

    /// Loads one version. A panic on the way is an error too. Blocks.
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
        let load = || self.load_uncaught(name, version, path, manifest);
        catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|_| {
            Err(Error::invalid("ONNX Runtime's binding panicked on this file; the log has the place"))
        })
    }

    fn load_uncaught(
        &self,
        name: &ModelName,
        version: ModelVersion,
        path: &Path,
        manifest: &Manifest,
    ) -> Result<ServedModel> {
        let started = Instant::now();
        let file = OnnxFile::read(path)?;
        let isolation = Isolation { model: name.to_string(), ..Isolation::default() };
        let options = LoadOptions {
            instances: manifest.instances.count,
            intra_op_threads: manifest.instances.intra_op_threads,
            file: &file,
            isolation: manifest.instances.isolate.then_some(&isolation),
        };
        let mut sessions = self.engine.load(path, &options)?;
        let Some((session, others)) = sessions.split_first_mut() else {
            return Err(Error::internal("no instance was asked for"));
        };
        let schema = Schema::new(session.signature().clone(), manifest, &file)?;
        let profile = probe(&mut **session, manifest.batching.max_batch_size);
        let plan = Plan::new(&profile, manifest, self.inline_budget);
        let rows = profile.timings.last().map_or(1, |timing| timing.rows).min(plan.lane.limits.max_batch_rows);
        others.iter_mut().for_each(|session| warm_up(&mut **session, rows));
        let example = match golden::read_beside(path)?.into_iter().next() {
            Some(case) => Some(case.request),
            None => example::synthetic_body(&schema)?,
        };
        let load_time = started.elapsed();
        let loaded = Loaded {
            name,
            version,
            sha256: &file.sha256,
            load_time,
            instances: manifest.instances.count,
            max_queue_size: manifest.batching.max_queue_size,
            restarts: manifest.instances.isolate.then_some(&isolation.restarts),
        };
        let metrics = self.metrics.model(&loaded);
        let lane = Lane::start(name.as_str(), sessions, plan.lane, Arc::clone(&metrics))?;
        let (schema, file) = (Arc::new(schema), Arc::new(file));
        let trials = Trials::new(Subject {
            engine: Arc::clone(&self.engine),
            turn: Arc::clone(&self.trial_turn),
            name: name.clone(),
            version,
            path: path.to_owned(),
            file: Arc::clone(&file),
            schema: Arc::clone(&schema),
            intra_op_threads: manifest.instances.intra_op_threads,
            outcomes: Outcomes::default(),
        });
        Ok(ServedModel {
            index: 0,
            name: name.clone(),
            version,
            schema,
            file,
            manifest: manifest.clone(),
            example,
            load_time,
            metrics,
            profile,
            plan,
            lane,
            trials,
        })
    }
}

/// The most nodes that a warning names.
const MAX_NAMED: usize = 5;

/// Warns of nodes by which a client can end the process, unless that is only the model's own.
fn warn_of_crashers(model: &ServedModel) {
    let crashers = &model.file.crashers;
    if crashers.is_empty() || model.manifest.instances.isolate {
        return;
    }
    let more = crashers.len().saturating_sub(MAX_NAMED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    tracing::warn!(
        model = %model.name,
        "a request to model {} can crash this process in ONNX Runtime: {}{and_more}; isolate = true under [instances] in \
         model.toml confines a crash to the model",
        model.name,
        crashers[..crashers.len() - more].join(", ")
    );
}

fn log_outcome(name: &ModelName, version: ModelVersion, outcome: &Result<ServedModel>) {
    match outcome {
        Ok(model) => tracing::info!(
            model = %name,
            version = %version,
            load_ms = u64::try_from(model.load_time.as_millis()).unwrap_or(u64::MAX),
            lane = model.plan.lane.kind.name(),
            max_batch_rows = model.plan.lane.limits.max_batch_rows,
            "model {name} version {version} is ready: {}, {} lane because {}; batching: {}",
            model.schema.task.name(),
            model.plan.lane.kind.name(),
            model.plan.lane_reason,
            model.plan.batching_reason
        ),
        Err(error) => {
            tracing::error!(model = %name, version = %version, "model {name} version {version} cannot be served: {error}");
        }
    }
}
