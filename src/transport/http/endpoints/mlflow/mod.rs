//! MLflow's scoring protocol: `/invocations`, `/ping`, `/version`. The server's default model serves.
//!
//! `/health` is MLflow's too, but the native API's answer to it says more, and has the same statuses but for 503 instead of
//! 404 where nothing serves.

pub mod invocations;
pub mod media_type;
pub mod probes;
