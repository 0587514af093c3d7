//! What is served: models with their state, and the one door that every protocol goes through.
//!
//! Below this line nothing is async but the wait for a reply and, in `budget.rs`, for room.

mod bounded;
pub mod budget;
pub mod catalog;
mod empty;
pub mod example;
pub mod loader;
pub mod plan;
pub mod probe;
mod reaper;
pub mod served_model;
pub mod service;
