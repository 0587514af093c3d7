//! HTTP: one connection, the layers that a request passes, and the handlers behind them.

pub mod connection;
pub mod endpoints;
pub mod openapi;
pub mod pipeline;
