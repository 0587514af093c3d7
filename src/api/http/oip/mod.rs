//! The Open Inference Protocol (KServe V2) over REST, with Triton's extensions.
//!
//! A decoder, an encoder and the handlers around them; what a request may say and what it is told is in `api/oip`.

pub mod binary;
pub mod control;
pub mod decode;
mod decode_input;
pub mod encode;
pub mod infer;
pub mod models;
mod parameters;
