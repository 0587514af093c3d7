//! One connection of HTTP/1: serving it, clients that do not read, and bodies that were not read.

pub mod serve;
pub mod stall;
pub mod unread;
