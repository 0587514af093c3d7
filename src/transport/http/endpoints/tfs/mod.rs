//! TensorFlow Serving's REST API, and KServe's first protocol, which uses the same paths: `/v1/models/…`.
//!
//! The bodies are in `protocol/tfs`.

pub mod metadata;
pub mod path;
pub mod predict;
pub mod status;
