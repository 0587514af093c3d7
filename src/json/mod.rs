//! JSON as the protocols read and write it: a pull reader straight into tensors, and a writer straight out of them.
//!
//! Knows element types and tensors; knows no model, no feature and no protocol's keys. There is no tree of values:
//! numbers go from text to their element type in one step. What a decoder of one protocol needs stays in that
//! protocol's module; what two of them need belongs here.

pub mod base64;
pub mod element;
pub mod fault;
pub mod flat;
mod float;
pub mod keys;
pub mod nested;
pub mod number;
#[cfg(test)]
mod number_tests;
pub mod reader;
#[cfg(test)]
mod reader_tests;
pub mod sinks;
pub mod skip;
pub mod stack;
pub mod string;
pub mod values;
pub mod write;
