//! The console's way to end the server, where there are no signals.

use std::{future::pending, time::Duration};

use tokio::signal::ctrl_c;

use crate::error::Result;

/// How long stopping may take longer than it should before the process is ended.
const MARGIN: Duration = Duration::from_secs(1);
/// The exit code of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Debug)]
pub(super) struct Signals {
    grace: Duration,
}

impl Signals {
    /// Listens for Ctrl-C.
    ///
    /// # Errors
    /// None.
    pub(super) fn listen(grace: Duration) -> Result<Self> {
        Ok(Self { grace })
    }

    /// Waits until the server is to drain.
    pub(super) async fn drain(&self) {
        heard().await;
    }

    /// Waits until the process is to end at once, and returns its exit code.
    pub(super) async fn end(&self) -> u8 {
        heard().await;
        tokio::select! {
            () = heard() => INTERRUPTED,
            () = tokio::time::sleep(self.grace + MARGIN) => crate::cli::EXIT_FAILURE,
        }
    }
}

async fn heard() {
    // Where the console cannot be listened to, there is nothing to wait for.
    if ctrl_c().await.is_err() {
        pending::<()>().await;
    }
}
