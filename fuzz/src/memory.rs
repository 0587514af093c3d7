//! The memory that decoding takes, which what is in a body must not decide.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The most memory for a byte of text: strings are the worst, 32 bytes for the three of `"",`, while a list grows.
pub const OF_TEXT: usize = 40;
/// The most memory for a byte of a message as long as it is short: an input of nothing takes two, and 312 in memory, which
/// while a list grows is there three times for two. Of a long message, less is taken: its fields are counted first.
pub const OF_A_SHORT_MESSAGE: usize = 480;
const MAX_BYTES_ALWAYS: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: Counting = Counting { now: AtomicUsize::new(0), most: AtomicUsize::new(0) };

/// Counts what is allocated, and the most there was.
struct Counting {
    now: AtomicUsize,
    most: AtomicUsize,
}

// SAFETY: every call is the system allocator's own; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = self.now.fetch_add(layout.size(), Relaxed) + layout.size();
        self.most.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.now.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Runs `decode` on a body of so many bytes, each of which may take `per_byte` bytes of memory.
pub fn bounded<T>(body_bytes: usize, per_byte: usize, decode: impl FnOnce() -> T) -> T {
    let before = ALLOCATOR.now.load(Relaxed);
    ALLOCATOR.most.store(before, Relaxed);
    let decoded = decode();
    let taken = ALLOCATOR.most.load(Relaxed) - before;
    let allowed = MAX_BYTES_ALWAYS + body_bytes * per_byte;
    assert!(taken <= allowed, "decoding {body_bytes} bytes took {taken}, and not at most {allowed}");
    decoded
}
