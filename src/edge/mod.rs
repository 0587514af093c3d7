//! What every request has, whichever transport carries it: its id, the table of errors, and the way of a prediction.

pub mod error;
pub mod prediction;
pub mod request_id;
