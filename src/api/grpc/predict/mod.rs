//! `onnxd.v1.PredictionService`: rows of features in, predictions out.

pub mod decode;
mod element;
mod encode;
pub(super) mod service;
