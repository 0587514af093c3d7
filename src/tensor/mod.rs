//! Values: an element type, a shape and the data, checked once when they are put together.
//!
//! Knows nothing of models, protocols or ONNX Runtime. A rule about numbers or shapes that holds for
//! every model belongs here.

pub mod data_type;
pub mod shape;
#[expect(clippy::module_inception, reason = "the file holds the type that the module is named for")]
pub mod tensor;
