//! [`Running`]: the uploads of this process that can be gone on with.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// So many names of records are remembered at most.
const HINTS: usize = 10_000;

/// The uploads of this process, by the name of their records.
#[derive(Debug, Default)]
pub struct Running {
    entries: Mutex<HashMap<String, Vec<Arc<Entry>>>>,
    hints: Mutex<Hints>,
}

/// The names of records that are known to be there, the oldest first: a small upload of the same name cleans up by
/// them, and asks the store nothing where there are none.
#[derive(Debug, Default)]
struct Hints {
    names: HashSet<String>,
    order: VecDeque<String>,
}

/// One upload.
#[derive(Debug)]
struct Entry {
    user: Arc<str>,
    /// Bytes of the object that have arrived.
    size: AtomicU64,
    /// Cancelled to make it stop, so that another session can go on with it.
    stop: CancellationToken,
    /// Whether a newer upload of the same key has begun: this one is kept no more.
    displaced: AtomicBool,
    /// Whether it has been given up and is being kept.
    ending: AtomicBool,
    /// Cancelled when nothing of it is left to do.
    gone: CancellationToken,
}

/// An upload's place in [`Running`], from its begin until what was kept of it is in the store.
#[derive(Debug)]
pub(in crate::object) struct Ticket {
    replica: Arc<super::Replica>,
    name: String,
    entry: Arc<Entry>,
}

/// The view of an upload's entry that the upload itself has.
#[derive(Debug, Clone)]
pub(in crate::object) struct EntryHandle {
    entry: Arc<Entry>,
    replica: Arc<super::Replica>,
    name: String,
}

/// The uploads of one user of one key that are there before his next.
#[derive(Debug)]
pub struct Older(Vec<Arc<Entry>>);

impl Running {
    /// Enters an upload; those of the same key before it are kept no more when they break off.
    pub(in crate::object) fn enter(
        replica: &Arc<super::Replica>,
        name: String,
        user: Arc<str>,
    ) -> Ticket {
        let entry = Arc::new(Entry {
            user,
            size: AtomicU64::new(0),
            stop: CancellationToken::new(),
            displaced: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            gone: CancellationToken::new(),
        });
        let running = &replica.running;
        let mut entries = running
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let here = entries.entry(name.clone()).or_default();
        for older in here.iter() {
            older.displaced.store(true, Ordering::Relaxed);
        }
        here.push(Arc::clone(&entry));
        drop(entries);
        Ticket {
            replica: Arc::clone(replica),
            name,
            entry,
        }
    }

    /// The uploads of a user under this name that are still kept when they break off.
    pub(in crate::object) fn older(&self, name: &str, user: &str) -> Older {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let here = entries.get(name).into_iter().flatten();
        let kept =
            here.filter(|entry| *entry.user == *user && !entry.displaced.load(Ordering::Relaxed));
        Older(kept.cloned().collect())
    }

    /// Whether an upload under this name is in this process.
    pub(super) fn holds(&self, name: &str) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.contains_key(name)
    }

    /// Uploads in this process that have not ended: a gauge.
    pub fn count(&self) -> usize {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(Vec::len).sum()
    }

    /// Remembers that a record of this name is there.
    pub(super) fn hint(&self, name: &str) {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.names.insert(name.to_owned()) {
            hints.order.push_back(name.to_owned());
            if hints.order.len() > HINTS
                && let Some(oldest) = hints.order.pop_front()
            {
                hints.names.remove(&oldest);
            }
        }
    }

    /// Forgets a hint; tells whether there was one.
    pub(super) fn take_hint(&self, name: &str) -> bool {
        let mut hints = self.hints.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hints.names.remove(name);
        if known {
            hints.order.retain(|other| other != name);
        }
        known
    }
}

impl Older {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the newest of them has received, bytes of the object; `None` where there is none, or where it is being kept
    /// right now, so that this is no number to go on from.
    pub fn size(&self) -> Option<u64> {
        let entry = self.0.last()?;
        let running = !entry.ending.load(Ordering::Relaxed);
        running.then(|| entry.size.load(Ordering::Relaxed))
    }

    /// Makes them stop.
    pub fn stop(&self) {
        for entry in &self.0 {
            entry.stop.cancel();
        }
    }

    /// Waits until those that were given up are kept or removed. Cancel safe.
    pub async fn kept(&self) {
        for entry in &self.0 {
            if entry.ending.load(Ordering::Relaxed) {
                entry.gone.cancelled().await;
            }
        }
    }

    /// Waits until all of them have ended and what is kept of them is in the store. Cancel safe.
    pub async fn gone(&self) {
        for entry in &self.0 {
            entry.gone.cancelled().await;
        }
    }
}

impl EntryHandle {
    /// Tells how much has arrived.
    pub(in crate::object) fn received(&self, size: u64) {
        self.entry.size.store(size, Ordering::Relaxed);
    }

    /// Cancelled when another session goes on with this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.entry.stop.clone()
    }

    /// The object is written: others of the same key that run are kept no more when they break off.
    pub(in crate::object) fn supersede(&self) {
        let running = &self.replica.running;
        let entries = running
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for other in entries.get(&self.name).into_iter().flatten() {
            if !Arc::ptr_eq(other, &self.entry) {
                other.displaced.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The upload is given up; what there is of it is being kept.
    pub(in crate::object) fn ending(&self) {
        self.entry.ending.store(true, Ordering::Relaxed);
    }
}

impl Ticket {
    /// What the upload needs of it.
    pub(super) fn entry(&self) -> EntryHandle {
        EntryHandle {
            entry: Arc::clone(&self.entry),
            replica: Arc::clone(&self.replica),
            name: self.name.clone(),
        }
    }

    /// Whether a newer upload of the same key has begun.
    pub(super) fn displaced(&self) -> bool {
        self.entry.displaced.load(Ordering::Relaxed)
    }

    /// Whether another upload of the same key is in this process.
    pub(super) fn has_company(&self) -> bool {
        let running = &self.replica.running;
        let entries = running
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entries.get(&self.name).is_some_and(|here| here.len() > 1)
    }

    /// Remembers that a record of this name is there.
    pub(super) fn hint(&self) {
        self.replica.running.hint(&self.name);
    }

    /// Whether a record of this name is known to be there.
    pub(super) fn hinted(&self) -> bool {
        let running = &self.replica.running;
        let hints = running.hints.lock().unwrap_or_else(PoisonError::into_inner);
        hints.names.contains(&self.name)
    }

    /// Forgets that; tells whether it was known.
    pub(super) fn take_hint(&self) -> bool {
        self.replica.running.take_hint(&self.name)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let running = &self.replica.running;
        let mut entries = running
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = entries.get_mut(&self.name) {
            here.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
            if here.is_empty() {
                entries.remove(&self.name);
            }
        }
        drop(entries);
        self.entry.gone.cancel();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::object::Replica;

    #[tokio::test]
    async fn the_newest_upload_of_a_key_is_the_one_that_is_kept() {
        let replica = Arc::new(Replica::default());
        let first = Running::enter(&replica, "n".to_owned(), "u".into());
        first.entry().received(5);
        let older = replica.running.older("n", "u");
        assert_eq!(older.size(), Some(5));
        assert!(replica.running.older("n", "other").is_empty());
        let second = Running::enter(&replica, "n".to_owned(), "u".into());
        assert!(first.displaced() && !second.displaced());
        older.stop();
        assert!(first.entry().stopped().is_cancelled());
        assert!(!second.entry().stopped().is_cancelled());
        first.entry().ending();
        assert_eq!(older.size(), None);
        drop(first);
        older.gone().await;
        assert_eq!(replica.running.count(), 1);
        drop(second);
        assert!(!replica.running.holds("n"));
        assert!(replica.running.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn hints_are_bounded() {
        let running = Running::default();
        for number in 0..HINTS + 5 {
            running.hint(&number.to_string());
        }
        assert!(!running.take_hint("0"));
        assert!(running.take_hint("5") && !running.take_hint("5"));
        assert_eq!(running.hints.lock().unwrap().names.len(), HINTS - 1);
    }
}
