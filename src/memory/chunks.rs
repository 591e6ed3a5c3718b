//! Recycled buffers.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::BytesMut;

use crate::memory::accounts::{BudgetInner, UNIT};

/// Capacity of a recycled chunk, bytes.
pub const CHUNK: usize = 256 * 1024;

/// At most this much is kept for recycling, bytes.
const RETAINED: u64 = 32 * 1024 * 1024;

impl BudgetInner {
    pub(super) fn idle(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        // Nothing can panic while it is held, and a list of buffers has no state that could be half
        // changed.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reuse(&self) -> Option<BytesMut> {
        let mut idle = self.idle();
        let buffer = idle.pop();
        self.idle_count.store(idle.len(), Ordering::Relaxed);
        buffer
    }

    /// How many chunks may be kept besides the memory that is held.
    pub(super) fn retainable(&self) -> usize {
        let free = u64::from(self.state().free) * UNIT;
        usize::try_from(free.min(RETAINED) / CHUNK as u64).unwrap_or(0)
    }

    /// Frees chunks that would take the process over its budget. Chunks for which an upload has
    /// been granted memory come out of these: it takes them right after.
    pub(super) fn trim(&self) {
        let keep = self.retainable();
        if self.idle_count.load(Ordering::Relaxed) > keep {
            let mut idle = self.idle();
            idle.truncate(keep);
            self.idle_count.store(idle.len(), Ordering::Relaxed);
        }
    }
}

/// A chunk in use, which is recycled on drop.
pub(super) struct Chunk {
    pub(super) buffer: BytesMut,
    pub(super) inner: Arc<BudgetInner>,
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
        // The grant that covers the chunk is still held here, so one chunk more than is free may
        // stay.
        let keep = self.inner.retainable().max(1);
        let mut idle = self.inner.idle();
        if buffer.capacity() == CHUNK && idle.len() < keep {
            idle.push(buffer);
        }
        self.inner.idle_count.store(idle.len(), Ordering::Relaxed);
    }
}
