//! The verbs of TensorFlow Serving: `model:predict`, `model:classify`, `model:regress`.

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Its outputs for tensors.
    Predict,
    /// The classes of examples, with their scores.
    Classify,
    /// The values of examples.
    Regress,
}
