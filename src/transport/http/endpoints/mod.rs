//! The handlers of HTTP, a folder a protocol.

pub mod mlflow;
pub mod native;
pub mod oip;
pub mod tfs;
