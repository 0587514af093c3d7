//! onnxd serves ONNX models over HTTP and gRPC.
//!
//! The life of a request: bytes are decoded by a protocol ([`protocol`]) into an [`request::InferRequest`], checked against
//! the model's signature into a [`request::ValidRequest`], queued in the model's lane ([`batching`]), run by its session
//! ([`engine`]), and the outputs are encoded by the protocol again. [`serving`] is the one door all protocols go through.
//!
//! A module imports only what stands below it in this list; [`config`], [`metrics`], [`logging`] and [`cpu`] stand
//! beside it. ARCHITECTURE.md has the drawing.

pub mod cli;
pub mod server;

pub mod transport;

pub mod edge;
pub mod protocol;

pub mod json;
pub mod serving;

pub mod batching;
pub mod engine;
pub mod request;

pub mod model;
pub mod tensor;

pub mod error;

pub mod config;
pub mod cpu;
pub mod logging;
pub mod metrics;
