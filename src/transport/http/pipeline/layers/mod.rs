//! Our own layers, one a file; `pipeline/router.rs` says in which order they run.

pub mod access_log;
pub mod calls;
pub mod codings;
pub mod deadline;
pub mod errors;
pub mod panics;
pub mod pieces;
