//! What all targets have in common: the models that bodies are for, and what must be true of every body.
//!
//! The first byte of a target's input picks the model; the rest is the target's own.

pub mod memory;
pub mod models;
pub mod promises;
