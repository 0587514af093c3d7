//! `inference.GRPCInferenceService`: the Open Inference Protocol. What it has in common with REST is in `api/oip`.

pub mod decode;
mod describe;
mod infer;
pub(super) mod service;
mod stream;
