//! Models on ONNX Runtime, through `ort`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{RunOptions, SessionInputValue, builder::SessionBuilder},
};
use smallvec::SmallVec;

#[cfg(target_os = "linux")]
use crate::engine::isolation;
use crate::{
    config::LibraryCandidate,
    engine::{
        Engine, Isolation, LoadOptions, Session, Terminate, convert,
        library::{self, Library},
        memory,
        run_error::{one_line, run_error},
        run_memory::{self, RunMemory},
        sharing::SharedWeights,
    },
    error::{Error, Result},
    model::signature::Signature,
    request::Tensors,
    tensor::tensor::Tensor,
};

/// The environment lives as long as the process: `ort` allows one, and refuses a second even after the first is gone.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// The most bytes that folding one node may give; what would give more is computed in every run.
const FOLDING_LIMIT: &str = "optimization.constant_folding_max_output_size_in_bytes";

#[derive(Debug)]
pub struct OrtEngine {
    environment: &'static Environment,
    library: Library,
    /// The program that runs isolated sessions: onnxd itself.
    program: PathBuf,
    /// Session creation is not safe to run concurrently with every execution provider.
    loading: Mutex<()>,
}

impl OrtEngine {
    /// Loads the first library of `candidates` that works. A second call in one process uses the first one's library.
    ///
    /// # Errors
    /// `Unavailable`, in one line with the remedy, where there is none.
    pub fn new(candidates: &[LibraryCandidate]) -> Result<Self> {
        let library = library::find(candidates)?;
        let build = || -> Result<Environment> {
            let environment = ort::init_from(&library.path)
                .map_err(|error| Error::unavailable(error.to_string()))?
                .with_name("onnxd")
                .with_telemetry(false)
                .build()
                .map_err(Error::internal)?;
            // Below warnings the runtime logs every node it optimises, through a callback a line.
            environment.set_log_level(LogLevel::Warning);
            if let Err(error) = run_memory::register(&environment, &library.path) {
                tracing::warn!("the memory of runs is not limited here: {error}");
            }
            Ok(environment)
        };
        let environment = match ENVIRONMENT.get() {
            Some(environment) => environment,
            None => {
                let built = build()?;
                ENVIRONMENT.get_or_init(|| built)
            }
        };
        // The file that this process was started from, also after another has taken its place.
        let program = PathBuf::from("/proc/self/exe");
        Ok(Self { environment, library, program, loading: Mutex::new(()) })
    }

    /// Makes another program run isolated sessions, for processes that are not onnxd.
    #[must_use]
    pub fn isolating_with(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Returns the library in use.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

impl Engine for OrtEngine {
    fn load(&self, path: &Path, options: &LoadOptions<'_>) -> Result<Vec<Box<dyn Session>>> {
        if let Some(isolation) = options.isolation {
            return self.load_isolated(path, options, isolation);
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = SharedWeights::read(path, options.instances)?;
        let mut sessions: Vec<Box<dyn Session>> = Vec::with_capacity(options.instances);
        for _ in 0..options.instances {
            let builder = configure(self.environment, options).and_then(|builder| shared.give(builder));
            let session = builder.map_err(load_error)?.commit_from_file(path).map_err(load_error)?;
            memory::give_back();
            let signature = convert::signature(&session, options.file)?;
            let run_options = Arc::new(Options(run_options().map_err(load_error)?));
            let run_memory = options.run_memory;
            sessions.push(Box::new(OrtSession { session, signature, run_options, run_memory }));
        }
        Ok(sessions)
    }

    fn version(&self) -> &str {
        &self.library.version
    }
}

impl OrtEngine {
    #[cfg(target_os = "linux")]
    fn load_isolated(
        &self,
        path: &Path,
        options: &LoadOptions<'_>,
        isolation: &Isolation,
    ) -> Result<Vec<Box<dyn Session>>> {
        isolation::load(&self.program, &self.library.path, path, options, isolation)
    }

    #[cfg(not(target_os = "linux"))]
    fn load_isolated(&self, _: &Path, _: &LoadOptions<'_>, _: &Isolation) -> Result<Vec<Box<dyn Session>>> {
        let system = std::env::consts::OS;
        Err(Error::invalid(format!("[instances] isolate = true: expected Linux, but this system is {system}")))
    }
}

fn configure(environment: &Environment, options: &LoadOptions<'_>) -> ort::Result<SessionBuilder> {
    Ok(ort::session::Session::builder(environment)?
        .with_intra_threads(options.intra_op_threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_env_allocators()?
        // The pattern is planned for one shape; with several it keeps the worst that it ever saw.
        .with_memory_pattern(options.file.fixed_shapes)?
        .with_config_entry(FOLDING_LIMIT, options.file.folding_limit_bytes.to_string())?)
}

/// Options for runs that log no error: the run returns it, and most come from the values of a client.
fn run_options() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    options.set_log_level(LogLevel::Fatal)?;
    Ok(options)
}

struct OrtSession {
    session: ort::session::Session,
    signature: Signature,
    run_options: Arc<Options>,
    run_memory: &'static RunMemory,
}

/// Options that can end the run they are used in.
struct Options(RunOptions);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Options")
    }
}

impl Terminate for Options {
    fn terminate(&self) {
        if let Err(error) = self.0.terminate() {
            tracing::warn!("a run could not be terminated: {error}");
        }
    }

    fn reset(&self) {
        if let Err(error) = self.0.unterminate() {
            tracing::error!("runs that follow one that was terminated will fail: {error}");
        }
    }
}

impl Session for OrtSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        let mut values = SmallVec::<[SessionInputValue<'_>; 4]>::new();
        for input in inputs {
            values.push(convert::to_runtime(input)?);
        }
        let charging = self.run_memory.charge();
        let outputs = self.session.run_with_options(&values[..], &self.run_options.0);
        let outputs = outputs.map_err(|error| charging.refusal().unwrap_or_else(|| run_error(error)))?;
        let converted = self.signature.outputs.iter().enumerate();
        converted.map(|(index, spec)| convert::from_runtime(&outputs[index], spec, &charging)).collect()
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::clone(&self.run_options) as _
    }
}

/// A model that cannot be loaded: the reason is for whoever put it there.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn load_error<R>(error: ort::Error<R>) -> Error {
    let message = error.message();
    let remedy = if message.contains("locale") {
        "; the model lower-cases text and needs that locale installed (on Debian: locales-all)"
    } else {
        ""
    };
    Error::invalid(format!("ONNX Runtime cannot load it: {}{remedy}", one_line(message)))
}
