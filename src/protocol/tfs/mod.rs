//! TensorFlow Serving's REST bodies, and those of KServe's first protocol, which uses the same paths.
//!
//! Both protocols' clients find the keys that they look for in one body. Signatures are the graph's inputs and outputs
//! under the name `serving_default`.

pub mod decode;
pub mod encode;
pub mod instances;
pub mod verb;
