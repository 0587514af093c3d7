//! The verbs of TensorFlow Serving: `model:predict`, `model:classify`, `model:regress`.

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Predict,
    /// The classes of examples, with their scores.
    Classify,
    Regress,
}
