//! Requests whose tensors have no elements along an open dimension: several operators crash on them.
//!
//! Rows of features: no rows are answered without a run. Any other model is tried first, in a process of its own: the first
//! request of each kind runs there. What lived goes to the lane from then on; what crashed is refused.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use smallvec::SmallVec;

use crate::{
    batching::{
        lane::{Lane, LaneKind, LaneSettings},
        policy::Limits,
        queue::QueueLimits,
        watchdog::Watchdog,
    },
    engine::{Engine, Isolation, LoadOptions, Session, Terminate, run_memory::RunMemory},
    error::{Error, ErrorKind, Result},
    metrics::{Loaded, Metrics},
    model::{
        name::{ModelName, ModelVersion},
        onnx_file::OnnxFile,
        schema::Schema,
        signature::{Dim, OutputSpec, Signature},
    },
    request::{InferResponse, Tensors, ValidRequest},
    tensor::{shape::Shape, tensor::Tensor},
};

/// The most kinds of one model whose outcome is kept; further ones are tried each time.
const MAX_KINDS: usize = 256;
/// The most requests of one model that wait to be tried.
const MAX_WAITING: usize = 16;

/// The open dimensions that are zero, as pairs of input and axis, in this order.
type Kind = SmallVec<[(usize, usize); 2]>;

/// What is known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Lived,
    Crashed,
}

pub(super) enum Way<'a> {
    /// It runs as all others do.
    Usual,
    Answer(InferResponse),
    /// It is tried first, on this lane.
    Trial(&'a Lane),
}

/// Tries one model. Has a thread once something was tried, and a process only while it tries.
pub(super) struct Trials {
    subject: Arc<Subject>,
    lane: OnceLock<Lane>,
}

/// The model that is tried.
pub(super) struct Subject {
    pub(super) engine: Arc<dyn Engine>,
    /// Held by the one model that has a process for a trial.
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) name: ModelName,
    pub(super) version: ModelVersion,
    pub(super) path: PathBuf,
    pub(super) file: Arc<OnnxFile>,
    pub(super) schema: Arc<Schema>,
    pub(super) intra_op_threads: usize,
    pub(super) run_memory: &'static RunMemory,
    pub(super) watchdog: Arc<Watchdog>,
    /// What was found out so far.
    pub(super) outcomes: Outcomes,
}

#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<HashMap<Kind, Outcome>>);

impl Trials {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject: Arc::new(subject), lane: OnceLock::new() }
    }

    /// Says where a request goes that has a tensor without elements.
    ///
    /// # Errors
    /// `InvalidArgument` where it has no rows and the outputs' shapes are not known, or where its kind has crashed.
    pub(super) fn way(&self, request: &ValidRequest) -> Result<Way<'_>> {
        let schema = &self.subject.schema;
        let kind = kind_of(request.inputs(), &schema.signature);
        if kind.is_empty() {
            return Ok(Way::Usual);
        }
        if schema.rows.is_some() && request.rows() == 0 {
            let outputs: Option<Tensors> = schema.signature.outputs.iter().map(no_rows).collect::<Result<_>>()?;
            // A row of unknown width is tried.
            if let Some(outputs) = outputs {
                return Ok(Way::Answer(InferResponse { outputs }));
            }
        }
        match self.subject.outcomes.of(&kind) {
            Some(Outcome::Lived) => Ok(Way::Usual),
            Some(Outcome::Crashed) => Err(refusal(&kind, request.inputs(), &schema.signature)),
            None => self.lane().map(Way::Trial),
        }
    }

    fn lane(&self) -> Result<&Lane> {
        match self.lane.get() {
            Some(lane) => Ok(lane),
            None => {
                let lane = start_lane(&self.subject)?;
                // Another request may have started one meanwhile; then this one ends again.
                Ok(self.lane.get_or_init(|| lane))
            }
        }
    }
}

impl fmt::Debug for Trials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trials").field("outcomes", &self.subject.outcomes).finish_non_exhaustive()
    }
}

fn start_lane(subject: &Arc<Subject>) -> Result<Lane> {
    // A trial takes as long as loading does: it is not what the model's metrics are about.
    let metrics = Metrics::new(subject.engine.version())?.model(&Loaded {
        name: &subject.name,
        version: subject.version,
        sha256: "",
        load_time: Duration::ZERO,
        instances: 1,
        max_queue_size: MAX_WAITING,
        restarts: None,
    });
    let settings = LaneSettings {
        kind: LaneKind::Worker,
        batched: false,
        limits: Limits { max_batch_rows: 1, max_queue_delay: Duration::ZERO },
        queue: QueueLimits { max_queue_size: MAX_WAITING, max_queue_wait: Duration::ZERO },
        hold: None,
    };
    let session = TrialSession { subject: Arc::clone(subject), terminate: Arc::default() };
    Lane::start(&format!("try-{}", subject.name), vec![Box::new(session)], settings, metrics, &subject.watchdog)
}

fn kind_of(inputs: &[Tensor], signature: &Signature) -> Kind {
    let mut kind = Kind::new();
    for (index, (input, spec)) in inputs.iter().zip(&signature.inputs).enumerate() {
        let is_open =
            |axis: usize| spec.dims.as_ref().is_none_or(|dims| matches!(dims.get(axis), Some(Dim::Dynamic(_))));
        let empty = input.shape().iter().enumerate().filter(|(axis, size)| **size == 0 && is_open(*axis));
        kind.extend(empty.map(|(axis, _)| (index, axis)));
    }
    kind
}

/// Makes an output of no rows; `None` where the graph leaves the width of a row open.
fn no_rows(output: &OutputSpec) -> Result<Option<Tensor>> {
    let unknown = || {
        let name = &output.tensor.name;
        Error::invalid(format!(
            "expected at least 1 row, but got 0: the model leaves the shape of output {name:?} open"
        ))
    };
    let Some([Dim::Dynamic(_), columns @ ..]) = output.tensor.dims.as_deref() else { return Err(unknown()) };
    let Some(columns) = columns.iter().map(Dim::fixed).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let shape: Shape = [0].into_iter().chain(columns).collect();
    Tensor::zeros(output.tensor.data_type, shape).map(Some)
}

fn refusal(kind: &Kind, inputs: &[Tensor], signature: &Signature) -> Error {
    let (index, axis) = kind.first().copied().unwrap_or_default();
    let (spec, shape) = (&signature.inputs[index], inputs[index].shape());
    Error::invalid(format!(
        "input {:?}: expected at least one element along axis {axis}, got {} {shape}: the model crashed on such an input when \
         onnxd tried it in a separate process",
        spec.name, spec.data_type
    ))
}

impl Outcomes {
    fn of(&self, kind: &Kind) -> Option<Outcome> {
        self.lock().get(kind).copied()
    }

    fn keep(&self, kind: Kind, outcome: Outcome) {
        let mut outcomes = self.lock();
        if outcomes.len() < MAX_KINDS {
            outcomes.insert(kind, outcome);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads the model into a process for each run.
struct TrialSession {
    subject: Arc<Subject>,
    terminate: Arc<TrialTerminate>,
}

impl Session for TrialSession {
    fn signature(&self) -> &Signature {
        &self.subject.schema.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        let Subject { engine, turn, name, path, file, outcomes, .. } = &*self.subject;
        let kind = kind_of(inputs, self.signature());
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        // The request that was tried before this one may have been of its kind.
        if outcomes.of(&kind) == Some(Outcome::Crashed) {
            return Err(refusal(&kind, inputs, self.signature()));
        }
        let isolation = Isolation { model: name.to_string(), ..Isolation::default() };
        let options = LoadOptions {
            instances: 1,
            intra_op_threads: self.subject.intra_op_threads,
            file,
            run_memory: self.subject.run_memory,
            isolation: Some(&isolation),
        };
        let unavailable = "the model cannot be loaded again to try an input without elements; the log has the cause";
        let sessions = engine.load(path, &options);
        let mut sessions = sessions.map_err(|error| Error::unavailable(unavailable).with_source(error))?;
        let session = sessions.first_mut().ok_or_else(|| Error::internal("the engine loaded nothing"))?;
        self.terminate.follow(session.terminator());
        match session.run(inputs) {
            Ok(outputs) => {
                // Values choose what a subgraph runs: others of this kind may still crash.
                if !file.has_subgraphs {
                    outcomes.keep(kind, Outcome::Lived);
                }
                Ok(outputs)
            }
            // A run that was terminated may have been killed for it.
            Err(error) if error.kind() == ErrorKind::Crashed && !self.terminate.is_terminated() => {
                let refusal = refusal(&kind, inputs, self.signature());
                tracing::warn!(model = %name, "model {name} refuses such requests from now on: {refusal}");
                outcomes.keep(kind, Outcome::Crashed);
                Err(refusal)
            }
            Err(error) => Err(error),
        }
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::clone(&self.terminate) as _
    }
}

/// Terminates whichever process a trial has, and one that begins after it was told to.
#[derive(Debug, Default)]
struct TrialTerminate(Mutex<Termination>);

#[derive(Debug, Default)]
struct Termination {
    is_terminated: bool,
    process: Option<Arc<dyn Terminate>>,
}

impl TrialTerminate {
    fn follow(&self, process: Arc<dyn Terminate>) {
        let mut state = self.lock();
        if state.is_terminated {
            process.terminate();
        }
        state.process = Some(process);
    }

    fn is_terminated(&self) -> bool {
        self.lock().is_terminated
    }

    fn lock(&self) -> MutexGuard<'_, Termination> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Terminate for TrialTerminate {
    fn terminate(&self) {
        let mut state = self.lock();
        state.is_terminated = true;
        if let Some(process) = &state.process {
            process.terminate();
        }
    }

    fn reset(&self) {
        *self.lock() = Termination::default();
    }
}
