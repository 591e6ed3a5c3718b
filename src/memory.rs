//! The process's one memory budget, which all transfers share.
//!
//! The budget is counted in units of 32 KiB. It has four kinds of holders. In each kind the first to come is the first
//! served, and the kinds are served in this order:
//!
//! 1. [`Budget::recall`]: memory to read one part back that lies in pieces in the store. It comes out of a reserve of one
//!    part that no other kind takes from.
//! 2. [`Budget::admit`]: leave to run one transfer. An [`Admission`] holds a transfer's first memory ([`FIRST_MEMORY`]):
//!    the chunks of a small file, the beginning of an upload's next part, or what a download streams through. Admissions
//!    hold at most half of the budget, and uploads always leave an eighth of it free for more of them. So a transfer
//!    starts at once, however many uploads wait for memory.
//! 3. [`Budget::grant`]: memory for work that ends by itself, such as checking a password.
//! 4. [`Budget::part`]: memory for the part that an upload is filling. [`Budget::try_grant`], which the look-ahead of
//!    downloads uses, never waits and comes last.
//!
//! **Why no transfer waits for ever.** An upload that waits for a part's memory holds only its admission and parts on
//! their way to the store, which need nothing more. An upload that is filling a part holds all that it fills, or, if its
//! client is slow, stores what it holds as a piece in the store before it asks for more. While others wait, it does so
//! after [`Budget::hold`] at the latest, and gives the memory back. An upload that has waited that long itself stores what it
//! has in its admission as a piece, and continues. So a slow client holds up no other client, as long as the store takes
//! pieces. A part that lies in pieces needs the reserve once, to be sent; the holder of the reserve waits for the store
//! only. If the store takes no pieces, uploads ask for whole parts, hold them until they are sent, and wait for nothing
//! while they do.
//!
//! Memory that must not wait for transfers is [set aside](Budget::set_aside) at the start: logins need it to check
//! passwords.
//!
//! Uploads read into chunks of [`CHUNK`] bytes that are recycled: fresh memory costs a page fault for each 4 KiB, which is
//! measurable CPU at gigabytes a second. Chunks that wait to be used again count against the budget, too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// What the budget is counted in, bytes.
const UNIT: u64 = 32 * 1024;

/// Capacity of a recycled chunk, bytes.
pub const CHUNK: usize = 256 * 1024;

/// Memory that comes with an [`Admission`], bytes.
pub const FIRST_MEMORY: u64 = 128 * 1024;

/// The same in units.
const FIRST: u32 = (FIRST_MEMORY / UNIT) as u32;

/// At most this much is kept for reuse, bytes.
const RETAINED: u64 = 32 * 1024 * 1024;

/// The fraction of the budget that parts leave free for admissions.
const HEADROOM: u32 = 8;

/// How long a half-filled part is held while others wait, if not configured.
pub const HOLD: Duration = Duration::from_secs(30);

/// The process's budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<BudgetInner>,
}

#[derive(Debug)]
struct BudgetInner {
    /// Size of the budget in units.
    total: u32,
    hold: Duration,
    /// The lock is held for a few comparisons only, never across an await.
    state: Mutex<BudgetState>,
    /// Units held, to be read without the lock.
    held: AtomicU64,
    /// How many wait, see [`Budget::contended`].
    waiting: AtomicUsize,
    /// How many of them wait for memory that parts hold.
    pressing: AtomicUsize,
    /// Wakes those that fill parts when the first of these begins to wait.
    pressure: Notify,
    /// Chunks to be used again. The lock is held for a push or a pop only.
    idle: Mutex<Vec<BytesMut>>,
    /// Length of `idle`, to be read without the lock.
    idle_count: AtomicUsize,
}

/// What is free, and who waits for it.
#[derive(Debug)]
struct BudgetState {
    /// Units that nobody holds.
    free: u32,
    /// Units set aside.
    aside: u32,
    /// Units of the reserve, and how many of them are held.
    reserve: u32,
    recalled: u32,
    /// How many admissions there may be, and how many there are.
    admissions: u32,
    admitted: u32,
    /// By kind, first come first served.
    waiters: [VecDeque<Waiter>; Holder::ALL.len()],
}

/// Who holds memory, in the order in which they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Recall,
    Admission,
    Work,
    Part,
}

#[derive(Debug)]
struct Waiter {
    units: u32,
    served: oneshot::Sender<Grant>,
}

/// Whether a request can be served now.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    Fits,
    /// Its own kind is at its limit: others need not wait for it.
    Limit,
    /// Too little is free.
    Short,
}

/// Leave to run one transfer: holds its first memory. Taken before the 150.
#[derive(Debug)]
pub struct Admission {
    _memory: Grant,
}

/// Some bytes of the budget; given back on drop.
#[derive(Debug)]
pub struct Grant {
    inner: Arc<BudgetInner>,
    holder: Holder,
    units: u32,
}

/// The budget is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory free within the time")]
pub struct Exhausted;

impl Holder {
    const ALL: [Holder; 4] = [
        Holder::Recall,
        Holder::Admission,
        Holder::Work,
        Holder::Part,
    ];
}

impl Budget {
    /// A budget of `bytes` (rounded down to 32 KiB, and at least 256 KiB) for parts of up to a quarter of it.
    pub fn new(bytes: u64) -> Self {
        Budget::for_parts(bytes, bytes / 4, HOLD)
    }

    /// A budget whose reserve is one part of `part` bytes, at most a quarter of the budget. While others wait for memory
    /// a half-filled part is held for `hold`.
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

    /// Its size, bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.inner.total) * UNIT
    }

    /// Takes `bytes` out of the budget, for good: at the start, before anything runs. If transfers would not keep half of
    /// the budget nothing is taken, and `false` returned. If they keep too little for a reserve, there is none.
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

    /// Whether a transfer waits for the end of another one, since there are as many as there may be.
    pub fn crowded(&self) -> bool {
        let waiting = self.inner.waiting.load(Ordering::Relaxed);
        waiting > self.inner.pressing.load(Ordering::Relaxed)
    }

    /// The largest part of an upload that may be asked for, bytes: a quarter of the budget.
    pub fn largest_part(&self) -> u64 {
        u64::from(self.inner.total / 4) * UNIT
    }

    /// Whether a part of `bytes` can be granted at all: when nothing runs but the transfer that asks for it.
    pub fn can_hold(&self, bytes: u64) -> bool {
        let state = self.inner.state();
        let others = state.admissions.saturating_sub(1) * FIRST;
        let left = state.reserve + others.min(self.inner.total / HEADROOM) + FIRST;
        let most = (self.inner.total - state.aside).saturating_sub(left);
        bytes.div_ceil(UNIT) <= u64::from(most)
    }

    /// The largest part that may be stored in pieces, bytes: so much can be read back at once. 0 if the budget is too
    /// small for that.
    pub fn recallable(&self) -> u64 {
        u64::from(self.inner.state().reserve) * UNIT
    }

    /// How long a half-filled part is held while others wait for memory.
    pub fn hold(&self) -> Duration {
        self.inner.hold
    }

    /// Leave to start a transfer, first come first served, within `wait`.
    pub async fn admit(&self, wait: Duration) -> Result<Admission, Exhausted> {
        let memory = timeout(wait, self.acquire(Holder::Admission, FIRST));
        let memory = memory.await.map_err(|_| Exhausted)??;
        Ok(Admission { _memory: memory })
    }

    /// `bytes` for work that ends by itself, within `wait`. Fails at once if the budget is smaller.
    pub async fn grant(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let units = self.count(bytes)?;
        timeout(wait, self.acquire(Holder::Work, units))
            .await
            .map_err(|_| Exhausted)?
    }

    /// `bytes` for the part that an upload is filling, within `wait`.
    pub async fn part(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let units = self.count(bytes)?;
        timeout(wait, self.acquire(Holder::Part, units))
            .await
            .map_err(|_| Exhausted)?
    }

    /// `bytes` of the reserve, to read a part back. Waits for those before it, which wait for the store only.
    pub async fn recall(&self, bytes: u64) -> Result<Grant, Exhausted> {
        if bytes > self.recallable() {
            return Err(Exhausted);
        }
        self.acquire(Holder::Recall, self.count(bytes)?).await
    }

    /// The same if it needs no waiting: from the reserve, or from what is free.
    pub fn try_recall(&self, bytes: u64) -> Option<Grant> {
        let units = self.count(bytes).ok()?;
        self.try_acquire(Holder::Recall, units)
            .or_else(|| self.try_acquire(Holder::Part, units))
    }

    /// `bytes` if they are free now and no other transfer waits.
    pub fn try_grant(&self, bytes: u64) -> Option<Grant> {
        self.try_acquire(Holder::Part, self.count(bytes).ok()?)
    }

    /// Whether memory that parts hold would serve those that wait.
    fn pressing(&self) -> bool {
        self.inner.pressing.load(Ordering::Relaxed) > 0
    }

    /// Resolves when a part's memory that was taken at `since` is to be given back: others wait for it, and it was held
    /// for [`hold`](Budget::hold).
    pub async fn pressed(&self, since: Instant) {
        loop {
            // Before the look, so that no waiter is missed.
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

    /// An empty buffer of [`CHUNK`] bytes, a used one if there is one. Its memory has to be covered by a grant.
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
                // What was given back since the first try may be enough.
                self.inner.serve();
                // The sender is dropped only with a receiver that is gone.
                served.await.map_err(|_| Exhausted)?
            }
        };
        self.inner.trim();
        Ok(grant)
    }
}

impl BudgetState {
    /// Next to all admissions and the reserve there has to be memory for the largest part.
    fn bound_admissions(&mut self, total: u32) {
        let left = (total - self.aside).saturating_sub(total / 4 + self.reserve);
        self.admissions = (left.min(total / 2) / FIRST).max(1);
    }

    /// Whether a request of this kind comes after others that wait.
    fn is_behind(&mut self, holder: Holder) -> bool {
        Holder::ALL.iter().take(holder as usize + 1).any(|before| {
            let waiters = &mut self.waiters[*before as usize];
            waiters.retain(|waiter| !waiter.served.is_closed());
            // Those that wait for the reserve, or for an admission's end, wait for nothing that others take.
            !waiters.is_empty() && (*before == holder || *before == Holder::Work)
        })
    }

    fn fit(&self, holder: Holder, units: u32, total: u32) -> Fit {
        let reserve = self.reserve.saturating_sub(self.recalled);
        let admissions = self.admissions.saturating_sub(self.admitted) * FIRST;
        let least = match holder {
            Holder::Recall if units > reserve => return Fit::Limit,
            Holder::Admission if self.admitted >= self.admissions => return Fit::Limit,
            Holder::Recall => 0,
            Holder::Admission => reserve,
            // A password that needs most of a small budget would never get it.
            Holder::Work if units + self.reserve + total / HEADROOM > total - self.aside => 0,
            Holder::Work | Holder::Part => reserve + admissions.min(total / HEADROOM),
        };
        match self.free.checked_sub(units) {
            Some(left) if left >= least => Fit::Fits,
            _ => Fit::Short,
        }
    }

    fn take(&mut self, inner: &Arc<BudgetInner>, holder: Holder, units: u32) -> Grant {
        self.free -= units;
        match holder {
            Holder::Recall => self.recalled += units,
            Holder::Admission => self.admitted += 1,
            Holder::Work | Holder::Part => {}
        }
        inner.held.fetch_add(u64::from(units), Ordering::Relaxed);
        Grant {
            inner: Arc::clone(inner),
            holder,
            units,
        }
    }

    /// The next that can be served, with its memory.
    fn next(&mut self, inner: &Arc<BudgetInner>) -> Option<(oneshot::Sender<Grant>, Grant)> {
        for holder in Holder::ALL {
            while let Some(waiter) = self.waiters[holder as usize].front() {
                let units = waiter.units;
                let fit = match waiter.served.is_closed() {
                    true => None,
                    false => Some(self.fit(holder, units, inner.total)),
                };
                match fit {
                    Some(Fit::Short) => return None,
                    Some(Fit::Limit) => break,
                    Some(Fit::Fits) | None => {}
                }
                let waiter = self.waiters[holder as usize].pop_front()?;
                if fit.is_some() {
                    return Some((waiter.served, self.take(inner, holder, units)));
                }
            }
        }
        None
    }
}

impl Grant {
    /// How much it is, bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    /// Gives back what is held beyond `bytes`, in whole units.
    pub fn shrink_to(&mut self, bytes: u64) {
        let keep = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let surplus = self.units.saturating_sub(keep);
        if surplus > 0 {
            self.units -= surplus;
            self.inner.give_back(self.holder, surplus, false);
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.inner.give_back(self.holder, self.units, true);
    }
}

impl BudgetInner {
    fn state(&self) -> MutexGuard<'_, BudgetState> {
        // Nothing can panic while it is held but arithmetic on numbers that are checked before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(self: &Arc<Self>, holder: Holder, units: u32, ends: bool) {
        {
            let mut state = self.state();
            // Before anybody can take it: nobody ever sees more than the budget in use.
            self.held.fetch_sub(u64::from(units), Ordering::Relaxed);
            state.free += units;
            match holder {
                Holder::Recall => state.recalled -= units,
                Holder::Admission => state.admitted -= u32::from(ends),
                Holder::Work | Holder::Part => {}
            }
        }
        self.serve();
    }

    /// Serves those that wait, as far as there is memory.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state().next(self);
            match next {
                // A waiter that has gone gives its memory back here, by the grant's drop.
                Some((waiter, grant)) => drop(waiter.send(grant)),
                None => return,
            }
        }
    }

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
        let free = u64::from(self.state().free) * UNIT;
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
    inner: Arc<BudgetInner>,
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

/// Counts those that wait; a waiter that is dropped waits no more.
struct WaitingCount<'a> {
    inner: &'a Arc<BudgetInner>,
    waits: bool,
    presses: bool,
}

impl<'a> WaitingCount<'a> {
    fn new(inner: &'a Arc<BudgetInner>, holder: Holder, fit: Fit) -> Self {
        // The reserve is for those alone that wait for it, whatever others give back.
        let waits = holder != Holder::Recall;
        // An admission that waits for another one to end needs no memory of a part.
        let presses = waits && fit != Fit::Limit;
        if waits {
            inner.waiting.fetch_add(1, Ordering::Relaxed);
        }
        if presses && inner.pressing.fetch_add(1, Ordering::Relaxed) == 0 {
            inner.pressure.notify_waiters();
        }
        WaitingCount {
            inner,
            waits,
            presses,
        }
    }
}

impl Drop for WaitingCount<'_> {
    fn drop(&mut self) {
        let count = |counter: &AtomicUsize, counted| {
            counter.fetch_sub(usize::from(counted), Ordering::Relaxed)
        };
        count(&self.inner.waiting, self.waits);
        count(&self.inner.pressing, self.presses);
        // It may have been in the way of smaller ones.
        self.inner.serve();
    }
}

#[cfg(test)]
mod tests;
