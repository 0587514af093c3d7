//! The native JSON API: `/predict`, `/models`, `/health`, `/metrics`.

pub mod decode;
pub(in crate::api) mod decode_messages;
mod decode_rows;
#[cfg(test)]
mod decode_tests;
#[cfg(test)]
mod decode_value_tests;
pub mod encode;
pub(in crate::api) mod encode_classes;
pub(in crate::api) mod encode_rows;
#[cfg(test)]
mod encode_tests;
pub mod health;
pub mod metrics;
pub mod models;
pub mod predict;
pub mod welcome;
