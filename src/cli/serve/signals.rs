//! The signals that end the server, heard by a thread that no run can hold.
//!
//! Event loops can be held: by runs, or by whatever goes wrong. The process must end all the same, so this thread counts the
//! time that stopping may take, and ends the process if nobody else does.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use signal_hook::iterator::{Handle, Signals as Hooks};
use tokio::sync::watch;

use crate::{
    cli::EXIT_FAILURE,
    error::{Error, Result},
};

/// How soon after the first signal another one is taken for the same: `timeout` and terminals signal a process twice, by itself
/// and by its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// How long stopping may take longer than it should before the process is ended.
const MARGIN: Duration = Duration::from_secs(1);
/// How long the process may take to end once it was told to.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often the thread looks for more signals once it has had the first.
const LOOK: Duration = Duration::from_millis(50);

/// The signals that end the server: name, number, and exit code of a process that a second one ends.
const STOPPING: [(&str, i32, u8); 3] =
    [("SIGTERM", libc::SIGTERM, 143), ("SIGINT", libc::SIGINT, 130), ("SIGQUIT", libc::SIGQUIT, 131)];
/// The signals that are ignored, which would end the process with requests in flight.
const IGNORED: [(&str, i32); 5] = [
    ("SIGHUP", libc::SIGHUP),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGALRM", libc::SIGALRM),
    ("SIGXFSZ", libc::SIGXFSZ),
];

/// What the signals ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Serve,
    Drain,
    /// End at once, with this exit code.
    End(u8),
}

/// The thread that hears signals. Dropping it ends it, and leaves the signals without effect.
#[derive(Debug)]
pub(super) struct Signals {
    orders: watch::Receiver<Order>,
    hooks: Handle,
    closed: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Listens for signals. Ends the process if it has not ended by itself soon after `grace` since the first.
    ///
    /// # Errors
    /// `Internal` if the system gives no signals or no thread.
    pub(super) fn listen(grace: Duration) -> Result<Self> {
        let numbers = STOPPING.iter().map(|(_, number, _)| number).chain(IGNORED.iter().map(|(_, number)| number));
        let mut signals = Hooks::new(numbers).map_err(Error::internal)?;
        let (hooks, (order, orders)) = (signals.handle(), watch::channel(Order::Serve));
        let (closed, is_closed) = sync_channel(0);
        let hear = move || {
            if let Some(code) = hear(&mut signals, grace, &order, &is_closed) {
                order.send_replace(Order::End(code));
                if is_open_after(&is_closed, LAST_WORDS) {
                    end_now(code);
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(hear).map_err(Error::internal)?;
        Ok(Self { orders, hooks, closed: Some(closed), thread: Some(thread) })
    }

    /// Waits until the server is to drain.
    pub(super) async fn drain(&self) {
        // The thread keeps its sender until it has sent the last order.
        let mut orders = self.orders.clone();
        drop(orders.wait_for(|order| *order != Order::Serve).await);
    }

    /// Waits until the process is to end at once, and returns its exit code.
    pub(super) async fn end(&self) -> u8 {
        let mut orders = self.orders.clone();
        match orders.wait_for(|order| matches!(order, Order::End(_))).await.as_deref() {
            Ok(Order::End(code)) => *code,
            _ => EXIT_FAILURE,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.hooks.close();
        self.closed = None;
        // A panic has been reported by the panic hook.
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

/// Hears signals until the process must end, and returns its exit code; `None` once the listener is closed.
fn hear(signals: &mut Hooks, grace: Duration, orders: &watch::Sender<Order>, is_closed: &Receiver<()>) -> Option<u8> {
    let (name, _) = signals.forever().find_map(stopping)?;
    let started = Instant::now();
    tracing::info!("received {name}");
    orders.send_replace(Order::Drain);
    while is_open_after(is_closed, LOOK) {
        let waited = started.elapsed();
        if let Some((name, code)) = signals.pending().filter_map(stopping).last()
            && waited >= SAME_SIGNAL
        {
            tracing::warn!("received {name} again: ending at once");
            return Some(code);
        }
        if waited >= grace + MARGIN {
            tracing::error!("the server did not stop within {grace:?}: ending at once");
            return Some(EXIT_FAILURE);
        }
    }
    None
}

/// Returns the name and the exit code of a signal that ends the server.
fn stopping(number: i32) -> Option<(&'static str, u8)> {
    if let Some((name, _)) = IGNORED.iter().find(|(_, ignored)| *ignored == number) {
        tracing::debug!("ignored {name}");
    }
    STOPPING.iter().find(|(_, stopping, _)| *stopping == number).map(|(name, _, code)| (*name, *code))
}

fn is_open_after(is_closed: &Receiver<()>, time: Duration) -> bool {
    is_closed.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

#[expect(clippy::disallowed_methods, clippy::exit, reason = "the main thread was told to end, and does not")]
fn end_now(code: u8) -> ! {
    std::process::exit(code.into())
}
