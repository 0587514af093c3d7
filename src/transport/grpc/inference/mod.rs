//! `inference.GRPCInferenceService`: the Open Inference Protocol. The messages are in `protocol/oip_grpc`.

mod infer;
pub(super) mod service;
mod stream;
