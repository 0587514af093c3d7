//! HTTP: the routes, the layers around them, and a folder a protocol.

pub mod answer;
pub mod app;
pub mod arrival;
pub mod body;
pub mod call;
pub mod connection;
pub mod dispatch;
pub mod frame;
pub mod layers;
pub mod mlflow;
pub mod native;
pub mod oip;
pub mod openapi;
pub mod request_id;
pub mod router;
pub mod routes;
pub mod stall;
pub mod tfs;
pub mod unread;
pub mod url_path;
