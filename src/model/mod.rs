//! What a model is: its names, its signature, what its values mean, and where it lies on disk.
//!
//! Knows nothing of ONNX Runtime or of any protocol. `repository`, `staged` and `regular_file` read the disk; the rest is plain data.

pub mod golden;
pub mod manifest;
pub mod name;
pub mod observed;
pub mod onnx_file;
pub mod regular_file;
pub mod repository;
#[cfg(test)]
mod repository_tests;
pub mod rows;
pub mod schema;
pub mod signature;
pub mod staged;
pub mod task;
