//! HTTP: one connection, the layers that a request passes, and the handlers behind them.

pub mod connection;
pub mod dispatch;
pub mod endpoints;
pub mod openapi;
pub mod pipeline;
pub mod router;
