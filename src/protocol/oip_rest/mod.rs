//! The Open Inference Protocol's bodies over REST: JSON, and Triton's binary tensors after it.

pub mod binary;
pub mod decode;
mod decode_input;
pub mod encode;
mod parameters;
