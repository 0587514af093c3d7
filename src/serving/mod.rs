//! What is served: models with their state, and the one door that every protocol goes through.
//!
//! Below this line nothing is async but the wait for a reply.

mod empty;
pub mod example;
pub mod loader;
pub mod plan;
pub mod probe;
pub mod registry;
pub mod served_model;
pub mod service;
