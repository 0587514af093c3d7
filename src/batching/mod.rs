//! How requests reach a session: a bounded queue, batches, and the two lanes.
//!
//! Knows nothing of protocols or of what a model means. A request that is queued here has been checked; it is run
//! unless nobody waits for it any more. `policy` decides, `batch` stacks and scatters, `run` runs; a lane says who does
//! it: the event loop itself (`inline`) or threads of the model's own (`worker`).

pub mod batch;
pub mod inline;
pub mod lane;
#[cfg(test)]
mod lane_tests;
#[cfg(test)]
mod overload_tests;
pub mod policy;
pub mod queue;
pub mod run;
#[cfg(test)]
mod testing;
pub mod ticket;
pub mod watchdog;
pub mod worker;
