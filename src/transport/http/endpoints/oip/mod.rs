//! The Open Inference Protocol (KServe V2) over REST, with Triton's extensions.
//!
//! The bodies are in `protocol/oip_rest`; what REST and gRPC share is in `protocol/oip`.

pub mod control;
pub mod infer;
pub mod models;
