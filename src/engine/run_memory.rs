//! The memory of runs: an allocator for ONNX Runtime that counts the memory of runs, and refuses allocations over a limit.
//!
//! ONNX Runtime takes a null pointer for memory, and writes there. So an allocation that is refused throws `std::bad_alloc`,
//! as the runtime's own allocator does where the system has no memory; the runtime makes an error of the run of it. What
//! C++ containers inside an operator hold (the bytes of strings, the tree of `Unique`) does not come by here.

use std::{
    cell::Cell,
    ffi::c_void,
    fmt,
    path::Path,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use ort::{AsPointer, environment::Environment, sys};

use crate::{
    engine::memory,
    error::{Error, ErrorKind, Result, size},
};

/// What the runtime aligns its tensors to: a cache line, and the widest vector.
const ALIGNMENT: usize = 64;
/// An allocation begins with a `Header` somewhere before its aligned address.
const OVERHEAD: usize = size_of::<Header>() + ALIGNMENT - 1;
/// What an allocation takes beside its bytes: the header, the gaps, and the runtime's objects that own it.
const AROUND: usize = 256;
/// A run that holds less is never refused, so that small models answer beside greedy ones.
const SMALL_BYTES: usize = 1 << 20;
/// After a run that held so much with its answer, the heap gives back its free memory.
const LARGE_BYTES: usize = 8 << 20;
/// Others that hold less than this part of the limit are not to blame.
const SMALL_PART: usize = 16;
/// What an element takes in the text of an answer: a name, or quotes and a comma, and the digits of a float.
const TEXT_BYTES: usize = 20;

/// The memory that all runs of one server may hold together, and what they hold now.
#[derive(Debug)]
pub struct RunMemory {
    limit_bytes: usize,
    held_bytes: AtomicUsize,
}

/// Memory that is held until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: &'static RunMemory,
    bytes: usize,
}

/// A run that is on in this thread: what it allocates is charged.
pub(super) struct Charging {
    memory: &'static RunMemory,
}

/// What one thread's run holds.
struct Run {
    memory: Cell<Option<&'static RunMemory>>,
    held_bytes: Cell<usize>,
    peak_bytes: Cell<usize>,
    refused: Cell<Option<Refusal>>,
}

/// An allocation that was refused.
#[derive(Clone, Copy)]
struct Refusal {
    /// What the run would hold with it.
    needed: usize,
    /// What others held then.
    others: usize,
}

struct Header {
    start: *mut c_void,
    charged_bytes: usize,
    /// Who is charged; nobody for weights, and for what a run allocates in other threads.
    charged: Option<&'static RunMemory>,
}

thread_local! {
    static RUN: Run = const {
        Run {
            memory: Cell::new(None),
            held_bytes: Cell::new(0),
            peak_bytes: Cell::new(0),
            refused: Cell::new(None),
        }
    };
}

/// C++'s `operator new`, which throws.
type OperatorNew = unsafe extern "C-unwind" fn(usize) -> *mut c_void;

static OPERATOR_NEW: OnceLock<OperatorNew> = OnceLock::new();

impl RunMemory {
    pub fn unlimited() -> &'static Self {
        static UNLIMITED: RunMemory = RunMemory { limit_bytes: usize::MAX, held_bytes: AtomicUsize::new(0) };
        &UNLIMITED
    }

    /// Makes memory with a limit in bytes. It is never freed, for allocations refer to it.
    pub fn limited(limit_bytes: usize) -> &'static Self {
        Box::leak(Box::new(Self { limit_bytes, held_bytes: AtomicUsize::new(0) }))
    }

    /// Returns the limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns what runs and the answers made of them hold now, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Charges what this thread's run allocates until the result is dropped.
    pub(super) fn charge(&'static self) -> Charging {
        RUN.with(|run| {
            run.memory.set(Some(self));
            run.held_bytes.set(0);
            run.peak_bytes.set(0);
            run.refused.set(None);
        });
        Charging { memory: self }
    }

    /// Takes the bytes for a run that holds `held` already, if they are left.
    fn take(&self, bytes: usize, held: usize) -> bool {
        if held.saturating_add(bytes) <= SMALL_BYTES {
            self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
            return true;
        }
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.limit_bytes);
        self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Charging {
    /// Holds what an answer of so many elements takes, beside the output itself, until it is written.
    ///
    /// # Errors
    /// Those of [`Self::refusal`].
    pub(super) fn hold_answer(&self, bytes: usize, elements: usize) -> Result<Held> {
        let bytes = bytes.saturating_add(elements.saturating_mul(TEXT_BYTES));
        RUN.with(|run| {
            let held = run.held_bytes.get();
            if !self.memory.take(bytes, held) {
                return Err(self.too_much("the answer", run.refusal(self.memory, bytes)));
            }
            run.peak_bytes.set(run.peak_bytes.get().max(held.saturating_add(bytes)));
            Ok(Held { memory: self.memory, bytes })
        })
    }

    /// Returns the error of a run that was refused memory, or `None` where it was not.
    ///
    /// The error is `PayloadTooLarge` where the run is over the limit though others hold little, else `Overloaded`.
    pub(super) fn refusal(&self) -> Option<Error> {
        RUN.with(|run| run.refused.get()).map(|refusal| self.too_much("the run", refusal))
    }

    fn too_much(&self, what: &str, Refusal { needed, others }: Refusal) -> Error {
        let limit = self.memory.limit_bytes;
        let (needed_size, limit_size) = (size(needed as u64), size(limit as u64));
        match needed > limit || others < limit / SMALL_PART {
            true => Error::new(
                ErrorKind::PayloadTooLarge,
                format!("{what} needs {needed_size} of memory or more, too much for --max-run-memory ({limit_size})"),
            ),
            false => Error::new(
                ErrorKind::Overloaded,
                format!(
                    "{what} needs {needed_size} of memory or more, but others hold too much of --max-run-memory ({limit_size})"
                ),
            ),
        }
    }
}

impl Run {
    fn refusal(&self, memory: &RunMemory, bytes: usize) -> Refusal {
        let held = self.held_bytes.get();
        Refusal { needed: held.saturating_add(bytes), others: memory.held_bytes().saturating_sub(held) }
    }
}

impl Drop for Charging {
    fn drop(&mut self) {
        let (peak, refused) = RUN.with(|run| {
            run.memory.set(None);
            (run.peak_bytes.get(), run.refused.get())
        });
        if peak >= LARGE_BYTES {
            match refused {
                Some(_) => memory::give_back(),
                None => memory::give_back_now_and_then(),
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.release(self.bytes);
    }
}

impl fmt::Debug for Charging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Charging").field(self.memory).finish()
    }
}

/// Makes the allocator that sessions of `environment` get which ask for the environment's.
///
/// # Errors
/// `Unavailable` where the C++ library behind the runtime has no `operator new` to throw, and what the runtime says.
#[expect(unsafe_code, reason = "ort has no call that registers an allocator")]
pub(super) fn register(environment: &Environment, library: &Path) -> Result<()> {
    // SAFETY: ort has loaded this library already.
    let library = unsafe { libloading::Library::new(library) }.map_err(Error::internal)?;
    // Itanium's name, of the parameter's type `unsigned long`.
    // SAFETY: this is the signature that the name stands for where `usize` is C's `unsigned long`, as on 64-bit Unix.
    let operator_new =
        unsafe { library.get::<OperatorNew>(b"_Znwm") }.map_err(|error| Error::unavailable(error.to_string()))?;
    let _same = OPERATOR_NEW.set(*operator_new);
    // The pointer is used for as long as the process lives.
    std::mem::forget(library);

    let mut info = ptr::null_mut();
    // SAFETY: the call only writes the pointer.
    let status = unsafe {
        (ort::api().CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtDeviceAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &raw mut info,
        )
    };
    // SAFETY: the status is fresh from the call and is taken once.
    unsafe { ort::Error::result_from_status(status) }.map_err(Error::internal)?;
    // SAFETY: `OrtAllocator` is a table of functions and a version, for which all zeros are `None` and 0.
    let table = unsafe { sys::OrtAllocator::default() };
    // SAFETY: the two types differ in what may unwind, which C++, the only caller, does not see in a pointer.
    let throwing = unsafe { std::mem::transmute::<ThrowingAllocate, Allocate>(allocate) };
    let table = sys::OrtAllocator { Alloc: Some(throwing), Free: Some(free), Info: Some(describe), ..table };
    // Neither is freed: the environment keeps them for as long as the process lives.
    let allocator = Box::leak(Box::new(CountingAllocator { table, info }));
    // SAFETY: the environment and the allocator live as long as the process.
    let status = unsafe { (ort::api().RegisterAllocator)(environment.ptr().cast_mut(), &raw mut allocator.table) };
    // SAFETY: the status is fresh from the call and is taken once.
    unsafe { ort::Error::result_from_status(status) }.map_err(Error::internal)
}

/// An allocator as the C interface has it. The runtime knows the table, which comes first.
#[repr(C)]
struct CountingAllocator {
    table: sys::OrtAllocator,
    info: *mut sys::OrtMemoryInfo,
}

type Allocate = unsafe extern "system" fn(*mut sys::OrtAllocator, usize) -> *mut c_void;
type ThrowingAllocate = unsafe extern "C-unwind" fn(*mut sys::OrtAllocator, usize) -> *mut c_void;

/// Allocates and charges the run of this thread; throws where that is over its limit or the system has no memory.
///
/// A thread without a run is of a pool of the runtime's, where an exception would end the process: it is not limited.
#[expect(unsafe_code, reason = "the runtime calls it through a C interface")]
// SAFETY: it may be called with any arguments, from any thread; the caller must let it unwind.
unsafe extern "C-unwind" fn allocate(_allocator: *mut sys::OrtAllocator, bytes: usize) -> *mut c_void {
    if bytes == 0 {
        return ptr::null_mut();
    }
    let charged_bytes = bytes.saturating_add(AROUND);
    let (charged, is_refused) = RUN.with(|run| match run.memory.get() {
        Some(memory) if memory.take(charged_bytes, run.held_bytes.get()) => {
            let held = run.held_bytes.get() + charged_bytes;
            run.held_bytes.set(held);
            run.peak_bytes.set(run.peak_bytes.get().max(held));
            (Some(memory), false)
        }
        Some(memory) => {
            run.refused.set(Some(run.refusal(memory, charged_bytes)));
            (None, true)
        }
        None => (None, false),
    });
    if is_refused {
        throw();
    }
    // SAFETY: malloc takes any size.
    let start = unsafe { libc::malloc(bytes.saturating_add(OVERHEAD)) };
    if start.is_null() {
        give_back(charged, charged_bytes);
        throw();
    }
    let offset = start.addr() + OVERHEAD;
    let address = start.map_addr(|_| offset & !(ALIGNMENT - 1));
    // SAFETY: the address is at least `size_of::<Header>()` and at most `OVERHEAD` bytes behind the start, so that the
    // header and the bytes fit; the header is aligned since its size and the address are multiples of its alignment.
    unsafe { address.cast::<Header>().sub(1).write(Header { start, charged_bytes, charged }) };
    address
}

#[expect(unsafe_code, reason = "the runtime calls it through a C interface")]
// SAFETY: the address must be null or what `allocate` returned, and not freed before.
unsafe extern "system" fn free(_allocator: *mut sys::OrtAllocator, address: *mut c_void) {
    if address.is_null() {
        return;
    }
    // SAFETY: the runtime frees what `allocate` gave it, once, and that stands behind its header.
    let header = unsafe { address.cast::<Header>().sub(1).read() };
    give_back(header.charged, header.charged_bytes);
    // SAFETY: malloc gave the start.
    unsafe { libc::free(header.start) };
}

/// Gives back to whom it was charged, and takes it off the run of this thread, if that is whose it was.
fn give_back(charged: Option<&'static RunMemory>, bytes: usize) {
    let Some(memory) = charged else { return };
    memory.release(bytes);
    RUN.with(|run| {
        if run.memory.get().is_some_and(|current| ptr::eq(current, memory)) {
            run.held_bytes.set(run.held_bytes.get().saturating_sub(bytes));
        }
    });
}

#[expect(unsafe_code, reason = "the runtime calls it through a C interface")]
// SAFETY: the allocator must be the one that `register` made.
unsafe extern "system" fn describe(allocator: *const sys::OrtAllocator) -> *const sys::OrtMemoryInfo {
    // SAFETY: the runtime has this allocator from `register`, where the table is the first field of what is leaked.
    unsafe { (*allocator.cast::<CountingAllocator>()).info }
}

/// Throws `std::bad_alloc` to the runtime, through C++'s own `operator new`: no process has so much memory.
#[expect(unsafe_code, reason = "only C++ can throw what C++ catches")]
fn throw() {
    if let Some(operator_new) = OPERATOR_NEW.get() {
        // SAFETY: `operator new` may be asked for any size; what it throws passes only frames whose ABI lets it unwind.
        let _never = unsafe { operator_new(usize::MAX) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn run_that_alone_is_over_the_limit_is_too_large() {
        let memory = RunMemory::limited(100 * MIB);
        let charging = memory.charge();
        let error = charging.hold_answer(101 * MIB, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
        assert_eq!(
            error.message(),
            "the answer needs 101 MiB of memory or more, too much for --max-run-memory (100 MiB)"
        );
        assert_eq!(charging.hold_answer(usize::MAX, usize::MAX).unwrap_err().kind(), ErrorKind::PayloadTooLarge);
        assert!(charging.refusal().is_none());
    }

    #[test]
    fn what_others_hold_can_be_waited_for() {
        let memory = RunMemory::limited(100 * MIB);
        let held = memory.charge().hold_answer(60 * MIB, 2 * MIB).unwrap();
        assert_eq!(memory.held_bytes(), 100 * MIB);
        assert_eq!(memory.charge().hold_answer(2 * MIB, 0).unwrap_err().kind(), ErrorKind::Overloaded);
        let small = memory.charge().hold_answer(MIB, 0).unwrap();
        drop((held, small));
        assert_eq!(memory.held_bytes(), 0);
        memory.charge().hold_answer(100 * MIB, 0).unwrap();
    }

    #[test]
    fn runs_of_other_servers_are_not_counted() {
        let (one, other) = (RunMemory::limited(100 * MIB), RunMemory::limited(100 * MIB));
        let _held = one.charge().hold_answer(100 * MIB, 0).unwrap();
        other.charge().hold_answer(100 * MIB, 0).unwrap();
    }
}
