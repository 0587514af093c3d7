//! Models on ONNX Runtime, through `ort`.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{RunOptions, SessionInputValue, builder::SessionBuilder},
};
use smallvec::SmallVec;

use crate::{
    config::LibraryCandidate,
    engine::{
        Engine, LoadOptions, Session, Terminate, convert,
        library::{self, Library},
        memory,
        sharing::SharedWeights,
    },
    error::{Error, ErrorKind, Result},
    model::signature::Signature,
    request::Tensors,
    tensor::tensor::Tensor,
};

/// The environment lives as long as the process: `ort` allows one, and refuses a second even after the first is gone.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// ONNX Runtime, loaded.
#[derive(Debug)]
pub struct OrtEngine {
    environment: &'static Environment,
    library: Library,
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
                .map_err(runtime_error)?;
            // Below warnings the runtime logs every node it optimises, through a callback a line.
            environment.set_log_level(LogLevel::Warning);
            Ok(environment)
        };
        let environment = match ENVIRONMENT.get() {
            Some(environment) => environment,
            None => {
                let built = build()?;
                ENVIRONMENT.get_or_init(|| built)
            }
        };
        Ok(Self { environment, library, loading: Mutex::new(()) })
    }

    /// Returns the library in use.
    pub fn library(&self) -> &Library {
        &self.library
    }
}

impl Engine for OrtEngine {
    fn load(&self, path: &Path, options: &LoadOptions<'_>) -> Result<Vec<Box<dyn Session>>> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = SharedWeights::read(path, options.instances)?;
        let mut sessions: Vec<Box<dyn Session>> = Vec::with_capacity(options.instances);
        for _ in 0..options.instances {
            let builder = configure(self.environment, options).and_then(|builder| shared.give(builder));
            let session = builder.map_err(load_error)?.commit_from_file(path).map_err(load_error)?;
            memory::give_back();
            let signature = convert::signature(&session, options.file)?;
            let run_options = Arc::new(Options(run_options().map_err(load_error)?));
            sessions.push(Box::new(OrtSession { session, signature, run_options }));
        }
        Ok(sessions)
    }

    fn version(&self) -> &str {
        &self.library.version
    }
}

fn configure(environment: &Environment, options: &LoadOptions<'_>) -> ort::Result<SessionBuilder> {
    Ok(ort::session::Session::builder(environment)?
        .with_intra_threads(options.intra_op_threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // The pattern is planned for one shape; with several it keeps the worst that it ever saw.
        .with_memory_pattern(options.file.fixed_shapes)?)
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
        let outputs = self.session.run_with_options(&values[..], &self.run_options.0).map_err(runtime_error)?;
        let converted = self.signature.outputs.iter().enumerate();
        converted.map(|(index, spec)| convert::from_runtime(&outputs[index], spec)).collect()
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

/// A run that failed: invalid-argument errors of a checked request come from the values, and the client may know why.
pub(super) fn runtime_error(error: ort::Error) -> Error {
    if error.code() != ort::ErrorCode::InvalidArgument {
        return Error::internal(error);
    }
    let message = error.message();
    let reason = message.split_once("Status Message: ").map_or(message, |(_, reason)| reason);
    Error::new(ErrorKind::InvalidArgument, format!("the model cannot run on this input: {}", one_line(reason)))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
