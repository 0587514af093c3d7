//! How a stream learns that its connection is about to close.

use tokio::sync::watch;

use crate::error::Error;

/// Changes when the connection is about to close, for streams that nothing else would end.
pub(super) type Closing = watch::Receiver<()>;

/// The error that ends a stream when the server stops.
pub(super) fn stopping() -> Error {
    Error::unavailable("the server is about to stop")
}
