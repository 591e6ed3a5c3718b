//! The account of the budget: free memory, its holders and the waiting requests.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};

/// The unit of the budget, bytes.
pub(super) const UNIT: u64 = 32 * 1024;

/// Memory that comes with an [`Admission`](super::Admission), bytes.
pub const FIRST_MEMORY: u64 = 128 * 1024;

/// [`FIRST_MEMORY`] in units.
pub(super) const FIRST: u32 = (FIRST_MEMORY / UNIT) as u32;

/// The fraction of the budget that parts leave free for admissions.
pub(super) const HEADROOM: u32 = 8;

/// What all clones of a [`Budget`](super::Budget) share.
#[derive(Debug)]
pub(super) struct BudgetInner {
    /// Size of the budget in units.
    pub(super) total: u32,
    pub(super) hold: Duration,
    /// The lock is held for a few comparisons only, never across an await.
    pub(super) state: Mutex<BudgetState>,
    /// Units held, to be read without the lock.
    pub(super) held: AtomicU64,
    /// The number of waiting requests, see [`Budget::contended`](super::Budget::contended).
    pub(super) waiting: AtomicUsize,
    /// The number of those that wait for memory that parts hold.
    pub(super) pressing: AtomicUsize,
    /// Wakes uploads that fill parts when the first of these begins to wait.
    pub(super) pressure: Notify,
    /// Chunks to be recycled. The lock is held for a push or a pop only.
    pub(super) idle: Mutex<Vec<BytesMut>>,
    /// Length of `idle`, to be read without the lock.
    pub(super) idle_count: AtomicUsize,
}

/// Free memory and the requests that wait for it.
#[derive(Debug)]
pub(super) struct BudgetState {
    /// Units without a holder.
    pub(super) free: u32,
    /// Units set aside.
    pub(super) aside: u32,
    /// Units of the reserve, and the number of them that is held.
    pub(super) reserve: u32,
    pub(super) recalled: u32,
    /// The limit of admissions, and their number.
    pub(super) admissions: u32,
    pub(super) admitted: u32,
    /// By kind, first come first served.
    pub(super) waiters: [VecDeque<Waiter>; Holder::ALL.len()],
}

/// The kinds of holders, in the order in which they are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Recall,
    Admission,
    Work,
    Part,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) units: u32,
    pub(super) served: oneshot::Sender<Grant>,
}

/// Whether a request can be served now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    Fits,
    /// Its own kind is at its limit: other kinds need not wait for it.
    Limit,
    /// Too little is free.
    Short,
}

/// Some bytes of the budget; given back on drop.
#[derive(Debug)]
pub struct Grant {
    inner: Arc<BudgetInner>,
    holder: Holder,
    units: u32,
}

impl Holder {
    pub(super) const ALL: [Holder; 4] = [
        Holder::Recall,
        Holder::Admission,
        Holder::Work,
        Holder::Part,
    ];

    /// The name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Holder::Recall => "recall",
            Holder::Admission => "admission",
            Holder::Work => "work",
            Holder::Part => "part",
        }
    }
}

impl BudgetState {
    /// Besides all admissions and the reserve, there has to be memory for the largest part.
    pub(super) fn bound_admissions(&mut self, total: u32) {
        let left = (total - self.aside).saturating_sub(total / 4 + self.reserve);
        self.admissions = (left.min(total / 2) / FIRST).max(1);
    }

    /// Whether a request of this kind has to wait for other requests.
    pub(super) fn is_behind(&mut self, holder: Holder) -> bool {
        Holder::ALL.iter().take(holder as usize + 1).any(|before| {
            let waiters = &mut self.waiters[*before as usize];
            waiters.retain(|waiter| !waiter.served.is_closed());
            // Requests that wait for the reserve, or for an admission's end, wait for nothing that
            // others take.
            !waiters.is_empty() && (*before == holder || *before == Holder::Work)
        })
    }

    pub(super) fn fit(&self, holder: Holder, units: u32, total: u32) -> Fit {
        let reserve = self.reserve.saturating_sub(self.recalled);
        let admissions = self.admissions.saturating_sub(self.admitted) * FIRST;
        let least = match holder {
            Holder::Recall if units > reserve => return Fit::Limit,
            Holder::Admission if self.admitted >= self.admissions => return Fit::Limit,
            Holder::Recall => 0,
            Holder::Admission => reserve,
            // Else a password that needs most of a small budget would never get it.
            Holder::Work if units + self.reserve + total / HEADROOM > total - self.aside => 0,
            Holder::Work | Holder::Part => reserve + admissions.min(total / HEADROOM),
        };
        match self.free.checked_sub(units) {
            Some(left) if left >= least => Fit::Fits,
            _ => Fit::Short,
        }
    }

    pub(super) fn take(&mut self, inner: &Arc<BudgetInner>, holder: Holder, units: u32) -> Grant {
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

    /// The next request that can be served, with its memory.
    pub(super) fn next(
        &mut self,
        inner: &Arc<BudgetInner>,
    ) -> Option<(oneshot::Sender<Grant>, Grant)> {
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
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    /// Gives back the memory beyond `bytes`, in whole units.
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
    pub(super) fn state(&self) -> MutexGuard<'_, BudgetState> {
        // Nothing can panic while it is held, except arithmetic on numbers that are checked before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give_back(self: &Arc<Self>, holder: Holder, units: u32, ends: bool) {
        {
            let mut state = self.state();
            // Before other requests can take it: `held` never exceeds the budget.
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

    /// Serves waiting requests while there is memory.
    pub(super) fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state().next(self);
            match next {
                // The grant of a request that was dropped gives its memory back here.
                Some((waiter, grant)) => drop(waiter.send(grant)),
                None => return,
            }
        }
    }
}

/// Counts a waiting request until it is dropped.
pub(super) struct WaitingCount<'a> {
    inner: &'a Arc<BudgetInner>,
    waits: bool,
    presses: bool,
}

impl<'a> WaitingCount<'a> {
    pub(super) fn new(inner: &'a Arc<BudgetInner>, holder: Holder, fit: Fit) -> Self {
        // The reserve serves only requests for it, whatever others give back.
        let waits = holder != Holder::Recall;
        // An admission that waits for the end of another one needs no memory of a part.
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
        // It may have been in the way of smaller requests.
        self.inner.serve();
    }
}
