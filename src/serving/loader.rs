//! Loading: from files on disk to models that serve. One after the other; a bad one never stops the rest.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    batching::{
        lane::{Lane, LaneKind},
        watchdog::Watchdog,
    },
    config::memory::MemorySettings,
    engine::{Engine, Isolation, LoadOptions, run_memory::RunMemory},
    error::{Error, Result},
    metrics::{Loaded, Metrics},
    model::{
        golden,
        manifest::Manifest,
        name::{ModelName, ModelVersion},
        repository::FoundModel,
        schema::Schema,
        staged::StagedModel,
        task::Task,
    },
    serving::{
        bounded::with_bounded_runs,
        catalog::ModelState,
        empty::{Outcomes, Subject, Trials},
        example,
        plan::Plan,
        probe::{probe, warm_up},
        served_model::ServedModel,
    },
};

/// The longest that a batch may hold the event loop, unless the settings say otherwise.
pub const DEFAULT_INLINE_BUDGET: Duration = Duration::from_micros(500);

/// The longest that a run may take before the model serves, unless the settings say otherwise.
const DEFAULT_LONGEST_RUN: Duration = Duration::from_secs(30);

/// Turns files into served models.
#[derive(Clone)]
pub struct Loader {
    pub engine: Arc<dyn Engine>,
    pub metrics: Arc<Metrics>,
    /// The longest that a batch may hold the event loop.
    pub inline_budget: Duration,
    /// What ends runs that last too long.
    pub watchdog: Arc<Watchdog>,
    /// The most rows of a request.
    pub max_rows: usize,
    /// What the runs of all models may hold.
    pub run_memory: &'static RunMemory,
    /// The most bytes of a model with its external data.
    pub max_model_bytes: u64,
    /// The longest that a run may take before the model serves.
    pub longest_run: Duration,
    /// Held by the one model that has a process to try a request in.
    pub trial_turn: Arc<Mutex<()>>,
}

impl Loader {
    /// Makes a loader with metrics of its own and the default budget.
    ///
    /// # Errors
    /// Those of [`Metrics::new`].
    pub fn new(engine: Arc<dyn Engine>, memory: &MemorySettings) -> Result<Self> {
        let metrics = Arc::new(Metrics::new(engine.version())?);
        Ok(Self {
            engine,
            metrics,
            inline_budget: DEFAULT_INLINE_BUDGET,
            watchdog: Arc::default(),
            max_rows: usize::MAX,
            run_memory: RunMemory::limited(memory.run_bytes()),
            max_model_bytes: memory.model_bytes() as u64,
            longest_run: DEFAULT_LONGEST_RUN,
            trial_turn: Arc::default(),
        })
    }

    /// Loads every version of every model found, and reports the state of each. Blocks; stops early once `stop` is true.
    pub fn load_all(
        &self,
        found: &[FoundModel],
        stop: impl Fn() -> bool,
        mut settle: impl FnMut(&ModelName, ModelVersion, ModelState),
    ) {
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
                outcome.iter().for_each(warn_of_held_loop);
                outcome.iter().for_each(warn_of_crashers);
                let state = match outcome {
                    Ok(loaded) => ModelState::Ready(Arc::new(loaded)),
                    Err(error) => ModelState::Failed(files.without_root(&error.to_string())),
                };
                settle(&model.name, *version, state);
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
        let staged = StagedModel::open(path, self.max_model_bytes)?;
        let isolation = Isolation { model: name.to_string(), ..Isolation::default() };
        let options = LoadOptions {
            instances: manifest.instances.count,
            intra_op_threads: manifest.instances.intra_op_threads,
            file: &staged.file,
            run_memory: self.run_memory,
            isolation: manifest.instances.isolate.then_some(&isolation),
        };
        // A process of its own stages the files itself, each time that it starts.
        let from = if options.isolation.is_some() { path } else { staged.path() };
        let mut sessions = self.engine.load(from, &options).map_err(|error| staged.without_copy(error))?;
        let file = staged.into_file();
        let (session, others) =
            sessions.split_first_mut().ok_or_else(|| Error::internal("no instance was asked for"))?;
        let (proof, batching) = (&file.independence, &manifest.batching);
        let profile = with_bounded_runs(&mut **session, self.longest_run, |session| probe(session, proof, batching))?;
        let mut schema = Schema::of_observed(session.signature().clone(), &profile.observed, manifest, &file)?;
        if let Some(rows) = &mut schema.rows {
            rows.max_rows = self.max_rows;
        }
        let plan = Plan::new(&profile, &file, manifest, self.inline_budget);
        let rows = profile.timings.last().map_or(1, |timing| timing.rows).min(plan.lane.limits.max_batch_rows);
        for other in others {
            with_bounded_runs(&mut **other, self.longest_run, |session| warm_up(session, rows))?;
        }
        let example = match golden::read_beside(path)?.into_iter().next() {
            Some(case) => Some(case.request),
            None => example::synthetic_body(&schema)?,
        };
        let load_time = started.elapsed();
        let metrics = self.metrics.model(&Loaded {
            name,
            version,
            sha256: &file.sha256,
            load_time,
            instances: manifest.instances.count,
            max_queue_size: manifest.batching.max_queue_size,
            restarts: manifest.instances.isolate.then_some(&isolation.restarts),
        });
        let lane = Lane::start(name.as_str(), sessions, plan.lane, Arc::clone(&metrics), &self.watchdog)?;
        let (schema, file) = (Arc::new(schema), Arc::new(file));
        Ok(ServedModel {
            trials: Trials::new(Subject {
                engine: Arc::clone(&self.engine),
                turn: Arc::clone(&self.trial_turn),
                name: name.clone(),
                version,
                path: path.to_owned(),
                file: Arc::clone(&file),
                schema: Arc::clone(&schema),
                intra_op_threads: manifest.instances.intra_op_threads,
                run_memory: self.run_memory,
                watchdog: Arc::clone(&self.watchdog),
                outcomes: Outcomes::default(),
            }),
            attached: OnceLock::new(),
            name: name.clone(),
            version,
            element_bytes: schema.signature.widest_element_bytes(),
            schema,
            file,
            manifest: manifest.clone(),
            example,
            load_time,
            metrics,
            profile,
            plan,
            lane,
        })
    }
}

/// Writes `regression`, or `raw (output "y" is BYTES [-1])`.
fn task_with_reason(task: &Task) -> String {
    match task.why_raw() {
        None => task.name().to_owned(),
        Some(reason) => format!("{} ({reason})", task.name()),
    }
}

/// Warns if model.toml keeps a model in the event loop although a request decides how long it runs.
fn warn_of_held_loop(model: &ServedModel) {
    let (LaneKind::Inline, Some(culprit)) = (model.plan.lane.kind, &model.file.cost_depends_on) else { return };
    tracing::warn!(
        model = %model.name,
        "model {} runs inside the event loop because model.toml says so, but the time of a run depends on the values of its \
         inputs ({culprit}): a long run delays every other request",
        model.name
    );
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
            task_with_reason(&model.schema.task),
            model.plan.lane.kind.name(),
            model.plan.lane_reason,
            model.plan.batching_reason
        ),
        Err(error) => {
            tracing::error!(model = %name, version = %version, "model {name} version {version} cannot be served: {error}");
        }
    }
}
