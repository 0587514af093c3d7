//! An engine whose sessions do as a test tells them: wait, fail, panic, or answer at once.

use std::{
    fs, hint,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use onnxd::{
    engine::{Engine, LoadOptions, Session, Terminate},
    error::{Error, Result},
    model::signature::{Dim, OutputSpec, Signature, TensorSpec},
    request::Tensors,
    tensor::{data_type::DataType, shape::Shape, tensor::Tensor},
};
use tempfile::TempDir;

use crate::{harness::PATIENCE, onnx};

const FLOAT: i32 = 1;

/// What the fake engine calls its version.
pub const FAKE_VERSION: &str = "0.0.0-fake";

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// Answers the first feature of each row.
    Echo,
    /// Panics.
    Panic,
    /// Fails as the runtime would.
    Fail,
    /// Fails if the first feature of any row is negative.
    FailOnNegative,
    /// Panics if the first feature of any row is negative.
    PanicOnNegative,
}

/// How long a run takes at least, so that one of many rows is measured to take no longer than one of a single row.
const RUN_TIME: Duration = Duration::from_micros(20);

/// Control over the sessions of a [`FakeEngine`], shared with the test.
#[derive(Debug)]
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    run: Run,
    gate_open: bool,
    passes: usize,
    load_open: bool,
    rows: Vec<usize>,
    /// How often each session has run.
    runs_by_session: Vec<usize>,
    terminate: bool,
    terminated: usize,
}

/// Serves any real `.onnx` file as a regression on two FP32 features `a` and `b`.
#[derive(Clone, Debug)]
pub struct FakeEngine(pub Arc<Control>);

impl FakeEngine {
    /// Makes an engine whose runs answer at once.
    pub fn new() -> Self {
        let state = State {
            run: Run::Echo,
            gate_open: true,
            passes: 0,
            load_open: true,
            rows: Vec::new(),
            runs_by_session: Vec::new(),
            terminate: false,
            terminated: 0,
        };
        Self(Arc::new(Control { state: Mutex::new(state), changed: Condvar::new() }))
    }
}

/// Makes a repository of models for a [`FakeEngine`], each with this model.toml.
pub fn fake_repository(names: &[&str], manifest: &str) -> TempDir {
    let folder = TempDir::new().expect("there is room for a folder");
    for name in names {
        let version = folder.path().join(name).join("1");
        fs::create_dir_all(&version).expect("the folder can be made");
        // Its graph promises what the fake session gives: one value a row.
        fs::write(version.join("model.onnx"), onnx::identity(FLOAT, &[-1, 1])).expect("the file can be written");
        fs::write(folder.path().join(name).join("model.toml"), manifest).expect("the file can be written");
    }
    folder
}

impl Control {
    /// Sets what runs do from now on.
    pub fn set_run(&self, run: Run) {
        self.change(|state| state.run = run);
    }

    /// Makes runs wait until the gate is opened.
    pub fn close_gate(&self) {
        self.change(|state| state.gate_open = false);
    }

    /// Lets waiting and later runs through.
    pub fn open_gate(&self) {
        self.change(|state| state.gate_open = true);
    }

    /// Lets one run through a closed gate.
    pub fn let_one_through(&self) {
        self.change(|state| state.passes += 1);
    }

    /// Makes loading wait until it is opened.
    pub fn close_load(&self) {
        self.change(|state| state.load_open = false);
    }

    /// Lets loading go on.
    pub fn open_load(&self) {
        self.change(|state| state.load_open = true);
    }

    /// Returns how many runs have started.
    pub fn started(&self) -> usize {
        self.state.lock().unwrap().rows.len()
    }

    /// Returns the rows of each run that has started.
    pub fn rows(&self) -> Vec<usize> {
        self.state.lock().unwrap().rows.clone()
    }

    /// Returns how often each session has run, in the order of their loading.
    pub fn runs_by_session(&self) -> Vec<usize> {
        self.state.lock().unwrap().runs_by_session.clone()
    }

    /// Returns how many runs were terminated.
    pub fn terminated(&self) -> usize {
        self.state.lock().unwrap().terminated
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }
}

impl Engine for FakeEngine {
    fn load(&self, _path: &Path, options: &LoadOptions<'_>) -> Result<Vec<Box<dyn Session>>> {
        let state = self.0.state.lock().unwrap();
        // A test that fails leaves it closed; it must not hang for that.
        let (mut state, _) = self.0.changed.wait_timeout_while(state, PATIENCE, |state| !state.load_open).unwrap();
        let loaded = state.runs_by_session.len();
        let indices = loaded..loaded + options.instances;
        state.runs_by_session.resize(indices.end, 0);
        drop(state);
        let tensor = |name: &str, width| TensorSpec {
            name: name.into(),
            data_type: DataType::Fp32,
            dims: Some(vec![Dim::Dynamic(None), Dim::Fixed(width)]),
        };
        let signature = Signature {
            inputs: vec![tensor("a", 1), tensor("b", 1)],
            outputs: vec![OutputSpec { tensor: tensor("value", 1), map_keys: None }],
        };
        let session = |index| -> Box<dyn Session> {
            Box::new(FakeSession { signature: signature.clone(), control: Arc::clone(&self.0), index })
        };
        Ok(indices.map(session).collect())
    }

    fn version(&self) -> &str {
        FAKE_VERSION
    }
}

struct FakeSession {
    signature: Signature,
    control: Arc<Control>,
    index: usize,
}

impl Session for FakeSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors> {
        let mut state = self.control.state.lock().unwrap();
        let started = Instant::now();
        let values = inputs[0].as_slice::<f32>().unwrap().to_vec();
        state.rows.push(values.len());
        state.runs_by_session[self.index] += 1;
        let run = state.run;
        let waiting = |state: &mut State| !state.gate_open && state.passes == 0 && !state.terminate;
        let (mut state, _) = self.control.changed.wait_timeout_while(state, PATIENCE, waiting).unwrap();
        if state.terminate {
            return Err(Error::internal("terminated"));
        }
        if !state.gate_open {
            state.passes = state.passes.saturating_sub(1);
        }
        drop(state);
        while started.elapsed() < RUN_TIME {
            hint::spin_loop();
        }
        let negative = values.iter().any(|value| *value < 0.0);
        match run {
            Run::Panic => panic!("the fake session was told to panic"),
            Run::PanicOnNegative if negative => panic!("the fake session was told to panic"),
            Run::Fail => Err(Error::internal("node Gemm_7 ran out of /secret/path")),
            Run::FailOnNegative if negative => Err(Error::internal("node Sqrt_3 took a negative value")),
            Run::Echo | Run::FailOnNegative | Run::PanicOnNegative => {
                Ok([Tensor::from_vec(Shape::new(&[values.len(), 1]), values)?].into_iter().collect())
            }
        }
    }

    fn terminator(&self) -> Arc<dyn Terminate> {
        Arc::clone(&self.control) as _
    }
}

impl Terminate for Control {
    fn terminate(&self) {
        self.change(|state| {
            state.terminate = true;
            state.terminated += 1;
        });
    }

    fn reset(&self) {
        self.change(|state| state.terminate = false);
    }
}
