//! MLflow's scoring bodies: JSON in all its forms, and CSV.

pub mod csv;
pub mod decode;
pub mod encode;

/// The paths under which errors have MLflow's keys too.
pub const PATHS: [&str; 3] = ["/invocations", "/ping", "/version"];
