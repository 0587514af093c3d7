//! Memory that loading leaves behind.

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
