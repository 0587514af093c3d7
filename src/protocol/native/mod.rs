//! The native JSON API's bodies: rows of features in, predictions out.

pub mod decode;
pub(in crate::protocol) mod decode_messages;
mod decode_rows;
#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod decode_value_tests;
pub mod encode;
pub(in crate::protocol) mod encode_classes;
pub(in crate::protocol) mod encode_labels;
pub(in crate::protocol) mod encode_outputs;
mod encode_rows;
#[cfg(test)]
mod encode_tests;
pub mod envelope;
