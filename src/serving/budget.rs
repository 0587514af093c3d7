//! `--max-buffered-bytes`: one budget of memory for the bodies of all requests and for the tensors decoded from them.
//!
//! A body is charged while it is received, decompressed and parsed, and freed when its request is answered. A body of one
//! small frame costs one atomic addition and one subtraction. Larger ones wait for room, briefly, and leave a share of the
//! budget to the small ones.

use std::{
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    task_local,
    time::{Instant, timeout_at},
};

use crate::{
    config::LimitSettings,
    cpu::usable_memory_bytes,
    error::{Error, ErrorKind, Result},
};

/// What an unfinished body is charged before its bytes: its task, its stream and its connection's share of buffers.
pub const UNFINISHED_BYTES: usize = 8 * 1024;
/// How long a body waits for room before its request is refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// Without the setting, bodies may take one part in so many of the memory; models and their runs need the rest.
const MEMORY_PART: usize = 4;
/// Bodies that arrive in pieces leave one part in so many to those that arrive whole.
const RESERVED_PART: usize = 8;

task_local! {
    /// What the gRPC call of this task has been charged.
    pub static CALL_CHARGE: Arc<SharedCharge>;
}

/// Returns the bytes that all bodies together may take: `--max-buffered-bytes`, or a part of the memory that the process
/// may use.
pub fn buffered_bytes(limits: &LimitSettings) -> usize {
    limits.max_buffered_bytes.unwrap_or_else(|| usable_memory_bytes(Path::new("/")) / MEMORY_PART)
}

/// The bytes that all bodies together may take.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// How many bodies wait for room.
    waiting: AtomicUsize,
    freed: Notify,
}

impl Budget {
    /// Makes an empty budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), waiting: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Returns the bytes that are charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Charges a small body that is there whole, if there is room.
    pub fn try_charge(&self, bytes: usize) -> Option<Charge<'_>> {
        self.take(bytes, self.limit).then_some(Charge { budget: self, bytes })
    }

    pub fn empty_charge(&self) -> Charge<'_> {
        Charge { budget: self, bytes: 0 }
    }

    /// The most that bodies in pieces may take.
    fn shared_limit(&self) -> usize {
        self.limit - self.limit / RESERVED_PART
    }

    fn take(&self, bytes: usize, limit: usize) -> bool {
        let with = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with).is_ok()
    }

    /// Takes `bytes` more for a request that has taken `held`, once there is room.
    ///
    /// # Errors
    /// `PayloadTooLarge` where the request would need more than there is, `Overloaded` where no room was freed in time.
    async fn take_when_free(&self, held: usize, bytes: usize) -> Result<()> {
        let limit = self.shared_limit();
        if held.saturating_add(bytes) > limit {
            return Err(self.never_fits());
        }
        if self.take(bytes, limit) {
            return Ok(());
        }
        let _waiting = Waiting::new(&self.waiting);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut freed = pin!(self.freed.notified());
            // Registered before the second look, so that what is freed after it is not missed.
            freed.as_mut().enable();
            if self.take(bytes, limit) {
                self.wake_one();
                return Ok(());
            }
            if timeout_at(deadline, freed).await.is_err() {
                return Err(self.full());
            }
        }
    }

    fn free(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::SeqCst);
            self.wake_one();
        }
    }

    /// Wakes one at a time: to wake all with each request that ends would cost more than the requests.
    fn wake_one(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    #[cold]
    fn full(&self) -> Error {
        let limit = self.limit;
        let message = format!("request bodies take all of the {limit} bytes of --max-buffered-bytes; retry later");
        Error::new(ErrorKind::Overloaded, message)
    }

    #[cold]
    fn never_fits(&self) -> Error {
        let most = self.shared_limit();
        let message = format!(
            "expected a body that takes at most {most} bytes of memory together with its tensors (7/8 of \
             --max-buffered-bytes), but this one takes more: send several smaller requests"
        );
        Error::new(ErrorKind::PayloadTooLarge, message)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The bytes that one request has taken; freed when it is dropped.
#[derive(Debug)]
pub struct Charge<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Charge<'_> {
    /// Takes `bytes` more, once there is room.
    ///
    /// # Errors
    /// `PayloadTooLarge` or `Overloaded`; what was taken before stays taken.
    pub async fn grow(&mut self, bytes: usize) -> Result<()> {
        self.budget.take_when_free(self.bytes, bytes).await?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.budget.free(self.bytes);
    }
}

/// The bytes that the messages of one gRPC call have taken, shared by their reader and their handler.
#[derive(Debug)]
pub struct SharedCharge {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl SharedCharge {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` more if there is room at once.
    pub fn try_grow(&self, bytes: usize) -> bool {
        self.take(bytes, self.budget.shared_limit())
    }

    /// Takes the bytes of a small message that is there whole, for which a part of the budget is reserved.
    pub fn try_grow_small(&self, bytes: usize) -> bool {
        self.take(bytes, self.budget.limit)
    }

    fn take(&self, bytes: usize, limit: usize) -> bool {
        let taken = self.budget.take(bytes, limit);
        if taken {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Takes `bytes` more, once there is room.
    ///
    /// # Errors
    /// Those of [`Charge::grow`].
    pub async fn grow(&self, bytes: usize) -> Result<()> {
        self.budget.take_when_free(self.bytes.load(Ordering::Relaxed), bytes).await?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes `bytes` more at once.
    ///
    /// # Errors
    /// Those of [`Charge::grow`], without the wait.
    pub fn grow_now(&self, bytes: usize) -> Result<()> {
        if self.try_grow(bytes) {
            return Ok(());
        }
        match self.bytes.load(Ordering::Relaxed).saturating_add(bytes) > self.budget.shared_limit() {
            true => Err(self.budget.never_fits()),
            false => Err(self.budget.full()),
        }
    }

    /// Moves what was taken to a charge of its own: a message of a stream is freed when it is answered.
    pub fn split(&self) -> Self {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        Self { budget: Arc::clone(&self.budget), bytes: AtomicUsize::new(bytes) }
    }
}

impl Drop for SharedCharge {
    fn drop(&mut self) {
        self.budget.free(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const LIMIT: usize = 800;
    /// All but the reserve for small bodies.
    const SHARED: usize = 700;

    #[tokio::test]
    async fn dropped_charges_free_their_bytes() {
        let budget = Budget::new(LIMIT);
        let small = budget.try_charge(300).unwrap();
        let mut large = budget.empty_charge();
        large.grow(100).await.unwrap();
        large.grow(200).await.unwrap();
        assert_eq!(budget.used(), 600);
        drop(large);
        drop(small);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn bodies_in_pieces_leave_the_reserve_to_small_ones() {
        let budget = Budget::new(LIMIT);
        let mut large = budget.empty_charge();
        large.grow(SHARED).await.unwrap();
        assert!(budget.try_charge(LIMIT - SHARED + 1).is_none());
        assert!(budget.try_charge(LIMIT - SHARED).is_some());
    }

    #[tokio::test]
    async fn request_that_never_fits_is_refused_at_once() {
        let budget = Budget::new(LIMIT);
        let mut charge = budget.empty_charge();
        charge.grow(SHARED).await.unwrap();
        let error = charge.grow(1).now_or_never().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PayloadTooLarge);
        assert!(error.message().contains("at most 700 bytes"), "{error}");
    }

    #[tokio::test]
    async fn body_waits_for_room_and_is_refused_when_none_comes() {
        let budget = Budget::new(LIMIT);
        let mut first = budget.empty_charge();
        first.grow(600).await.unwrap();
        let (mut second, mut third) = (budget.empty_charge(), budget.empty_charge());
        {
            let (mut waits, mut waits_too) = (pin!(second.grow(300)), pin!(third.grow(300)));
            assert!(waits.as_mut().now_or_never().is_none() && waits_too.as_mut().now_or_never().is_none());
            // What is freed wakes the one, whose success wakes the other.
            drop(first);
            waits.await.unwrap();
            waits_too.await.unwrap();
        }
        let started = Instant::now();
        let error = budget.empty_charge().grow(300).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed() >= PATIENCE), (ErrorKind::Overloaded, true));
        assert!(error.message().contains("--max-buffered-bytes"), "{error}");
        assert_eq!(budget.used(), 600);
        drop((second, third));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn messages_of_a_stream_are_freed_one_by_one() {
        let budget = Arc::new(Budget::new(LIMIT));
        let call = SharedCharge::new(Arc::clone(&budget));
        assert!(call.try_grow(200));
        let message = call.split();
        call.grow(300).await.unwrap();
        drop(message);
        assert_eq!(budget.used(), 300);
        assert_eq!(call.grow_now(SHARED).unwrap_err().kind(), ErrorKind::PayloadTooLarge);
        drop(call);
        assert_eq!(budget.used(), 0);
    }
}
