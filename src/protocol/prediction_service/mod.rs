//! The messages of `onnxd.v1.PredictionService`: rows of features in, predictions out.

pub mod decode;
mod element;
pub mod encode;
