//! The settings of `isolated-session`, which `[instances] isolate = true` starts.

use std::path::PathBuf;

use clap::Args;

/// The settings of `isolated-session`.
#[derive(Args, Clone, Debug)]
pub struct IsolatedSessionSettings {
    /// Name of the model, for people who list processes
    #[arg(value_name = "MODEL")]
    pub model: String,
    /// The ONNX Runtime library that the parent uses
    #[arg(long, value_name = "FILE")]
    pub onnxruntime: PathBuf,
}
