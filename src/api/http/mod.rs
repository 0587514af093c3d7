//! HTTP: the routes, the layers around them, and a folder a protocol.

pub mod app;
pub mod body;
pub mod layers;
pub mod native;
pub mod openapi;
pub mod router;
pub mod stall;
pub mod unread;
pub mod url_path;
