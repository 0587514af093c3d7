//! HTTP: the routes, the layers around them, and a folder a protocol.

pub mod native;
