//! How requests reach a session: a bounded queue and the worker threads that empty it.
//!
//! Knows nothing of protocols or of what a model means. A request that is queued here has been checked; it is run
//! unless nobody waits for it any more.

pub mod queue;
pub mod worker;
