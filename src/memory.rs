//! The process's one memory budget, which all transfers share.
//!
//! The budget is counted in units of 32 KiB. It has four kinds of holders. In each kind the first
//! to come is the first served, and the kinds are served in this order:
//!
//! 1. [`Budget::recall`]: memory to read one part back that lies in pieces in the store. It comes
//!    out of a reserve of one part that no other kind takes from.
//! 2. [`Budget::admit`]: leave to run one transfer. An [`Admission`] holds a transfer's first
//!    memory ([`FIRST_MEMORY`]): the chunks of a small file, the beginning of an upload's next
//!    part, or what a download streams through. Admissions hold at most half of the budget, and
//!    uploads always leave an eighth of it free for more of them. So a transfer starts at once,
//!    however many uploads wait for memory.
//! 3. [`Budget::grant`]: memory for work that ends by itself, such as checking a password.
//! 4. [`Budget::part`]: memory for the part that an upload is filling. [`Budget::try_grant`], which
//!    the look-ahead of downloads uses, never waits and comes last.
//!
//! **Why no transfer waits for ever.** An upload that waits for a part's memory holds only its
//! admission and parts on their way to the store, which need no more memory. An upload that fills a
//! part holds all of it, or, if its client is slow, stores what it holds as a piece in the store
//! before it asks for more. While others wait, it does so after [`Budget::hold`] at the latest, and
//! gives the memory back. An upload that has waited that long itself stores what it has in its
//! admission as a piece, and continues. So a slow client does not delay other clients while the
//! store takes pieces. A part that lies in pieces needs the reserve once, to be sent; the holder of
//! the reserve waits for the store only. If the store takes no pieces, uploads ask for whole parts,
//! hold them until they are sent, and wait for nothing else in that time.
//!
//! Memory that must not wait for transfers is [set aside](Budget::set_aside) at the start: logins
//! need it to check passwords.
//!
//! Uploads read into chunks of [`CHUNK`] bytes that are recycled: fresh memory costs a page fault
//! for each 4 KiB, which is measurable CPU at gigabytes a second. Chunks that wait to be used again
//! count against the budget, too.

mod accounts;
mod chunks;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use accounts::{
    BudgetInner, BudgetState, FIRST, Fit, HEADROOM, Holder, UNIT, Waiter, WaitingCount,
};
pub use accounts::{FIRST_MEMORY, Grant};
pub use chunks::CHUNK;
use chunks::Chunk;

/// How long a half-filled part is held while others wait, if not configured.
pub const HOLD: Duration = Duration::from_secs(30);

/// The process's budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<BudgetInner>,
}

/// Permission to run one transfer, with its first memory. Taken before the 150.
#[derive(Debug)]
pub struct Admission {
    _memory: Grant,
}

/// No memory is free within the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory free within the time")]
pub struct Exhausted;

impl Budget {
    /// A budget of `bytes` (rounded down to 32 KiB, and at least 256 KiB) for parts of up to a
    /// quarter of it.
    pub fn new(bytes: u64) -> Self {
        Budget::for_parts(bytes, bytes / 4, HOLD)
    }

    /// A budget whose reserve is one part of `part` bytes, at most a quarter of the budget. While
    /// others wait for memory a half-filled part is held for `hold`.
    pub fn for_parts(bytes: u64, part: u64, hold: Duration) -> Self {
        // 8 TiB are enough.
        let total = u32::try_from((bytes / UNIT).clamp(2 * u64::from(FIRST), 1 << 28));
        let total = total.unwrap_or(1 << 28);
        let reserve = u32::try_from(part.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let mut state = BudgetState {
            free: total,
            aside: 0,
            reserve: reserve.min(total / 4),
            recalled: 0,
            admissions: 0,
            admitted: 0,
            waiters: Default::default(),
        };
        state.bound_admissions(total);
        Budget {
            inner: Arc::new(BudgetInner {
                total,
                hold,
                state: Mutex::new(state),
                held: AtomicU64::new(0),
                waiting: AtomicUsize::new(0),
                pressing: AtomicUsize::new(0),
                pressure: Notify::new(),
                idle: Mutex::new(Vec::new()),
                idle_count: AtomicUsize::new(0),
            }),
        }
    }

    /// Its size in bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.inner.total) * UNIT
    }

    /// Takes `bytes` out of the budget permanently: at the start, before anything runs. Takes
    /// nothing and returns `false` if transfers would not keep half of the budget. If they keep too
    /// little for a reserve, there is none.
    pub fn set_aside(&self, bytes: u64) -> bool {
        let total = self.inner.total;
        let mut state = self.inner.state();
        let Ok(units) = u32::try_from(bytes.div_ceil(UNIT)) else {
            return false;
        };
        let aside = state.aside.saturating_add(units);
        if aside > total / 2 || units > state.free {
            return false;
        }
        state.free -= units;
        state.aside = aside;
        if total - aside < total / 4 + state.reserve + total / HEADROOM {
            state.reserve = 0;
        }
        state.bound_admissions(total);
        true
    }

    /// Bytes held now, without those that are set aside; 0 when nothing runs.
    pub fn in_use(&self) -> u64 {
        self.inner.held.load(Ordering::Relaxed) * UNIT
    }

    /// Whether a transfer or a login waits for memory.
    pub fn contended(&self) -> bool {
        self.inner.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether a transfer waits for the end of another one because the limit of transfers is
    /// reached.
    pub fn crowded(&self) -> bool {
        let waiting = self.inner.waiting.load(Ordering::Relaxed);
        waiting > self.inner.pressing.load(Ordering::Relaxed)
    }

    /// The number of waiting requests of each kind of holder.
    pub fn waiters(&self) -> [(&'static str, usize); 4] {
        let state = self.inner.state();
        Holder::ALL.map(|holder| {
            let waiters = state.waiters[holder as usize].iter();
            let open = waiters.filter(|waiter| !waiter.served.is_closed());
            (holder.name(), open.count())
        })
    }

    /// The largest part that an upload may ask for, bytes: a quarter of the budget.
    pub fn largest_part(&self) -> u64 {
        u64::from(self.inner.total / 4) * UNIT
    }

    /// Whether a part of `bytes` can be granted at all, that is, when only the transfer that asks
    /// for it runs.
    pub fn can_hold(&self, bytes: u64) -> bool {
        let state = self.inner.state();
        let others = state.admissions.saturating_sub(1) * FIRST;
        let left = state.reserve + others.min(self.inner.total / HEADROOM) + FIRST;
        let most = (self.inner.total - state.aside).saturating_sub(left);
        bytes.div_ceil(UNIT) <= u64::from(most)
    }

    /// The largest part that may be stored in pieces, bytes: this much can be read back at once. 0
    /// if the budget is too small for that.
    pub fn recallable(&self) -> u64 {
        u64::from(self.inner.state().reserve) * UNIT
    }

    /// How long a half-filled part is held while others wait for memory.
    pub fn hold(&self) -> Duration {
        self.inner.hold
    }

    /// Waits up to `wait` for permission to start a transfer, first come first served.
    pub async fn admit(&self, wait: Duration) -> Result<Admission, Exhausted> {
        let memory = timeout(wait, self.acquire(Holder::Admission, FIRST));
        let memory = memory.await.map_err(|_| Exhausted)??;
        Ok(Admission { _memory: memory })
    }

    /// Waits up to `wait` for `bytes` for work that ends by itself. Fails at once if the budget is
    /// smaller.
    pub async fn grant(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let units = self.count(bytes)?;
        timeout(wait, self.acquire(Holder::Work, units))
            .await
            .map_err(|_| Exhausted)?
    }

    /// Waits up to `wait` for `bytes` for the part that an upload is filling.
    pub async fn part(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let units = self.count(bytes)?;
        timeout(wait, self.acquire(Holder::Part, units))
            .await
            .map_err(|_| Exhausted)?
    }

    /// Waits for `bytes` of the reserve, to read a part back. Earlier holders wait for the store
    /// only.
    pub async fn recall(&self, bytes: u64) -> Result<Grant, Exhausted> {
        if bytes > self.recallable() {
            return Err(Exhausted);
        }
        self.acquire(Holder::Recall, self.count(bytes)?).await
    }

    /// Takes `bytes` to read a part back, without waiting: from the reserve, or from free memory.
    pub fn try_recall(&self, bytes: u64) -> Option<Grant> {
        let units = self.count(bytes).ok()?;
        self.try_acquire(Holder::Recall, units)
            .or_else(|| self.try_acquire(Holder::Part, units))
    }

    /// Returns `bytes` if they are free now and no other transfer waits.
    pub fn try_grant(&self, bytes: u64) -> Option<Grant> {
        self.try_acquire(Holder::Part, self.count(bytes).ok()?)
    }

    /// Whether a waiting request could be served from memory that parts hold.
    fn pressing(&self) -> bool {
        self.inner.pressing.load(Ordering::Relaxed) > 0
    }

    /// Resolves when a part has to give back its memory, which it took at `since`: others wait for
    /// it, and it was held for [`hold`](Budget::hold).
    pub async fn pressed(&self, since: Instant) {
        loop {
            // Registered before the check, so that no waiter is missed.
            let waiter = self.inner.pressure.notified();
            if !self.pressing() {
                waiter.await;
                continue;
            }
            sleep_until(since + self.inner.hold).await;
            if self.pressing() {
                return;
            }
        }
    }

    /// An empty buffer of [`CHUNK`] bytes, a recycled one if possible. A grant has to cover its
    /// memory.
    pub fn chunk(&self) -> BytesMut {
        self.inner
            .reuse()
            .unwrap_or_else(|| BytesMut::with_capacity(CHUNK))
    }

    /// Turns a filled buffer into `Bytes` whose memory is recycled when the last of them is
    /// dropped.
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
        if units > self.inner.total - self.inner.state().aside {
            Err(Exhausted)
        } else {
            Ok(units)
        }
    }

    fn try_acquire(&self, holder: Holder, units: u32) -> Option<Grant> {
        let mut state = self.inner.state();
        (!state.is_behind(holder) && state.fit(holder, units, self.inner.total) == Fit::Fits)
            .then(|| state.take(&self.inner, holder, units))
    }

    async fn acquire(&self, holder: Holder, units: u32) -> Result<Grant, Exhausted> {
        let grant = match self.try_acquire(holder, units) {
            Some(grant) => grant,
            None => {
                let (sender, served) = oneshot::channel();
                let fit = {
                    let mut state = self.inner.state();
                    let served = sender;
                    state.waiters[holder as usize].push_back(Waiter { units, served });
                    state.fit(holder, units, self.inner.total)
                };
                let _waiting = WaitingCount::new(&self.inner, holder, fit);
                // Memory that was given back since the first try may be enough.
                self.inner.serve();
                // The sender is dropped only with a receiver that has been dropped.
                served.await.map_err(|_| Exhausted)?
            }
        };
        self.inner.trim();
        Ok(grant)
    }
}

#[cfg(test)]
mod tests;
