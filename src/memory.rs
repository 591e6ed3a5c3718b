//! The one budget of memory all transfers share.
//!
//! The budget is counted in units of 32 KiB by a semaphore that serves first come, first served. Three kinds of
//! holders take from it:
//!
//! - an [`Admission`] is leave to run one transfer and holds its first memory ([`FIRST_MEMORY`]): the chunks of a small
//!   file, the beginning of an upload's next part, or what a download streams through. A second fair semaphore bounds
//!   how many there are, so that all of them together never hold more than half of the budget;
//! - whole parts of uploads wait for their memory, and hold it until the part is in the store. What is left beside
//!   the admissions always suffices for a part, and whoever holds a part needs nothing more to finish it, so parts
//!   always come free again and nobody waits for ever: half-filled parts never wait for each other;
//! - look-ahead of downloads only takes what is free at the moment and never waits.
//!
//! What must not wait for any of them is [set aside](Budget::set_aside) at the start: logins need memory for their
//! passwords, and uploads of slow clients may hold all there is for as long as they like.
//!
//! Uploads read into chunks of [`CHUNK`] bytes that are recycled: fresh memory costs a page fault for each 4 KiB,
//! which is measurable CPU at gigabytes a second. What is kept for reuse counts against the budget, too.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What the budget is counted in, bytes.
const UNIT: u64 = 32 * 1024;

/// Capacity of a recycled chunk, bytes.
pub const CHUNK: usize = 256 * 1024;

/// Memory that comes with an [`Admission`], bytes.
pub const FIRST_MEMORY: u64 = 128 * 1024;

/// At most this much is kept for reuse, bytes.
const RETAINED: u64 = 32 * 1024 * 1024;

/// The process's budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Size of the budget in units.
    total: u32,
    /// Units an admission takes.
    first: u32,
    memory: Arc<Semaphore>,
    admissions: Arc<Semaphore>,
    /// Units granted. The semaphore can't tell: it counts what a waiter has only been promised.
    held: AtomicU64,
    /// Units set aside.
    aside: AtomicU32,
    waiting: AtomicUsize,
    /// Chunks to be used again. The lock is held for a push or a pop only.
    idle: Mutex<Vec<BytesMut>>,
    /// Length of `idle`, to be read without the lock.
    idle_count: AtomicUsize,
}

/// Leave to run one transfer: holds its first memory. Taken before the 150.
#[derive(Debug)]
pub struct Admission {
    // In this order, so that whoever is let in next finds the memory free.
    _memory: Grant,
    _slot: OwnedSemaphorePermit,
}

/// So many bytes of the budget; given back on drop.
#[derive(Debug)]
pub struct Grant {
    inner: Arc<Inner>,
    permit: OwnedSemaphorePermit,
}

/// The budget is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory free within the time")]
pub struct Exhausted;

impl Budget {
    /// A budget of so many bytes (rounded down to 32 KiB, and at least 256 KiB).
    pub fn new(bytes: u64) -> Self {
        let least = 2 * FIRST_MEMORY / UNIT;
        // The semaphore of tokio holds fewer permits than 2^29 on 32-bit machines: 16 TiB are enough.
        let total = u32::try_from((bytes / UNIT).clamp(least, 1 << 28)).unwrap_or(1 << 28);
        let first = u32::try_from(FIRST_MEMORY / UNIT).unwrap_or(1);
        let admissions = (total / 2 / first).max(1);
        Budget {
            inner: Arc::new(Inner {
                total,
                first,
                memory: Arc::new(Semaphore::new(total as usize)),
                admissions: Arc::new(Semaphore::new(admissions as usize)),
                held: AtomicU64::new(0),
                aside: AtomicU32::new(0),
                waiting: AtomicUsize::new(0),
                idle: Mutex::new(Vec::new()),
                idle_count: AtomicUsize::new(0),
            }),
        }
    }

    /// Its size, bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.inner.total) * UNIT
    }

    /// Takes so many bytes out of the budget, for good: at the start, before anything runs. Where transfers would not
    /// keep half of the budget nothing is taken, and `false` returned.
    pub fn set_aside(&self, bytes: u64) -> bool {
        let inner = &self.inner;
        let Ok(units) = u32::try_from(bytes.div_ceil(UNIT)) else {
            return false;
        };
        let aside = inner.aside.load(Ordering::Relaxed).saturating_add(units);
        if aside > inner.total / 2 {
            return false;
        }
        let Ok(taken) = inner.memory.try_acquire_many(units) else {
            return false;
        };
        taken.forget();
        inner.aside.store(aside, Ordering::Relaxed);
        // Beside all admissions there has to be memory for the largest part.
        let admissions = ((inner.total - aside - inner.total / 4) / inner.first).max(1);
        let surplus = inner
            .admissions
            .available_permits()
            .saturating_sub(admissions as usize);
        inner.admissions.forget_permits(surplus);
        true
    }

    /// Bytes held now, beside what is set aside; 0 when nothing runs.
    pub fn in_use(&self) -> u64 {
        self.inner.held.load(Ordering::Relaxed) * UNIT
    }

    /// Whether somebody waits for memory: a stalled holder is then cut sooner.
    pub fn contended(&self) -> bool {
        self.inner.waiting.load(Ordering::Relaxed) > 0
    }

    /// The largest part of an upload that may be asked for, bytes: a quarter of the budget.
    pub fn largest_part(&self) -> u64 {
        u64::from(self.inner.total / 4) * UNIT
    }

    /// Leave to start a transfer, first come first served, within `wait`.
    pub async fn admit(&self, wait: Duration) -> Result<Admission, Exhausted> {
        let admission = async {
            let slot = self.acquire(&self.inner.admissions, 1).await?;
            let memory = self.units(self.inner.first).await?;
            Ok(Admission {
                _memory: memory,
                _slot: slot,
            })
        };
        tokio::time::timeout(wait, admission)
            .await
            .map_err(|_| Exhausted)?
    }

    /// So many bytes, within `wait`. Fails at once where there never are as many.
    pub async fn grant(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let units = self.count(bytes)?;
        tokio::time::timeout(wait, self.units(units))
            .await
            .map_err(|_| Exhausted)?
    }

    /// So many bytes if they are free now and nobody waits.
    pub fn try_grant(&self, bytes: u64) -> Option<Grant> {
        if self.contended() {
            return None;
        }
        let units = self.count(bytes).ok()?;
        let permit = Arc::clone(&self.inner.memory)
            .try_acquire_many_owned(units)
            .ok()?;
        Some(self.granted(permit))
    }

    /// An empty buffer of [`CHUNK`] bytes, a used one where there is one. Its memory has to be covered by a grant.
    pub fn chunk(&self) -> BytesMut {
        self.inner
            .reuse()
            .unwrap_or_else(|| BytesMut::with_capacity(CHUNK))
    }

    /// Turns what was read into `Bytes` whose memory is used again once the last of them is gone.
    pub fn recycle(&self, buffer: BytesMut) -> Bytes {
        if buffer.capacity() == CHUNK {
            Bytes::from_owner(Chunk {
                buffer,
                inner: Arc::clone(&self.inner),
            })
        } else {
            buffer.freeze()
        }
    }

    fn count(&self, bytes: u64) -> Result<u32, Exhausted> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| Exhausted)?;
        if units > self.inner.total - self.inner.aside.load(Ordering::Relaxed) {
            Err(Exhausted)
        } else {
            Ok(units)
        }
    }

    async fn units(&self, units: u32) -> Result<Grant, Exhausted> {
        let permit = self.acquire(&self.inner.memory, units).await?;
        Ok(self.granted(permit))
    }

    async fn acquire(
        &self,
        from: &Arc<Semaphore>,
        permits: u32,
    ) -> Result<OwnedSemaphorePermit, Exhausted> {
        // What is promised to waiters is not available to this, so it takes nobody's turn.
        if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let _waiting = Waiting::new(&self.inner);
        // Fails only where the semaphore is closed, which nobody does.
        Arc::clone(from)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Exhausted)
    }

    fn granted(&self, permit: OwnedSemaphorePermit) -> Grant {
        self.inner
            .held
            .fetch_add(permit.num_permits() as u64, Ordering::Relaxed);
        self.inner.trim();
        Grant {
            inner: Arc::clone(&self.inner),
            permit,
        }
    }
}

impl Grant {
    /// How much it is, bytes.
    pub fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * UNIT
    }

    /// Gives back what is held beyond `bytes`, in whole units.
    pub fn shrink_to(&mut self, bytes: u64) {
        let keep = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
        let surplus = self.permit.num_permits().saturating_sub(keep);
        if surplus > 0
            && let Some(freed) = self.permit.split(surplus)
        {
            self.inner.held.fetch_sub(surplus as u64, Ordering::Relaxed);
            drop(freed);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        // Before the permit, whose drop follows this body: nobody ever sees more than the budget in use.
        self.inner
            .held
            .fetch_sub(self.permit.num_permits() as u64, Ordering::Relaxed);
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        // Nothing can panic while it is held, and a list of buffers has no state that could be half changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reuse(&self) -> Option<BytesMut> {
        let mut idle = self.idle();
        let buffer = idle.pop();
        self.idle_count.store(idle.len(), Ordering::Relaxed);
        buffer
    }

    /// How many chunks may be kept beside what is held.
    fn retainable(&self) -> usize {
        let taken =
            self.held.load(Ordering::Relaxed) + u64::from(self.aside.load(Ordering::Relaxed));
        let free = u64::from(self.total).saturating_sub(taken) * UNIT;
        usize::try_from(free.min(RETAINED) / CHUNK as u64).unwrap_or(0)
    }

    /// Lets go of chunks that would take the process over its budget. Chunks that an upload has been granted memory
    /// for come out of these: it takes them right after.
    fn trim(&self) {
        let keep = self.retainable();
        if self.idle_count.load(Ordering::Relaxed) > keep {
            let mut idle = self.idle();
            idle.truncate(keep);
            self.idle_count.store(idle.len(), Ordering::Relaxed);
        }
    }
}

/// A chunk on its way; its buffer is used again after it.
struct Chunk {
    buffer: BytesMut,
    inner: Arc<Inner>,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // The grant that covers the chunk is still held here, so one chunk more than is free may stay.
        let keep = self.inner.retainable().max(1);
        let mut idle = self.inner.idle();
        if buffer.capacity() == CHUNK && idle.len() < keep {
            idle.push(buffer);
        }
        self.inner.idle_count.store(idle.len(), Ordering::Relaxed);
    }
}

/// Counts who waits; a waiter that is dropped waits no more.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn gives_back_everything() {
        let budget = Budget::new(4 * MIB);
        let admission = budget.admit(LONG).await.unwrap();
        let mut grant = budget.grant(MIB, LONG).await.unwrap();
        assert_eq!(budget.in_use(), MIB + FIRST_MEMORY);
        grant.shrink_to(UNIT + 1);
        assert_eq!(grant.bytes(), 2 * UNIT);
        assert_eq!(budget.in_use(), 2 * UNIT + FIRST_MEMORY);
        drop((admission, grant));
        assert_eq!(budget.in_use(), 0);
        assert!(!budget.contended());
    }

    #[tokio::test]
    async fn admissions_leave_half_of_the_budget() {
        let budget = Budget::new(2 * MIB);
        let mut admissions = Vec::new();
        while let Ok(admission) = budget.admit(Duration::from_millis(10)).await {
            admissions.push(admission);
        }
        assert_eq!(budget.in_use(), MIB);
        let part = budget
            .grant(budget.largest_part(), Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(part.bytes(), 512 * 1024);
    }

    #[tokio::test]
    async fn what_is_set_aside_is_nobodys_and_a_part_is_free_beside_all_admissions() {
        for (aside, admitted) in [(512, 8), (768, 6), (1024, 4)] {
            let budget = Budget::new(2 * MIB);
            assert!(budget.set_aside(aside * 1024));
            assert_eq!((budget.in_use(), budget.total()), (0, 2 * MIB));
            let left = 2 * MIB - aside * 1024;
            assert!(budget.try_grant(left + 1).is_none());
            drop(budget.try_grant(left).unwrap());
            let mut admissions = Vec::new();
            while let Ok(admission) = budget.admit(Duration::from_millis(10)).await {
                admissions.push(admission);
            }
            assert_eq!(admissions.len(), admitted);
            let part = budget.grant(budget.largest_part(), Duration::ZERO).await;
            part.unwrap();
        }
        // Transfers keep half, and it can't be had while they hold it.
        let budget = Budget::new(2 * MIB);
        assert!(!budget.set_aside(MIB + 1));
        assert!(budget.set_aside(MIB / 2));
        assert!(!budget.set_aside(MIB / 2 + 1));
        let all = budget.try_grant(3 * MIB / 2).unwrap();
        assert!(!budget.set_aside(MIB / 2));
        drop(all);
        assert!(budget.set_aside(MIB / 2));
    }

    #[tokio::test]
    async fn more_than_the_budget_fails_at_once() {
        let budget = Budget::new(MIB);
        assert_eq!(budget.grant(2 * MIB, LONG).await.unwrap_err(), Exhausted);
        assert!(budget.try_grant(2 * MIB).is_none());
    }

    #[tokio::test]
    async fn serves_in_order_and_forgets_those_who_left() {
        let budget = Budget::new(MIB);
        let all = budget.grant(MIB, LONG).await.unwrap();
        let mut left = Box::pin(budget.grant(MIB, LONG));
        assert!(futures::poll!(left.as_mut()).is_pending());
        let mut large = Box::pin(budget.grant(768 * 1024, LONG));
        assert!(futures::poll!(large.as_mut()).is_pending());
        let mut small = Box::pin(budget.grant(512 * 1024, LONG));
        assert!(futures::poll!(small.as_mut()).is_pending());
        assert!(budget.contended());
        assert_eq!(budget.in_use(), MIB);
        drop(left);
        drop(all);
        assert!(
            budget.try_grant(UNIT).is_none(),
            "nobody takes the turn of those who wait"
        );
        // The small one came after the large one and must not pass it, though it would fit beside nobody else.
        assert!(futures::poll!(small.as_mut()).is_pending());
        let large = large.await.unwrap();
        assert!(futures::poll!(small.as_mut()).is_pending());
        drop(large);
        drop(small.await.unwrap());
        assert_eq!(budget.in_use(), 0);
        assert!(!budget.contended());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_hundred_uploads_make_progress() {
        let budget = Budget::new(64 * MIB);
        let mut uploads = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let budget = budget.clone();
            uploads.spawn(async move {
                let _admission = budget.admit(LONG).await.unwrap();
                for _ in 0..5 {
                    let _part = budget.grant(8 * MIB, LONG).await.unwrap();
                    assert!(budget.in_use() <= budget.total());
                    tokio::task::yield_now().await;
                }
            });
        }
        while let Some(done) = uploads.join_next().await {
            done.unwrap();
        }
        assert_eq!(budget.in_use(), 0);
        assert!(!budget.contended());
    }

    #[tokio::test]
    async fn chunks_are_used_again_and_stay_within_the_budget() {
        let budget = Budget::new(2 * MIB);
        let mut buffer = budget.chunk();
        buffer.extend_from_slice(b"abc");
        let address = buffer.as_ptr();
        let bytes = budget.recycle(buffer);
        let copy = bytes.slice(1..);
        drop(bytes);
        assert_eq!(&copy[..], b"bc");
        assert_eq!(budget.inner.idle().len(), 0);
        drop(copy);
        let again = budget.chunk();
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), address);
        drop(budget.recycle(again));
        assert_eq!(budget.inner.idle().len(), 1);
        let _all = budget.grant(2 * MIB, LONG).await.unwrap();
        assert_eq!(
            budget.inner.idle().len(),
            0,
            "what is held and what is kept are within the budget"
        );
    }
}
