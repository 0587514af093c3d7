//! How connections and streams learn that the server closes them.

use tokio::sync::watch;

use crate::error::Error;

/// How far the server has gone in closing its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingStage {
    Open,
    /// Connections without a request end, the others after their request.
    Idle,
    /// Connections end, too, whose request has not arrived whole.
    Unfinished,
}

pub type Closing = watch::Receiver<ClosingStage>;

/// The error that ends a stream when the server stops.
pub fn stopping() -> Error {
    Error::unavailable("the server is about to stop")
}
