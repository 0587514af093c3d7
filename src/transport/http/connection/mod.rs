//! One connection of HTTP/1: serving it, clients that do not read, and bodies that are not read.

pub mod linger;
pub mod serve;
pub mod stall;
