//! The Open Inference Protocol's messages over gRPC.

pub mod decode;
pub mod describe;
