//! Panics as log lines.
//!
//! The standard hook writes to stderr and waits for it. With stderr a full pipe, each event loop that panics would stop
//! for good.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic, thread,
};

/// Makes every panic of the process one line of the log, with a backtrace where `RUST_BACKTRACE` asks for one.
pub(super) fn log_all() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let current = thread::current();
        let thread = current.name().unwrap_or("unnamed");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::debug(backtrace));
        tracing::error!(place, thread, backtrace, "panicked at {place}: {message}");
    }));
}
