//! [`ActiveUploads`]: the uploads of this process that can be resumed.
//!
//! They are found by their object: the hash of its bucket and key after the store's endpoint ([`name_in`]), since two
//! stores can have buckets of one name.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::object::client::Store;
use crate::object::location::Location;
use crate::object::resume::record::{Record, ResumeScope, user_hash};

/// So many names are remembered at most.
const MOST_NAMES: usize = 10_000;

/// The uploads of this process, by their objects.
#[derive(Debug, Default)]
pub struct ActiveUploads {
    entries: Mutex<HashMap<String, Vec<Arc<UploadStatus>>>>,
    /// The uploads that have been entered.
    serial: AtomicU64,
    /// The objects of which records are known to be there, with the hashes of their users: a small upload of such a name
    /// removes them, and asks the store nothing about other names.
    hints: Mutex<BoundedNames<HashSet<String>>>,
    /// The objects that were written here without asking for a record. If such an object is removed, nothing shows any
    /// more that an upload which another process has kept is older.
    written: Mutex<BoundedNames<()>>,
    /// The transfers that were published here, with the number of uploads that had been entered before.
    published: Mutex<BoundedNames<u64>>,
    /// The records that were overwritten as empty, with the ETags they have since.
    emptied: Mutex<BoundedNames<String>>,
}

/// The newest of some names, with what is known of each.
#[derive(Debug)]
struct BoundedNames<T> {
    names: HashMap<String, T>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl<T> Default for BoundedNames<T> {
    fn default() -> Self {
        BoundedNames {
            names: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Default> BoundedNames<T> {
    /// What is known of a name, to be added to.
    fn of(&mut self, name: &str) -> &mut T {
        if !self.names.contains_key(name) {
            self.order.push_back(name.to_owned());
            if self.order.len() > MOST_NAMES
                && let Some(oldest) = self.order.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
        self.names.entry(name.to_owned()).or_default()
    }

    fn take(&mut self, name: &str) -> Option<T> {
        let known = self.names.remove(name);
        if known.is_some() {
            self.order.retain(|other| other != name);
        }
        known
    }
}

/// One upload.
#[derive(Debug)]
struct UploadStatus {
    user: Arc<str>,
    /// The client's address.
    peer: Option<IpAddr>,
    /// How many of its first bytes are those of the object that is there.
    old_bytes: u64,
    /// [`AttemptNote::id`](super::record::AttemptNote::id) of its record.
    attempt: String,
    /// The transfer id, which the object will have in its metadata.
    transfer: String,
    /// Its number among all uploads of this process.
    serial: u64,
    /// When it was entered.
    entered: Instant,
    /// Bytes of the object that have arrived.
    size: AtomicU64,
    /// When the last of them arrived: milliseconds after it was entered.
    moved: AtomicU64,
    /// Whether the client has sent any.
    sent: AtomicBool,
    /// Cancelled to make it stop, so that another session can go on with it.
    stop: CancellationToken,
    /// Whether a newer upload of the same key has the record, or whatever else ends what could be kept of this one.
    superseded: AtomicBool,
    /// Whether its object is there; what was written beside it is being removed.
    published: AtomicBool,
    /// Whether it has been given up and is being kept.
    ending: AtomicBool,
    /// Cancelled when nothing of it is left to do.
    gone: CancellationToken,
}

/// An upload's place in [`ActiveUploads`], from its begin until what was kept of it is in the store.
#[derive(Debug)]
pub(in crate::object) struct RegistryGuard {
    replica: Arc<super::Replica>,
    name: String,
    entry: Arc<UploadStatus>,
}

/// The view of an upload's entry that the upload itself has.
#[derive(Debug, Clone)]
pub(in crate::object) struct StatusHandle {
    entry: Arc<UploadStatus>,
    replica: Arc<super::Replica>,
    name: String,
}

/// The uploads of one user and object that are there before the user's next one.
#[derive(Debug)]
pub struct EarlierUploads(Vec<Arc<UploadStatus>>);

/// An upload of this process, as another session of its user sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadSnapshot {
    /// Bytes of the object that have arrived.
    pub size: u64,
    /// The address of the client that sends it.
    pub peer: Option<IpAddr>,
    /// How many of its first bytes are those of the object that is there.
    pub old_bytes: u64,
    /// The time since the last byte arrived, or since it began.
    pub idle_for: Duration,
    /// Whether it has broken off and is being stored, so that its size is not an offset to resume at.
    pub ending: bool,
}

/// The name in [`ActiveUploads`] of an object whose bucket and key have this hash.
pub(in crate::object) fn name_in(store: &Store, hash: &str) -> String {
    format!("{} {hash}", store.endpoint())
}

/// The name of an object in [`ActiveUploads`].
pub(in crate::object) fn name_of(object: &Location) -> String {
    name_in(
        &object.store,
        &crate::object::resume::record::name(&object.bucket, &object.key),
    )
}

/// The name of a record in [`ActiveUploads`].
pub(in crate::object) fn name_at(record: &Location) -> String {
    format!(
        "{} {}/{}",
        record.store.endpoint(),
        record.bucket,
        record.key
    )
}

impl ActiveUploads {
    /// Enters an upload; nothing changes for those of the same key before it.
    pub(in crate::object) fn enter(
        replica: &Arc<super::Replica>,
        name: String,
        keep: &ResumeScope,
        record: &Record,
    ) -> RegistryGuard {
        let entry = Arc::new(UploadStatus {
            user: Arc::clone(&keep.user),
            peer: keep.peer,
            old_bytes: record.old_bytes,
            attempt: record.attempt.id.clone(),
            transfer: record.transfer.clone(),
            serial: replica.running.serial.fetch_add(1, Ordering::Relaxed),
            entered: Instant::now(),
            size: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            sent: AtomicBool::new(false),
            stop: CancellationToken::new(),
            superseded: AtomicBool::new(false),
            published: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            gone: CancellationToken::new(),
        });
        let mut entries = replica.running.locked();
        let here = entries.entry(name.clone()).or_default();
        here.push(Arc::clone(&entry));
        drop(entries);
        RegistryGuard {
            replica: Arc::clone(replica),
            name,
            entry,
        }
    }

    /// The uploads of a user under this name that are not published, the oldest first.
    pub(in crate::object) fn earlier(&self, name: &str, user: &str) -> EarlierUploads {
        let entries = self.locked();
        let here = entries.get(name).into_iter().flatten();
        let open = |entry: &&Arc<UploadStatus>| !entry.published.load(Ordering::Relaxed);
        let his = here.filter(|entry| *entry.user == *user).filter(open);
        EarlierUploads(his.cloned().collect())
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<UploadStatus>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any upload of this object is in this process.
    pub(in crate::object) fn has_uploads_of(&self, name: &str) -> bool {
        self.locked().contains_key(name)
    }

    /// Whether an upload of this object by this user is in this process.
    pub(in crate::object) fn has_upload_by(&self, name: &str, user: &str) -> bool {
        let entries = self.locked();
        let mut here = entries.get(name).into_iter().flatten();
        here.any(|entry| *entry.user == *user)
    }

    /// Whether the upload of this object with this attempt is in this process.
    pub(in crate::object) fn has_attempt(&self, name: &str, attempt: &str) -> bool {
        let entries = self.locked();
        let mut here = entries.get(name).into_iter().flatten();
        here.any(|entry| entry.attempt == attempt)
    }

    /// Uploads in this process that have not ended: a gauge.
    pub fn count(&self) -> usize {
        self.locked().values().map(Vec::len).sum()
    }

    /// Remembers that a record of this object is there, of the user with this hash.
    pub(in crate::object) fn hint(&self, name: &str, user: &str) {
        locked(&self.hints).of(name).insert(user.to_owned());
    }

    /// Whether a record of this object is known to be there, of a user for whom this has_uploads_of.
    pub(in crate::object) fn hinted(&self, name: &str, of: impl Fn(&str) -> bool) -> bool {
        let hints = locked(&self.hints);
        let users = hints.names.get(name);
        users.is_some_and(|users| users.iter().any(|user| of(user)))
    }

    /// Forgets a hint; returns whether there was one.
    pub(in crate::object) fn take_hint(&self, name: &str, user: &str) -> bool {
        let mut hints = locked(&self.hints);
        let Some(users) = hints.names.get_mut(name) else {
            return false;
        };
        let known = users.remove(user);
        if users.is_empty() {
            hints.take(name);
        }
        known
    }

    /// Remembers that an object of this name was written, and not asked for a record.
    pub(in crate::object) fn wrote(&self, name: &str) {
        locked(&self.written).of(name);
    }

    /// Forgets that; returns whether it was so.
    pub(in crate::object) fn take_written(&self, name: &str) -> bool {
        locked(&self.written).take(name).is_some()
    }

    /// Whether this transfer was published here before the upload with this number was entered.
    pub(in crate::object) fn published_before(&self, transfer: &str, serial: u64) -> bool {
        let published = locked(&self.published);
        let before = published.names.get(transfer);
        before.is_some_and(|entered| *entered <= serial)
    }

    /// Remembers that a record is empty and has this ETag.
    pub(in crate::object) fn emptied(&self, record: &str, etag: String) {
        *locked(&self.emptied).of(record) = etag;
    }

    /// Forgets that; returns the ETag.
    pub(in crate::object) fn take_emptied(&self, record: &str) -> Option<String> {
        locked(&self.emptied).take(record)
    }
}

fn locked<T>(names: &Mutex<BoundedNames<T>>) -> MutexGuard<'_, BoundedNames<T>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EarlierUploads {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest of them that has received anything, or else the newest.
    pub fn newest(&self) -> Option<UploadSnapshot> {
        let size = |entry: &Arc<UploadStatus>| entry.size.load(Ordering::Relaxed);
        let newest = self.0.iter().rev().find(|entry| size(entry) > 0);
        let entry = newest.or(self.0.last())?;
        Some(UploadSnapshot {
            size: size(entry),
            peer: entry.peer,
            old_bytes: entry.old_bytes,
            idle_for: entry.idle_for(),
            ending: entry.ending.load(Ordering::Relaxed),
        })
    }

    /// The [newest](Self::newest) if it is not being stored right now.
    pub fn running(&self) -> Option<UploadSnapshot> {
        self.newest().filter(|newest| !newest.ending)
    }

    /// Makes them stop.
    pub fn stop(&self) {
        for entry in &self.0 {
            entry.stop.cancel();
        }
    }

    /// Waits until those that were given up are kept or removed. Cancel safe.
    pub async fn wait_until_stored(&self) {
        for entry in &self.0 {
            if entry.ending.load(Ordering::Relaxed) {
                entry.gone.cancelled().await;
            }
        }
    }

    /// Waits until all of them have ended and what is kept of them is in the store. Cancel safe.
    pub async fn wait_until_gone(&self) {
        for entry in &self.0 {
            entry.gone.cancelled().await;
        }
    }
}

impl UploadSnapshot {
    /// Whether it begins with bytes of the object that is there.
    pub fn appends(&self) -> bool {
        self.old_bytes > 0
    }

    /// Whether there is anything to resume: a byte that is reported, and one that the client has sent.
    pub fn has_begun(&self) -> bool {
        self.size > self.old_bytes.max(1)
    }
}

impl UploadStatus {
    /// The time since the last byte arrived.
    fn idle_for(&self) -> Duration {
        self.idle_after(self.entered.elapsed())
    }

    /// The same, this time after it was entered.
    fn idle_after(&self, passed: Duration) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        passed.saturating_sub(moved)
    }
}

impl StatusHandle {
    /// Notes how much of the object has arrived; it only grows. `sent`: whether the client has sent any of it. A user who
    /// sends a file anew does not mean an earlier upload of it that may still hang: that one is not kept any more.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        if self.entry.size.fetch_max(size, Ordering::Relaxed) < size {
            let moved = self.entry.entered.elapsed().as_millis();
            let moved = u64::try_from(moved).unwrap_or(u64::MAX);
            self.entry.moved.store(moved, Ordering::Relaxed);
        }
        if sent && !self.entry.sent.swap(true, Ordering::Relaxed) {
            self.supersede_earlier();
        }
    }

    /// Earlier uploads of the same user are not kept any more.
    pub(in crate::object) fn supersede_earlier(&self) {
        let entries = self.replica.running.locked();
        let here = entries.get(&self.name).into_iter().flatten();
        let older = here.take_while(|entry| !Arc::ptr_eq(entry, &self.entry));
        for older in older.filter(|entry| entry.user == self.entry.user) {
            older.superseded.store(true, Ordering::Relaxed);
        }
    }

    /// Cancelled when another session goes on with this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.entry.stop.clone()
    }

    /// The object is there.
    pub(in crate::object) fn published(&self) {
        self.entry.published.store(true, Ordering::Relaxed);
        let running = &self.replica.running;
        let entered = running.serial.load(Ordering::Relaxed);
        *locked(&running.published).of(&self.entry.transfer) = entered;
        self.supersede_others();
    }

    /// The object is written: no other upload of it that runs, of any user, is kept when it breaks off.
    fn supersede_others(&self) {
        let entries = self.replica.running.locked();
        for other in entries.get(&self.name).into_iter().flatten() {
            if !Arc::ptr_eq(other, &self.entry) {
                other.superseded.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The upload is given up; what there is of it is being kept.
    pub(in crate::object) fn ending(&self) {
        self.entry.ending.store(true, Ordering::Relaxed);
    }
}

impl RegistryGuard {
    /// What the upload needs of it.
    pub(in crate::object) fn status(&self) -> StatusHandle {
        StatusHandle {
            entry: Arc::clone(&self.entry),
            replica: Arc::clone(&self.replica),
            name: self.name.clone(),
        }
    }

    /// See [`UploadStatus::superseded`].
    pub(in crate::object) fn superseded(&self) -> bool {
        self.entry.superseded.load(Ordering::Relaxed)
    }

    /// Its number among all uploads of this process.
    pub(in crate::object) fn serial(&self) -> u64 {
        self.entry.serial
    }

    /// The time since its last byte arrived.
    pub(in crate::object) fn idle_for(&self) -> Duration {
        self.entry.idle_for()
    }

    /// See [`ActiveUploads::wrote`].
    pub(in crate::object) fn wrote(&self) {
        self.replica.running.wrote(&self.name);
    }

    /// Remembers that a record of the object is there, of the same user.
    pub(in crate::object) fn hint(&self) {
        self.replica.running.hint(&self.name, &self.user());
    }

    /// Whether one is known to be there.
    pub(in crate::object) fn hinted(&self) -> bool {
        let ours = self.user();
        self.replica.running.hinted(&self.name, |user| user == ours)
    }

    /// Whether records of other users are known to be there.
    pub(in crate::object) fn hinted_others(&self) -> bool {
        let ours = self.user();
        self.replica.running.hinted(&self.name, |user| user != ours)
    }

    fn user(&self) -> String {
        user_hash(&self.entry.user)
    }

    /// Forgets that; returns whether it was known.
    pub(in crate::object) fn take_hint(&self) -> bool {
        self.replica.running.take_hint(&self.name, &self.user())
    }
}

impl Drop for RegistryGuard {
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
    use crate::object::resume::record::{RecordState, Replica};

    fn enter(replica: &Arc<Replica>, user: &str, attempt: &str) -> RegistryGuard {
        let keep = ResumeScope {
            user: user.into(),
            peer: Some([192, 0, 2, 1].into()),
            state_bucket: "b".into(),
            over_object: Duration::from_secs(3600),
        };
        let mut record =
            crate::object::resume::record::tests::read_record(RecordState::Running, "p", None)
                .record;
        attempt.clone_into(&mut record.attempt.id);
        ActiveUploads::enter(replica, "n".to_owned(), &keep, &record)
    }

    fn size(older: &EarlierUploads) -> Option<u64> {
        older.running().map(|live| live.size)
    }

    #[tokio::test]
    async fn the_newest_upload_of_a_key_that_received_anything_is_the_one_that_is_kept() {
        let replica = Arc::new(Replica::default());
        let first = enter(&replica, "u", "1");
        first.status().received(5, true);
        let older = replica.running.earlier("n", "u");
        assert_eq!(size(&older), Some(5));
        assert!(replica.running.earlier("n", "other").is_empty());
        // One that comes to nothing, and one of another user, end nothing.
        let second = enter(&replica, "u", "2");
        enter(&replica, "other", "3").status().received(9, true);
        assert!(!first.superseded());
        assert!(first.serial() < second.serial());
        assert!(replica.running.has_attempt("n", "1") && !replica.running.has_attempt("n", "4"));
        assert!(
            replica.running.has_upload_by("n", "u") && !replica.running.has_upload_by("n", "other")
        );
        assert_eq!(size(&replica.running.earlier("n", "u")), Some(5));
        second.status().received(1, false);
        assert!(!first.superseded());
        second.status().received(0, true);
        assert!(first.superseded() && !second.superseded());
        assert_eq!(size(&replica.running.earlier("n", "u")), Some(1));
        older.stop();
        assert!(first.status().stopped().is_cancelled());
        assert!(!second.status().stopped().is_cancelled());
        first.status().ending();
        assert_eq!(size(&older), None);
        assert!(older.newest().is_some_and(|live| live.ending));
        first.status().supersede_earlier();
        assert!(!second.superseded());
        first.status().published();
        assert!(second.superseded());
        let third = enter(&replica, "u", "3");
        let before = |guard: &RegistryGuard| replica.running.published_before("t", guard.serial());
        assert!(before(&third) && !before(&second) && !before(&first));
        drop(third);
        drop(first);
        older.wait_until_gone().await;
        assert_eq!(replica.running.count(), 1);
        drop(second);
        assert!(!replica.running.has_uploads_of("n"));
        assert!(replica.running.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn an_upload_stands_still_from_its_last_byte_on() {
        let replica = Arc::new(Replica::default());
        let guard = enter(&replica, "u", "1");
        let older = replica.running.earlier("n", "u");
        let hour = Duration::from_secs(3600);
        assert_eq!(guard.entry.idle_after(hour), hour);
        guard.status().received(9, true);
        guard.entry.moved.store(7000, Ordering::Relaxed);
        // The same again is no byte.
        guard.status().received(9, true);
        let still = guard.entry.idle_after(hour);
        assert_eq!(still, hour - Duration::from_secs(7));
        let live = older.newest().unwrap();
        assert_eq!((live.size, live.ending), (9, false));
        assert_eq!(live.peer, Some([192, 0, 2, 1].into()));
    }

    #[test]
    fn hints_are_bounded() {
        let running = ActiveUploads::default();
        for number in 0..MOST_NAMES + 5 {
            running.hint(&number.to_string(), "u");
        }
        running.hint("5", "v");
        assert!(!running.take_hint("0", "u"));
        assert!(running.take_hint("5", "u") && !running.take_hint("5", "u"));
        assert!(running.hinted("5", |user| user == "v"));
        assert!(running.take_hint("5", "v"));
        let hints = running.hints.lock().unwrap();
        assert_eq!(
            (hints.names.len(), hints.order.len()),
            (MOST_NAMES - 1, MOST_NAMES - 1)
        );
    }
}
