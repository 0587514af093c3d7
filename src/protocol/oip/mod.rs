//! The Open Inference Protocol (KServe V2) with Triton's extensions, before it is REST or gRPC.
//!
//! What a request may say, what a client sees of models, and the words of refusal that clients look for. A transport
//! parses its own wire form, hands the parts to [`inputs`] and [`outputs`], and writes what they give. Knows no axum, no
//! status and no JSON text; a rule that both transports share belongs here.

pub mod classification;
pub mod config;
pub mod index;
pub mod inputs;
pub mod metadata;
pub mod models;
pub mod outputs;
pub mod raw;
pub mod statistics;
pub mod typed;
