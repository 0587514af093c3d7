//! What runs a model, behind two traits, so that everything above can be tested without ONNX Runtime.
//!
//! The only place that names `ort`. `unsafe` stands here, each block with its reason, and once in `main.rs`.

pub mod convert;
mod dims;
#[cfg(target_os = "linux")]
pub mod isolation;
pub mod library;
mod memory;
pub mod onnx_runtime;
mod run_error;
pub mod run_memory;
mod sharing;
mod strings;

use std::{
    fmt,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
};

use crate::{
    engine::run_memory::RunMemory,
    error::Result,
    model::{onnx_file::OnnxFile, signature::Signature},
    request::Tensors,
    tensor::tensor::Tensor,
};

/// Loads models. One engine serves the whole process.
pub trait Engine: Send + Sync {
    /// Loads the instances of the model at `path`. Blocks; may take seconds.
    ///
    /// # Errors
    /// `InvalidArgument` with the reason where the file is not a model that this engine can run.
    fn load(&self, path: &Path, options: &LoadOptions<'_>) -> Result<Vec<Box<dyn Session>>>;

    /// Returns the runtime's version, as `1.31.1`.
    fn version(&self) -> &str;
}

/// What to load a model with.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// How many instances; they share what the runtime lets them share.
    pub instances: usize,
    /// The threads that one run uses.
    pub intra_op_threads: usize,
    /// What the file says of itself.
    pub file: &'a OnnxFile,
    pub run_memory: &'static RunMemory,
    /// Runs the instances in processes of their own.
    pub isolation: Option<&'a Isolation>,
}

/// How the processes of a model are known to others.
#[derive(Clone, Debug, Default)]
pub struct Isolation {
    /// The model's name, for the log and for lists of processes.
    pub model: String,
    /// Counts how often a process was started again.
    pub restarts: Arc<AtomicU64>,
}

/// A loaded model. Whoever owns it runs it: runs of one session never overlap.
pub trait Session: Send {
    /// Returns the inputs and outputs.
    fn signature(&self) -> &Signature;

    /// Runs the model once. `inputs` and the outputs are in signature order. Blocks for as long as the model takes.
    ///
    /// # Errors
    /// `InvalidArgument` where a node refuses the values or shapes that reach it (an index out of range, say), `PayloadTooLarge`
    /// or `Overloaded` where the run needs more memory than is left of what runs may hold, else `Internal`.
    fn run(&mut self, inputs: &[Tensor]) -> Result<Tensors>;

    /// Returns what ends runs of this session from another thread.
    fn terminator(&self) -> Arc<dyn Terminate>;

    /// Returns what reports outages, where this session can have any.
    fn outage(&self) -> Option<Arc<dyn Outage>> {
        None
    }
}

/// Reports whether a session can run now, to any thread.
pub trait Outage: fmt::Debug + Send + Sync {
    /// Returns why every run fails now, or `None` while runs can succeed.
    fn reason(&self) -> Option<String>;
}

/// Ends a session's runs.
///
/// A run does not take back by itself what was asked before it began: whoever asked may have meant just this run, and have
/// been early.
pub trait Terminate: fmt::Debug + Send + Sync {
    /// Makes the run that is on fail soon, or the next one if none is on; does not wait for it. Holds until [`Self::reset`].
    fn terminate(&self);

    /// Lets runs go through again.
    fn reset(&self);
}
