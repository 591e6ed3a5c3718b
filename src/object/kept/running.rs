//! [`Running`]: the uploads of this process that can be gone on with.
//!
//! Their names here are those of their records with the store's endpoint before them ([`name_in`]): two stores can have
//! buckets of one name.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::super::{Location, Store};

/// So many names are remembered at most.
const MOST_NAMES: usize = 10_000;

/// The uploads of this process, by the name of their records.
#[derive(Debug, Default)]
pub struct Running {
    entries: Mutex<HashMap<String, Vec<Arc<Entry>>>>,
    /// The names of records that are known to be there: a small upload of the same name cleans up by them, and asks the
    /// store nothing where there are none.
    hints: Mutex<Names>,
    /// The names of objects that were written here without asking for a record: should such an object be removed, nothing
    /// would tell any more that what another process has kept of its name is older.
    written: Mutex<Names>,
}

/// The newest of some names.
#[derive(Debug, Default)]
struct Names {
    names: HashSet<String>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.names.insert(name.to_owned()) {
            self.order.push_back(name.to_owned());
            if self.order.len() > MOST_NAMES
                && let Some(oldest) = self.order.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
    }

    fn take(&mut self, name: &str) -> bool {
        let known = self.names.remove(name);
        if known {
            self.order.retain(|other| other != name);
        }
        known
    }
}

/// One upload.
#[derive(Debug)]
struct Entry {
    user: Arc<str>,
    /// [`Record::writer`](super::record::Record::writer) of its record.
    writer: String,
    /// Bytes of the object that have arrived.
    size: AtomicU64,
    /// Whether the client has sent any.
    sent: AtomicBool,
    /// Cancelled to make it stop, so that another session can go on with it.
    stop: CancellationToken,
    /// Whether a newer upload of the same key has the record, or whatever else ends what could be kept of this one.
    displaced: AtomicBool,
    /// Whether its object is there; what was written beside it is being removed.
    published: AtomicBool,
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

/// How an upload is called in [`Running`] whose record has this name.
pub(super) fn name_in(store: &Store, record_name: &str) -> String {
    format!("{} {record_name}", store.endpoint())
}

/// How an upload of an object is called in [`Running`].
pub(super) fn name_of(object: &Location) -> String {
    name_in(
        &object.store,
        &super::record::name(&object.bucket, &object.key),
    )
}

impl Running {
    /// Enters an upload; nothing changes for those of the same key before it.
    pub(in crate::object) fn enter(
        replica: &Arc<super::Replica>,
        name: String,
        user: Arc<str>,
        writer: String,
    ) -> Ticket {
        let entry = Arc::new(Entry {
            user,
            writer,
            size: AtomicU64::new(0),
            sent: AtomicBool::new(false),
            stop: CancellationToken::new(),
            displaced: AtomicBool::new(false),
            published: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            gone: CancellationToken::new(),
        });
        let mut entries = replica.running.locked();
        let here = entries.entry(name.clone()).or_default();
        here.push(Arc::clone(&entry));
        drop(entries);
        Ticket {
            replica: Arc::clone(replica),
            name,
            entry,
        }
    }

    /// The uploads of a user under this name that are not published, the oldest first.
    pub(in crate::object) fn older(&self, name: &str, user: &str) -> Older {
        let entries = self.locked();
        let here = entries.get(name).into_iter().flatten();
        let open = |entry: &&Arc<Entry>| !entry.published.load(Ordering::Relaxed);
        let his = here.filter(|entry| *entry.user == *user).filter(open);
        Older(his.cloned().collect())
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Entry>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an upload under this name is in this process.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.locked().contains_key(name)
    }

    /// Uploads in this process that have not ended: a gauge.
    pub fn count(&self) -> usize {
        self.locked().values().map(Vec::len).sum()
    }

    /// Remembers that a record of this name is there.
    pub(super) fn hint(&self, name: &str) {
        locked(&self.hints).add(name);
    }

    /// Whether a record of this name is known to be there.
    pub(super) fn hinted(&self, name: &str) -> bool {
        locked(&self.hints).names.contains(name)
    }

    /// Forgets a hint; tells whether there was one.
    pub(super) fn take_hint(&self, name: &str) -> bool {
        locked(&self.hints).take(name)
    }

    /// Remembers that an object of this name was written, and not asked for a record.
    pub(super) fn wrote(&self, name: &str) {
        locked(&self.written).add(name);
    }

    /// Forgets that; tells whether it was so.
    pub(super) fn take_written(&self, name: &str) -> bool {
        locked(&self.written).take(name)
    }
}

fn locked(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Older {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the newest of them that has received anything has received, bytes of the object (0 where none has);
    /// `None` where there is none, or where it is being kept right now, so that this is no number to go on from.
    pub fn size(&self) -> Option<u64> {
        let size = |entry: &Arc<Entry>| entry.size.load(Ordering::Relaxed);
        let newest = self.0.iter().rev().find(|entry| size(entry) > 0);
        let entry = newest.or(self.0.last())?;
        let running = !entry.ending.load(Ordering::Relaxed);
        running.then(|| size(entry))
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
    /// Tells how much of the object has arrived; it grows only. `sent`: whether the client has sent any of it. Whoever
    /// sends something under a name means no earlier upload of his that may still hang somewhere: that is kept no more.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        self.entry.size.fetch_max(size, Ordering::Relaxed);
        if sent && !self.entry.sent.swap(true, Ordering::Relaxed) {
            let entries = self.replica.running.locked();
            let here = entries.get(&self.name).into_iter().flatten();
            let older = here.take_while(|entry| !Arc::ptr_eq(entry, &self.entry));
            for older in older.filter(|entry| entry.user == self.entry.user) {
                older.displaced.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Cancelled when another session goes on with this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.entry.stop.clone()
    }

    /// The object is there.
    pub(in crate::object) fn published(&self) {
        self.entry.published.store(true, Ordering::Relaxed);
        self.displace_others();
    }

    /// It has the record now, or the object is written: others of the same key that run are kept no more when they
    /// break off.
    pub(in crate::object) fn displace_others(&self) {
        let entries = self.replica.running.locked();
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

    /// See [`Entry::displaced`].
    pub(super) fn displaced(&self) -> bool {
        self.entry.displaced.load(Ordering::Relaxed)
    }

    /// Whether the upload of the same key that has written this record entered before this one; `None` where it is not in
    /// this process.
    pub(super) fn after(&self, writer: &str) -> Option<bool> {
        let entries = self.replica.running.locked();
        let here = entries.get(&self.name)?;
        let place = |writer: &str| here.iter().position(|entry| entry.writer == writer);
        Some(place(writer)? < place(&self.entry.writer)?)
    }

    /// See [`Running::wrote`].
    pub(super) fn wrote(&self) {
        self.replica.running.wrote(&self.name);
    }

    /// Remembers that a record of this name is there.
    pub(super) fn hint(&self) {
        self.replica.running.hint(&self.name);
    }

    /// Whether a record of this name is known to be there.
    pub(super) fn hinted(&self) -> bool {
        self.replica.running.hinted(&self.name)
    }

    /// Forgets that; tells whether it was known.
    pub(super) fn take_hint(&self) -> bool {
        self.replica.running.take_hint(&self.name)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut entries = self.replica.running.locked();
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

    fn enter(replica: &Arc<Replica>, user: &str, writer: &str) -> Ticket {
        Running::enter(replica, "n".to_owned(), user.into(), writer.to_owned())
    }

    #[tokio::test]
    async fn the_newest_upload_of_a_key_that_received_anything_is_the_one_that_is_kept() {
        let replica = Arc::new(Replica::default());
        let first = enter(&replica, "u", "1");
        first.entry().received(5, true);
        let older = replica.running.older("n", "u");
        assert_eq!(older.size(), Some(5));
        assert!(replica.running.older("n", "other").is_empty());
        // One that comes to nothing, and one of another user, end nothing.
        let second = enter(&replica, "u", "2");
        enter(&replica, "other", "3").entry().received(9, true);
        assert!(!first.displaced());
        assert_eq!(
            (second.after("1"), first.after("2")),
            (Some(true), Some(false))
        );
        assert_eq!((second.after("3"), second.after("4")), (None, None));
        assert_eq!(replica.running.older("n", "u").size(), Some(5));
        second.entry().received(1, false);
        assert!(!first.displaced());
        second.entry().received(0, true);
        assert!(first.displaced() && !second.displaced());
        assert_eq!(replica.running.older("n", "u").size(), Some(1));
        older.stop();
        assert!(first.entry().stopped().is_cancelled());
        assert!(!second.entry().stopped().is_cancelled());
        first.entry().ending();
        assert_eq!(older.size(), None);
        first.entry().displace_others();
        assert!(second.displaced());
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
        for number in 0..MOST_NAMES + 5 {
            running.hint(&number.to_string());
        }
        assert!(!running.take_hint("0"));
        assert!(running.take_hint("5") && !running.take_hint("5"));
        assert_eq!(running.hints.lock().unwrap().names.len(), MOST_NAMES - 1);
    }
}
