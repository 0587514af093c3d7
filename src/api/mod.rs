//! Protocols: decoders from bytes to requests and encoders back. The only place that names axum, tonic and status codes.

pub mod error;
pub mod grpc;
pub mod http;
pub mod json;
pub mod oip;
pub mod prediction;
