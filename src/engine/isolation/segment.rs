//! Memory that parent and child share: a file without a name, mapped by both.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr::{self, NonNull},
    sync::Arc,
};

use bytes::Bytes;

/// The shared memory grows by multiples of this, in bytes.
const STEP: usize = 64 << 10;
/// What one run leaves in the shared memory beyond this goes back to the system, in bytes.
const KEPT: usize = 16 << 20;

/// One side's view of the shared memory. It only ever grows.
pub(super) struct Segment {
    file: File,
    mapping: Arc<Mapping>,
}

struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is plain memory, owned by this value until it is dropped; nothing about it belongs to a thread.
#[expect(unsafe_code, reason = "raw pointers are not Send by themselves")]
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference only `Lent` reads it, and `Segment` writes elsewhere: see `Segment::lend`.
#[expect(unsafe_code, reason = "raw pointers are not Sync by themselves")]
unsafe impl Sync for Mapping {}

impl Segment {
    /// Makes a segment that cannot shrink: memory that is mapped stays there, whatever the child does.
    pub(super) fn create() -> io::Result<Self> {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        #[expect(unsafe_code, reason = "the standard library has no memory files")]
        // SAFETY: the name is a constant that ends in NUL.
        let raw = unsafe { libc::memfd_create(c"onnxd-tensors".as_ptr(), flags) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        #[expect(unsafe_code, reason = "the descriptor is a number until it is owned")]
        // SAFETY: the call returned a new descriptor, which nothing else owns.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
        #[expect(unsafe_code, reason = "the standard library has no seals")]
        // SAFETY: the descriptor is open, and the call takes an integer.
        let sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) };
        if sealed < 0 {
            return Err(io::Error::last_os_error());
        }
        Self::of(file)
    }

    /// Takes the other side's segment.
    pub(super) fn of(file: File) -> io::Result<Self> {
        let mut segment = Self { file, mapping: Arc::new(Mapping { start: NonNull::dangling(), length: 0 }) };
        segment.reserve(STEP)?;
        Ok(segment)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Makes room for so many bytes.
    pub(super) fn reserve(&mut self, length: usize) -> io::Result<()> {
        if length <= self.mapping.length {
            return Ok(());
        }
        let Some(length) = length.checked_next_multiple_of(STEP) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let there = usize::try_from(self.file.metadata()?.len()).unwrap_or(usize::MAX);
        if there < length {
            self.file.set_len(length as u64)?;
        }
        self.mapping = Arc::new(Mapping::new(&self.file, length)?);
        Ok(())
    }

    /// Copies bytes to `offset`, outside of what is lent.
    ///
    /// # Errors
    /// `InvalidInput` where the place was not reserved.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        if !self.mapping.covers(offset, bytes.len()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        #[expect(unsafe_code, reason = "another process reads the memory: no reference to it may be made")]
        // SAFETY: the range lies in the mapping. `bytes` is not in it: what is lent lies elsewhere, as the caller promises.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.mapping.start.as_ptr().add(offset), bytes.len());
        }
        Ok(())
    }

    /// Copies bytes out; `None` where the other side has not made room for so many.
    pub(super) fn read(&mut self, offset: usize, length: usize) -> io::Result<Option<Vec<u8>>> {
        if !self.sees(offset, length)? {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(length);
        #[expect(unsafe_code, reason = "another process may write the memory: no reference to it may be made")]
        // SAFETY: the range lies in the mapping, the vector has room for it and is new; after the copy it is initialised.
        unsafe {
            ptr::copy_nonoverlapping(self.mapping.start.as_ptr().add(offset), bytes.as_mut_ptr(), length);
            bytes.set_len(length);
        }
        Ok(Some(bytes))
    }

    /// Lends bytes without a copy; `None` where the other side has not made room for so many.
    ///
    /// For the child: the parent writes nothing between `Run` and the answer, and [`Self::write`] is for other places.
    pub(super) fn lend(&mut self, offset: usize, length: usize) -> io::Result<Option<Bytes>> {
        let lent = self.sees(offset, length)?.then(|| Lent { mapping: Arc::clone(&self.mapping), offset, length });
        Ok(lent.map(Bytes::from_owner))
    }

    /// Gives memory back to the system once a run has used so many bytes. The contents are lost.
    pub(super) fn give_back(&self, used: usize) {
        let end = used.next_multiple_of(STEP).min(self.mapping.length);
        if end <= KEPT {
            return;
        }
        #[expect(unsafe_code, reason = "the standard library has no call for it")]
        // SAFETY: the range lies in the mapping and begins at a page; nothing is lent in the parent.
        let _kept =
            unsafe { libc::madvise(self.mapping.start.as_ptr().add(KEPT).cast(), end - KEPT, libc::MADV_REMOVE) };
    }

    /// Tells whether the file has these bytes, and maps them if need be.
    fn sees(&mut self, offset: usize, length: usize) -> io::Result<bool> {
        if self.mapping.covers(offset, length) {
            return Ok(true);
        }
        let there = self.file.metadata()?.len();
        match offset.checked_add(length) {
            Some(end) if end as u64 <= there => self.reserve(end).map(|()| true),
            _ => Ok(false),
        }
    }
}

impl Mapping {
    fn new(file: &File, length: usize) -> io::Result<Self> {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        #[expect(unsafe_code, reason = "the standard library maps no memory")]
        // SAFETY: the system chooses the address, so that nothing that is mapped is replaced. The file has `length` bytes
        // and is sealed against shrinking.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn covers(&self, offset: usize, length: usize) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.length)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            #[expect(unsafe_code, reason = "the standard library maps no memory")]
            // SAFETY: the mapping is this value's own, and whatever is lent of it holds the value.
            let _unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}

/// Bytes of a mapping that a tensor holds.
struct Lent {
    mapping: Arc<Mapping>,
    offset: usize,
    length: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "mapped memory becomes a slice in no other way")]
        // SAFETY: the range was checked against the mapping, which lives as long as this; nobody writes it meanwhile.
        unsafe {
            std::slice::from_raw_parts(self.mapping.start.as_ptr().add(self.offset), self.length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Segment, Segment) {
        let parent = Segment::create().unwrap();
        let child = Segment::of(parent.file.try_clone().unwrap()).unwrap();
        (parent, child)
    }

    #[test]
    fn both_sides_see_what_the_other_wrote_also_after_it_grew() {
        let (mut parent, mut child) = pair();
        let large = vec![7_u8; 3 * STEP + 5];
        parent.reserve(large.len()).unwrap();
        parent.write(0, &large).unwrap();
        let lent = child.lend(0, large.len()).unwrap().unwrap();
        child.reserve(10 * STEP).unwrap();
        child.write(9 * STEP, b"out").unwrap();
        assert_eq!(lent, large);
        assert_eq!(parent.read(9 * STEP, 3).unwrap().unwrap(), b"out");
    }

    #[test]
    fn places_outside_of_the_file_are_refused() {
        let (mut parent, mut child) = pair();
        for (offset, length) in [(0, STEP + 1), (STEP, 1), (usize::MAX, 2), (1 << 62, 1)] {
            assert_eq!(parent.read(offset, length).unwrap(), None, "{offset}, {length}");
            assert_eq!(child.lend(offset, length).unwrap(), None, "{offset}, {length}");
        }
        assert_eq!(parent.read(STEP, 0).unwrap(), Some(Vec::new()));
        assert!(parent.write(STEP - 1, &[1, 2]).is_err());
    }

    #[test]
    fn memory_cannot_be_taken_away_and_large_runs_give_it_back() {
        let (mut parent, child) = pair();
        assert!(child.file.set_len(0).is_err());
        let large = vec![1_u8; KEPT + STEP];
        parent.reserve(large.len()).unwrap();
        parent.write(0, &large).unwrap();
        parent.give_back(large.len());
        assert_eq!(parent.read(KEPT, 4).unwrap().unwrap(), [0; 4]);
        assert_eq!(parent.read(KEPT - 4, 4).unwrap().unwrap(), [1; 4]);
    }
}
