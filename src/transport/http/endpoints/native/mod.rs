//! The native JSON API: `/predict`, `/models`, `/health`, `/metrics`.

pub mod health;
pub mod metrics;
pub mod models;
pub mod predict;
pub mod welcome;
