//! gRPC: the Open Inference Protocol, `onnxd.v1.PredictionService`, health and reflection, all answered by
//! [`app::GrpcApp`].
//!
//! A service here is a decoder and an encoder, as every protocol: what predictions have in common is
//! `edge/prediction.rs`'s, and which code an error has is said in `edge/error.rs`. A new service is added to `app.rs`, and its
//! `.proto` to `build.rs`; metrics, reflection and health then know it by its descriptor.

mod answer_body;
pub mod app;
pub mod arriving;
mod call;
mod health;
pub mod inference;
mod methods;
mod predict;
mod request_body;
mod timeout;
