//! What the tests of the lanes share: a session that does as it is told, and requests that tell who sent them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use crate::{
    batching::{
        lane::{Lane, LaneKind, LaneSettings},
        policy::Limits,
        queue::QueueLimits,
        run::Hold,
        watchdog::Watchdog,
    },
    engine::{Session, Terminate},
    error::Result,
    metrics::{Loaded, Metrics, ModelMetrics},
    model::signature::{Dim, OutputSpec, Signature, TensorSpec},
    request::{InferRequest, InferResponse, InputTensor, Tensors, ValidRequest},
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};

/// A session that answers its input `x`, of any number of rows and columns.
struct Echo {
    signature: Signature,
    /// Called with the rows and the values of each run, before it answers.
    before: Arc<Before>,
}

type Before = dyn Fn(usize, &[f32]) -> Result<()> + Send + Sync;

#[derive(Debug)]
struct Never;

impl Terminate for Never {
    fn terminate(&self) {}

    fn reset(&self) {}
}

impl Session for Echo {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        (self.before)(inputs[0].shape()[0], inputs[0].as_slice().unwrap())?;
        Ok(inputs.iter().cloned().collect())
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::new(Never)
    }
}

fn signature() -> Signature {
    let tensor = |name: &str| TensorSpec {
        name: name.into(),
        data_type: DataType::Fp32,
        dims: Some(vec![Dim::Dynamic(None), Dim::Dynamic(None)]),
    };
    Signature { inputs: vec![tensor("x")], outputs: vec![OutputSpec { tensor: tensor("y"), map_keys: None }] }
}

/// A lane over sessions that echo, with its metrics.
pub(super) struct TestLane {
    pub(super) lane: Lane,
    pub(super) metrics: Arc<ModelMetrics>,
    /// The rows of each run.
    pub(super) runs: Arc<Mutex<Vec<usize>>>,
    _watchdog: Watchdog,
}

/// What a test lane is like.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    pub(super) kind: LaneKind,
    pub(super) instances: usize,
    pub(super) max_batch_rows: usize,
    pub(super) max_queue_delay: Duration,
    pub(super) max_queue_size: usize,
    pub(super) max_queue_wait: Duration,
    pub(super) hold: Option<Hold>,
}

impl Setting {
    pub(super) fn of(kind: LaneKind) -> Self {
        Self {
            kind,
            instances: 1,
            max_batch_rows: 8,
            max_queue_delay: Duration::ZERO,
            max_queue_size: 1024,
            max_queue_wait: Duration::ZERO,
            hold: None,
        }
    }

    pub(super) fn start(self) -> TestLane {
        self.start_with(|_values| Ok(()))
    }

    /// Starts a lane whose runs call `before` with their values first.
    pub(super) fn start_with(self, before: impl Fn(&[f32]) -> Result<()> + Send + Sync + 'static) -> TestLane {
        let Self { kind, instances, max_batch_rows, max_queue_delay, max_queue_size, max_queue_wait, hold } = self;
        let runs = Arc::new(Mutex::new(Vec::new()));
        let before = {
            let runs = Arc::clone(&runs);
            Arc::new(move |rows, values: &[f32]| {
                runs.lock().unwrap().push(rows);
                before(values)
            })
        };
        let session = |_| {
            let before = Arc::clone(&before) as Arc<_>;
            Box::new(Echo { signature: signature(), before }) as Box<dyn Session>
        };
        let limits = Limits { max_batch_rows, max_queue_delay };
        let queue = QueueLimits { max_queue_size, max_queue_wait };
        let settings = LaneSettings { kind, batched: true, limits, queue, hold };
        let metrics = Metrics::new("test").unwrap();
        let metrics = metrics.model(&Loaded {
            name: &"echo".parse().unwrap(),
            version: "1".parse().unwrap(),
            sha256: "",
            load_time: Duration::ZERO,
            instances,
            max_queue_size,
            restarts: None,
        });
        let sessions = (0..instances).map(session).collect();
        let watchdog = Watchdog::default();
        let lane = Lane::start("echo", sessions, settings, Arc::clone(&metrics), &watchdog).unwrap();
        TestLane { lane, metrics, runs, _watchdog: watchdog }
    }
}

impl TestLane {
    pub(super) fn run<'a>(&'a self, values: &[f32]) -> impl Future<Output = Result<InferResponse>> + use<'a> {
        self.lane.run(request(values.len(), values), None)
    }

    pub(super) fn run_until<'a>(
        &'a self,
        values: &[f32],
        deadline: Instant,
    ) -> impl Future<Output = Result<InferResponse>> + use<'a> {
        self.lane.run(request(values.len(), values), Some(deadline))
    }

    pub(super) fn runs(&self) -> Vec<usize> {
        self.runs.lock().unwrap().clone()
    }
}

/// Makes a request of so many rows.
pub(super) fn request(rows: usize, values: &[f32]) -> ValidRequest {
    let tensor = Tensor::from_vec(Shape::new(&[rows, values.len() / rows]), values.to_vec()).unwrap();
    let inputs = [InputTensor { name: "x".into(), tensor }].into_iter().collect();
    ValidRequest::new(InferRequest { inputs }, &signature()).unwrap()
}

/// Returns the values of an answer.
pub(super) fn values(response: &InferResponse) -> &[f32] {
    response.outputs[0].as_slice().unwrap()
}

/// Polls once; whoever polls so looks again by itself.
pub(super) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
