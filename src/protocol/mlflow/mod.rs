//! MLflow's scoring bodies: JSON in all its forms, and CSV.

pub mod csv;
pub mod decode;
pub mod encode;
