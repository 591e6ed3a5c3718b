//! [`NameLocks`]: one lock for each object name that is being written in this process.
//!
//! A write that depends on what is there is a look and then a write: "no object has this name" and
//! PutObject, "it is still the version that was copied" and DeleteObject. Many stores check no
//! condition, or none at a delete and a copy, so between the two another session can write, and one
//! of both files is lost after a success reply. The lock is held from the look to the write's
//! answer, so in one process no session writes in between.
//!
//! **Who holds it.** The publication of every upload (STOR, STOU, APPE, REST + STOR, resumed ones),
//! the copy of a rename at its target, then the delete at its source, DELE, and MFMT in all its
//! forms. RMD does not: it deletes a marker, never a file.
//!
//! **Sources of renames** have a lock of their own, `Location::lock_as_source`, held from before
//! the copy to after the delete: of two sessions that rename one file to different names, the
//! second finds it gone, and does not get a copy of it. Writes of the name do not wait for this
//! lock, and no session that holds one waits for another one.
//!
//! **How long.** An upload takes it when all bytes have come and the settle window has passed. It
//! is never held while a client sends, or while the server waits for a client. Each request made
//! under it has a deadline of its own, so a holder moves or ends. No holder of the lock of a name
//! waits for another lock.
//!
//! **Waiting** is first come, first served, cancel safe, and bounded by a [`Patience`]:
//! [`ObjectError::Busy`] after that.
//!
//! **What it does not protect.** Other processes that write to the same bucket: between those only
//! the store's own conditions help (`If-Match`, `If-None-Match`), if it honours them. And one
//! bucket that is configured under two endpoints: those are two names here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::object::error::ObjectError;

/// The longest that a command other than an upload waits: clients wait 20 s or more for a reply.
const COMMAND: Duration = Duration::from_secs(20);

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum Patience {
    /// An upload whose bytes have all come: `timeouts.same_name`, 300 s by default.
    Upload,
    /// A command whose client waits for its reply: 20 s, or `timeouts.same_name` if that is less.
    Command,
}

/// The locks of a process. Clones share them.
#[derive(Debug, Clone)]
pub struct NameLocks {
    table: Arc<NameTable>,
    upload_patience: Duration,
}

/// An entry exists as long as a holder, a waiter or a watch of its name does.
#[derive(Debug, Default)]
struct NameTable {
    names: Mutex<HashMap<Arc<ObjectName>, NameEntry>>,
    waiting: AtomicUsize,
}

/// What is locked. Stores that share an endpoint share its buckets, too.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::object) struct ObjectName {
    pub endpoint: String,
    pub bucket: Arc<str>,
    pub key: String,
    pub purpose: Purpose,
}

/// What a name is locked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::object) enum Purpose {
    /// To write the object.
    Write,
    /// To rename it away.
    Source,
}

#[derive(Debug)]
struct NameEntry {
    /// tokio's mutex is fair.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Holders, waiters and watches.
    users: usize,
    /// How often the lock was taken since the entry was made.
    turns: u64,
}

/// A place in the table, which keeps the entry there.
#[derive(Debug)]
struct EntryRef {
    table: Arc<NameTable>,
    name: Arc<ObjectName>,
}

/// The lock of a name, held until this is dropped.
#[derive(Debug)]
#[must_use = "the name is locked only as long as this is held"]
pub struct NameLock {
    // Released before the place is given up: fields are dropped in their order.
    _held: OwnedMutexGuard<()>,
    place: EntryRef,
    /// Which turn of the entry this is, from 1.
    turn: u64,
}

/// Notices whether a name was locked by another holder since the watch began. Holds no lock.
#[derive(Debug)]
pub struct NameWatch {
    place: EntryRef,
    turns: u64,
}

/// One of several sessions that do something to a name at the same time: deletes in one directory,
/// which must know of each other.
#[derive(Debug)]
pub struct Participation {
    place: EntryRef,
    turn: u64,
    /// Whether others were there when this one came.
    met: bool,
}

impl Participation {
    /// Whether others took part at any time since this one began.
    pub(in crate::object) fn overlapped(&self) -> bool {
        self.met || self.place.turns(0) != self.turn
    }
}

impl NameLocks {
    /// No name is locked. `upload_patience`: how long an upload waits for one.
    pub fn new(upload_patience: Duration) -> Self {
        NameLocks {
            table: Arc::default(),
            upload_patience,
        }
    }

    /// Names that are locked, waited for or watched: a gauge.
    pub fn count(&self) -> usize {
        self.table.locked().len()
    }

    /// Sessions that wait for a name: a gauge.
    pub fn waiting(&self) -> usize {
        self.table.waiting.load(Ordering::Relaxed)
    }

    pub(in crate::object) async fn lock(
        &self,
        name: ObjectName,
        patience: Patience,
    ) -> Result<NameLock, ObjectError> {
        let (place, lock) = self.table.enter(name);
        let held = match Arc::clone(&lock).try_lock_owned() {
            Ok(held) => held,
            Err(_) => {
                let _waiting = WaitCount::begin(&self.table);
                timeout(self.patience(patience), lock.lock_owned())
                    .await
                    .map_err(|_| ObjectError::Busy)?
            }
        };
        Ok(NameLock::new(held, place))
    }

    pub(in crate::object) fn try_lock(&self, name: ObjectName) -> Option<NameLock> {
        let (place, lock) = self.table.enter(name);
        let held = lock.try_lock_owned().ok()?;
        Some(NameLock::new(held, place))
    }

    pub(in crate::object) fn watch(&self, name: ObjectName) -> NameWatch {
        let (place, _) = self.table.enter(name);
        let turns = place.turns(0);
        NameWatch { place, turns }
    }

    pub(in crate::object) fn take_part(&self, name: ObjectName) -> Participation {
        let (place, _) = self.table.enter(name);
        let turn = place.turns(1);
        let met = place.users() > 1;
        Participation { place, turn, met }
    }

    fn patience(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Upload => self.upload_patience,
            Patience::Command => self.upload_patience.min(COMMAND),
        }
    }
}

impl Default for NameLocks {
    fn default() -> Self {
        NameLocks::new(Duration::from_secs(300))
    }
}

impl NameLock {
    fn new(held: OwnedMutexGuard<()>, place: EntryRef) -> Self {
        let turn = place.turns(1);
        NameLock {
            _held: held,
            place,
            turn,
        }
    }

    /// What is locked.
    pub(in crate::object) fn name(&self) -> &ObjectName {
        &self.place.name
    }

    /// Whether no other holder had the lock since the watch began: no session of this process has
    /// written the name since.
    pub(in crate::object) fn first_since(&self, watch: &NameWatch) -> bool {
        Arc::ptr_eq(&self.place.table, &watch.place.table)
            && self.place.name == watch.place.name
            && self.turn == watch.turns + 1
    }
}

impl NameTable {
    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<ObjectName>, NameEntry>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, name: ObjectName) -> (EntryRef, Arc<tokio::sync::Mutex<()>>) {
        let name = Arc::new(name);
        let mut names = self.locked();
        let entry = names.entry(Arc::clone(&name)).or_insert_with(|| NameEntry {
            lock: Arc::default(),
            users: 0,
            turns: 0,
        });
        entry.users += 1;
        let lock = Arc::clone(&entry.lock);
        drop(names);
        let place = EntryRef {
            table: Arc::clone(self),
            name,
        };
        (place, lock)
    }
}

/// Counts a waiter as long as it lives.
struct WaitCount<'a>(&'a NameTable);

impl<'a> WaitCount<'a> {
    fn begin(table: &'a NameTable) -> Self {
        table.waiting.fetch_add(1, Ordering::Relaxed);
        WaitCount(table)
    }
}

impl Drop for WaitCount<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EntryRef {
    /// Adds to the turns of the entry, and returns them.
    fn turns(&self, more: u64) -> u64 {
        let mut names = self.table.locked();
        // The entry is there as long as a place of it is.
        names.get_mut(&self.name).map_or(0, |entry| {
            entry.turns += more;
            entry.turns
        })
    }

    fn users(&self) -> usize {
        let names = self.table.locked();
        names.get(&self.name).map_or(0, |entry| entry.users)
    }
}

impl Drop for EntryRef {
    fn drop(&mut self) {
        let mut names = self.table.locked();
        if let Some(entry) = names.get_mut(&self.name) {
            entry.users -= 1;
            if entry.users == 0 {
                names.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::pin::pin;

    use futures::FutureExt;

    use super::*;

    fn name(key: &str) -> ObjectName {
        ObjectName {
            endpoint: "http://s3".to_owned(),
            bucket: "files".into(),
            key: key.to_owned(),
            purpose: Purpose::Write,
        }
    }

    #[tokio::test]
    async fn waiters_are_served_in_their_order_and_leave_no_entry() {
        let names = NameLocks::default();
        let first = names.lock(name("a"), Patience::Upload).await.unwrap();
        let other = names.try_lock(name("b")).unwrap();
        assert!(names.try_lock(name("a")).is_none());
        assert_eq!((names.count(), names.waiting()), (2, 0));
        let mut second = pin!(names.lock(name("a"), Patience::Upload));
        let mut third = pin!(names.lock(name("a"), Patience::Upload));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!(names.waiting(), 2);
        drop(first);
        assert!(names.try_lock(name("a")).is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(second.await.unwrap());
        drop(third.await.unwrap());
        drop(other);
        assert_eq!((names.count(), names.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_waiter_that_goes_away_passes_its_turn_on() {
        let names = NameLocks::default();
        let first = names.lock(name("a"), Patience::Upload).await.unwrap();
        let mut last = pin!(names.lock(name("a"), Patience::Upload));
        {
            let mut waits = pin!(names.lock(name("a"), Patience::Upload));
            assert!(waits.as_mut().now_or_never().is_none());
            assert!(last.as_mut().now_or_never().is_none());
            // The turn is this waiter's, which does not take it.
            drop(first);
        }
        drop(last.await.unwrap());
        assert_eq!((names.count(), names.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_wait_is_bounded() {
        for (upload, command) in [(300, 20), (5, 5)] {
            let names = NameLocks::new(Duration::from_secs(upload));
            assert_eq!(names.patience(Patience::Upload).as_secs(), upload);
            assert_eq!(names.patience(Patience::Command).as_secs(), command);
        }
        let names = NameLocks::new(Duration::from_millis(10));
        let _held = names.try_lock(name("a")).unwrap();
        let refused = names.lock(name("a"), Patience::Upload).await;
        assert!(matches!(refused, Err(ObjectError::Busy)), "{refused:?}");
        assert_eq!((names.count(), names.waiting()), (1, 0));
    }

    #[test]
    fn a_watch_notices_each_other_holder() {
        let names = NameLocks::default();
        let watch = names.watch(name("a"));
        let first = names.try_lock(name("a")).unwrap();
        assert!(first.first_since(&watch));
        let elsewhere = names.try_lock(name("b")).unwrap();
        assert!(!elsewhere.first_since(&watch));
        drop(first);
        let second = names.try_lock(name("a")).unwrap();
        assert!(!second.first_since(&watch));
        assert!(!second.first_since(&names.watch(name("a"))));
        drop((second, elsewhere, watch));
        assert_eq!(names.count(), 0);
    }

    #[test]
    fn participants_that_overlap_know_of_each_other() {
        let names = NameLocks::default();
        let before = names.take_part(name("d/"));
        assert!(!before.overlapped());
        drop(before);
        let first = names.take_part(name("d/"));
        let second = names.take_part(name("d/"));
        assert!(first.overlapped() && second.overlapped());
        drop(second);
        assert!(first.overlapped());
        drop(first);
        assert_eq!(names.count(), 0);
    }
}
