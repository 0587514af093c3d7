//! What models may take of the memory, and the defaults that come from what the process may use.

use std::path::Path;

use clap::Args;

use crate::{config::value::size_bytes, cpu};

/// What models may take of the memory.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Limits")]
pub struct MemorySettings {
    /// Most memory that the runs of all models hold together, with the answers made of them. A run
    /// that needs more is answered 413, or 429 where other runs hold the rest [default: half of the
    /// memory limit, or of the machine's memory]
    #[arg(long, value_name = "SIZE", env = "ONNXD_MAX_RUN_MEMORY", value_parser = size_bytes)]
    pub max_run_memory: Option<usize>,
    /// Largest model, its external data included; a larger one is not loaded [default: the half of the
    /// memory limit, or of the machine's memory]
    #[arg(long, value_name = "SIZE", env = "ONNXD_MAX_MODEL_BYTES", value_parser = size_bytes)]
    pub max_model_bytes: Option<usize>,
}

impl MemorySettings {
    /// Returns the bytes that runs may hold.
    pub fn run_bytes(&self) -> usize {
        self.max_run_memory.unwrap_or_else(half_of_usable)
    }

    /// Returns the bytes that a model may have.
    pub fn model_bytes(&self) -> usize {
        self.max_model_bytes.unwrap_or_else(half_of_usable)
    }
}

/// Runs get one half, and models the other.
fn half_of_usable() -> usize {
    cpu::usable_memory_bytes(Path::new("/")) / 2
}
