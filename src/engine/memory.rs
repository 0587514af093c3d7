//! Memory that loading and large runs leave behind.

use std::{
    sync::{Mutex, TryLockError},
    time::{Duration, Instant},
};

/// How often a server that runs large models gives memory back: memory that was given back costs time to get again.
const INTERVAL: Duration = Duration::from_secs(1);

/// Gives back as [`give_back`] does, unless that was done a moment ago.
pub(super) fn give_back_now_and_then() {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = match LAST.try_lock() {
        Ok(last) => last,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    if last.is_none_or(|last| last.elapsed() >= INTERVAL) {
        *last = Some(Instant::now());
        drop(last);
        give_back();
    }
}

/// Gives back to the system what is free in the process's heaps.
///
/// While it loads a model, the runtime has its file parsed beside its weights, in many pieces of which some live on; the C
/// library keeps what is free between them, several times the model's size, for the next to ask.
#[expect(unsafe_code, reason = "the C library's call has no safe wrapper")]
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: malloc_trim may be called at any time from any thread; it takes each heap's lock, and what it gives back
        // is nobody's.
        let _given_something = unsafe { libc::malloc_trim(0) };
    }
}
