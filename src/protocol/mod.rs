//! Wire protocols: decoders from bodies to requests, and encoders back. Knows no transport.

pub mod codec;
pub mod frame;
mod message_memory;
pub mod mlflow;
pub mod native;
pub mod oip;
pub mod oip_grpc;
pub mod oip_rest;
pub mod prediction_service;
pub mod proto;
pub mod tfs;
