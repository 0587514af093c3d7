//! From a request's head to its handler, and from the handler's answer to the connection.

pub mod activity;
pub mod answer;
pub mod app;
pub mod arrival;
pub mod body;
pub mod call;
pub mod layers;
pub mod routes;
pub mod unread;
pub mod url_path;
