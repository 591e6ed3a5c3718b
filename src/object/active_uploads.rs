//! The uploads of this process that can be resumed, by their objects.
//!
//! An upload is entered when it begins, and leaves when nothing of it is left to do. Another
//! session of the same user finds it here, with the exact number of bytes that have arrived, and
//! stops it to resume it. Objects go by their names in `resume::keys`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::object::record_cache::{BoundedNames, bounded_names, locked};

/// The uploads of this process, by their objects.
#[derive(Debug)]
pub struct ActiveUploads {
    uploads: Mutex<HashMap<String, Vec<Arc<UploadStatus>>>>,
    /// The number of uploads that have been entered.
    entered: AtomicU64,
    /// The transfers that were published here, with the number of uploads that had been entered
    /// before.
    published: BoundedNames<u64>,
}

impl Default for ActiveUploads {
    fn default() -> Self {
        ActiveUploads {
            uploads: Mutex::default(),
            entered: AtomicU64::default(),
            published: bounded_names(),
        }
    }
}

/// An upload that is about to be entered.
#[derive(Debug)]
pub(in crate::object) struct NewUpload {
    /// The name of its object.
    pub object: String,
    /// Its user.
    pub user: Arc<str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The number of its first bytes that are those of the object that is there.
    pub old_bytes: u64,
    /// The attempt id in its record.
    pub attempt: String,
    /// The transfer id, which the object will have in its metadata.
    pub transfer: String,
}

/// One upload.
#[derive(Debug)]
struct UploadStatus {
    new: NewUpload,
    /// Its number among all uploads of this process.
    serial: u64,
    /// When it was entered.
    entered: Instant,
    /// Bytes of the object that have arrived.
    size: AtomicU64,
    /// When the last of them arrived: milliseconds after it was entered.
    moved: AtomicU64,
    /// Its [`UploadStage`]; it only goes up.
    stage: AtomicU8,
    /// Whether nothing of it may be stored when it breaks off: a newer upload of the user has sent
    /// bytes, or the object was written. That can happen in each stage.
    superseded: AtomicBool,
    /// Cancelled to make it stop, so that another session can resume it.
    stop: CancellationToken,
    /// Cancelled when nothing of it is left to do.
    gone: CancellationToken,
}

/// How far an upload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum UploadStage {
    /// Its client has not sent anything.
    Waiting,
    /// Its client sends.
    Receiving,
    /// It has broken off, and what there is of it is being stored or removed.
    Ending,
    /// Its object is there; what was written alongside it is being removed.
    Published,
}

/// An upload's place in the registry, from its begin until nothing of it is left to do.
#[derive(Debug)]
pub(in crate::object) struct RegistryGuard {
    registry: Arc<ActiveUploads>,
    upload: Arc<UploadStatus>,
}

/// What an upload reports of itself.
#[derive(Debug, Clone)]
pub(in crate::object) struct StatusHandle {
    registry: Arc<ActiveUploads>,
    upload: Arc<UploadStatus>,
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
    /// The number of its first bytes that are those of the object that is there.
    pub old_bytes: u64,
    /// The time since the last byte arrived, or since it began.
    pub idle_for: Duration,
    /// Whether it has broken off and is being stored, so that its size is not an offset to resume
    /// at.
    pub ending: bool,
}

impl ActiveUploads {
    /// Enters an upload; nothing changes for those of the same object before it.
    pub(in crate::object) fn enter(registry: &Arc<ActiveUploads>, new: NewUpload) -> RegistryGuard {
        let object = new.object.clone();
        let upload = Arc::new(UploadStatus {
            new,
            serial: registry.entered.fetch_add(1, Ordering::Relaxed),
            entered: Instant::now(),
            size: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            stage: AtomicU8::new(UploadStage::Waiting as u8),
            superseded: AtomicBool::new(false),
            stop: CancellationToken::new(),
            gone: CancellationToken::new(),
        });
        let mut uploads = registry.locked();
        uploads.entry(object).or_default().push(Arc::clone(&upload));
        drop(uploads);
        RegistryGuard {
            registry: Arc::clone(registry),
            upload,
        }
    }

    /// The uploads of an object by a user that are not published, the oldest first.
    pub(in crate::object) fn earlier(&self, object: &str, user: &str) -> EarlierUploads {
        let uploads = self.locked();
        let here = uploads.get(object).into_iter().flatten();
        let own = here.filter(|upload| *upload.new.user == *user);
        let open = own.filter(|upload| !upload.is_at(UploadStage::Published));
        EarlierUploads(open.cloned().collect())
    }

    /// Whether this process has an upload of the object.
    pub(in crate::object) fn has_upload(&self, object: &str) -> bool {
        self.locked().contains_key(object)
    }

    /// Whether this process has an upload of the object by the user.
    pub(in crate::object) fn has_upload_by(&self, object: &str, user: &str) -> bool {
        self.has(object, |upload| *upload.new.user == *user)
    }

    /// Whether this process has the upload of the object with this attempt id.
    pub(in crate::object) fn has_attempt(&self, object: &str, attempt: &str) -> bool {
        self.has(object, |upload| upload.new.attempt == attempt)
    }

    fn has(&self, object: &str, wanted: impl Fn(&UploadStatus) -> bool) -> bool {
        let uploads = self.locked();
        let mut here = uploads.get(object).into_iter().flatten();
        here.any(|upload| wanted(upload))
    }

    /// Uploads of this process that have not ended: a gauge.
    pub fn count(&self) -> usize {
        self.locked().values().map(Vec::len).sum()
    }

    /// Whether this transfer was published here before the upload with this number was entered.
    pub(in crate::object) fn published_before(&self, transfer: &str, serial: u64) -> bool {
        let published = locked(&self.published);
        let before = published.peek(transfer);
        before.is_some_and(|entered| *entered <= serial)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<UploadStatus>>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UploadStatus {
    /// Goes up to a stage; returns whether it was below it.
    fn advance(&self, to: UploadStage) -> bool {
        self.stage.fetch_max(to as u8, Ordering::Relaxed) < to as u8
    }

    fn is_at(&self, stage: UploadStage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// The time since the last byte arrived.
    fn idle_for(&self) -> Duration {
        self.idle_after(self.entered.elapsed())
    }

    /// The time since the last byte arrived, `passed` after the upload was entered.
    fn idle_after(&self, passed: Duration) -> Duration {
        let moved = Duration::from_millis(self.moved.load(Ordering::Relaxed));
        passed.saturating_sub(moved)
    }
}

impl EarlierUploads {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest of them that has received anything, or else the newest.
    pub fn newest(&self) -> Option<UploadSnapshot> {
        let size = |upload: &Arc<UploadStatus>| upload.size.load(Ordering::Relaxed);
        let newest = self.0.iter().rev().find(|upload| size(upload) > 0);
        let upload = newest.or(self.0.last())?;
        Some(UploadSnapshot {
            size: size(upload),
            peer: upload.new.peer,
            old_bytes: upload.new.old_bytes,
            idle_for: upload.idle_for(),
            ending: upload.is_at(UploadStage::Ending),
        })
    }

    /// The [newest](Self::newest) if it is not being stored right now.
    pub fn running(&self) -> Option<UploadSnapshot> {
        self.newest().filter(|newest| !newest.ending)
    }

    /// Makes them stop.
    pub fn stop(&self) {
        for upload in &self.0 {
            upload.stop.cancel();
        }
    }

    /// Waits until those that have broken off are stored or removed. Cancel safe.
    pub async fn wait_until_stored(&self) {
        for upload in &self.0 {
            if upload.is_at(UploadStage::Ending) {
                upload.gone.cancelled().await;
            }
        }
    }

    /// Waits until all of them have ended and are stored, removed or published. Cancel safe.
    pub async fn wait_until_gone(&self) {
        for upload in &self.0 {
            upload.gone.cancelled().await;
        }
    }
}

impl UploadSnapshot {
    /// Whether it begins with bytes of the object that is there.
    pub fn appends(&self) -> bool {
        self.old_bytes > 0
    }

    /// Whether there is anything to resume: a byte that is reported, and one that the client has
    /// sent.
    pub fn has_begun(&self) -> bool {
        self.size > self.old_bytes.max(1)
    }
}

impl StatusHandle {
    /// Notes how much of the object has arrived; it only grows. `sent`: whether the client has sent
    /// any of it. A user who sends a file anew does not mean an earlier upload of it that may still
    /// hang: that one is superseded.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        if self.upload.size.fetch_max(size, Ordering::Relaxed) < size {
            let moved = self.upload.entered.elapsed().as_millis();
            let moved = u64::try_from(moved).unwrap_or(u64::MAX);
            self.upload.moved.store(moved, Ordering::Relaxed);
        }
        if sent && self.upload.advance(UploadStage::Receiving) {
            self.supersede_earlier();
        }
    }

    /// Nothing is stored of earlier uploads of the same user.
    pub(in crate::object) fn supersede_earlier(&self) {
        let uploads = self.registry.locked();
        let here = uploads.get(&self.upload.new.object).into_iter().flatten();
        let earlier = here.take_while(|upload| !Arc::ptr_eq(upload, &self.upload));
        for earlier in earlier.filter(|upload| upload.new.user == self.upload.new.user) {
            earlier.superseded.store(true, Ordering::Relaxed);
        }
    }

    /// Cancelled when another session resumes this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.upload.stop.clone()
    }

    /// The object is there.
    pub(in crate::object) fn published(&self) {
        self.upload.advance(UploadStage::Published);
        let entered = self.registry.entered.load(Ordering::Relaxed);
        let transfer = self.upload.new.transfer.clone();
        locked(&self.registry.published).put(transfer, entered);
        self.supersede_others();
    }

    /// The object is written: nothing is stored of any other upload of it that runs, of whatever
    /// user.
    fn supersede_others(&self) {
        let uploads = self.registry.locked();
        for other in uploads.get(&self.upload.new.object).into_iter().flatten() {
            if !Arc::ptr_eq(other, &self.upload) {
                other.superseded.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The upload has broken off; what there is of it is being stored or removed.
    pub(in crate::object) fn ending(&self) {
        self.upload.advance(UploadStage::Ending);
    }
}

impl RegistryGuard {
    /// What the upload reports through.
    pub(in crate::object) fn status(&self) -> StatusHandle {
        StatusHandle {
            registry: Arc::clone(&self.registry),
            upload: Arc::clone(&self.upload),
        }
    }

    /// The name of its object.
    pub(in crate::object) fn object(&self) -> &str {
        &self.upload.new.object
    }

    /// See [`UploadStatus::superseded`].
    pub(in crate::object) fn is_superseded(&self) -> bool {
        self.upload.superseded.load(Ordering::Relaxed)
    }

    /// Its number among all uploads of this process.
    pub(in crate::object) fn serial(&self) -> u64 {
        self.upload.serial
    }

    /// The time since its last byte arrived.
    pub(in crate::object) fn idle_for(&self) -> Duration {
        self.upload.idle_for()
    }
}

impl Drop for RegistryGuard {
    fn drop(&mut self) {
        let mut uploads = self.registry.locked();
        if let Some(here) = uploads.get_mut(&self.upload.new.object) {
            here.retain(|upload| !Arc::ptr_eq(upload, &self.upload));
            if here.is_empty() {
                uploads.remove(&self.upload.new.object);
            }
        }
        drop(uploads);
        self.upload.gone.cancel();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn enter(registry: &Arc<ActiveUploads>, user: &str, attempt: &str) -> RegistryGuard {
        let new = NewUpload {
            object: "n".to_owned(),
            user: user.into(),
            peer: Some([192, 0, 2, 1].into()),
            old_bytes: 0,
            attempt: attempt.to_owned(),
            transfer: "t".to_owned(),
        };
        ActiveUploads::enter(registry, new)
    }

    fn size(earlier: &EarlierUploads) -> Option<u64> {
        earlier.running().map(|upload| upload.size)
    }

    #[tokio::test]
    async fn the_newest_upload_of_a_key_that_received_anything_is_the_one_that_is_kept() {
        let registry = Arc::new(ActiveUploads::default());
        let first = enter(&registry, "u", "1");
        first.status().received(5, true);
        let earlier = registry.earlier("n", "u");
        assert_eq!(size(&earlier), Some(5));
        assert!(registry.earlier("n", "other").is_empty());
        // One that comes to nothing, and one of another user, end nothing.
        let second = enter(&registry, "u", "2");
        enter(&registry, "other", "3").status().received(9, true);
        assert!(!first.is_superseded());
        assert!(first.serial() < second.serial());
        assert!(registry.has_attempt("n", "1") && !registry.has_attempt("n", "4"));
        assert!(registry.has_upload_by("n", "u") && !registry.has_upload_by("n", "other"));
        assert_eq!(size(&registry.earlier("n", "u")), Some(5));
        second.status().received(1, false);
        assert!(!first.is_superseded());
        second.status().received(0, true);
        assert!(first.is_superseded() && !second.is_superseded());
        assert_eq!(size(&registry.earlier("n", "u")), Some(1));
        earlier.stop();
        assert!(first.status().stopped().is_cancelled());
        assert!(!second.status().stopped().is_cancelled());
        first.status().ending();
        assert_eq!(size(&earlier), None);
        assert!(earlier.newest().is_some_and(|upload| upload.ending));
        first.status().supersede_earlier();
        assert!(!second.is_superseded());
        first.status().published();
        assert!(second.is_superseded());
        let third = enter(&registry, "u", "3");
        let before = |guard: &RegistryGuard| registry.published_before("t", guard.serial());
        assert!(before(&third) && !before(&second) && !before(&first));
        drop(third);
        drop(first);
        earlier.wait_until_gone().await;
        assert_eq!(registry.count(), 1);
        drop(second);
        assert!(!registry.has_upload("n"));
        assert!(registry.uploads.lock().unwrap().is_empty());
    }

    #[test]
    fn an_upload_stands_still_from_its_last_byte_on() {
        let registry = Arc::new(ActiveUploads::default());
        let guard = enter(&registry, "u", "1");
        let earlier = registry.earlier("n", "u");
        let hour = Duration::from_secs(3600);
        assert_eq!(guard.upload.idle_after(hour), hour);
        guard.status().received(9, true);
        guard.upload.moved.store(7000, Ordering::Relaxed);
        // The same value again is not a byte.
        guard.status().received(9, true);
        let idle = guard.upload.idle_after(hour);
        assert_eq!(idle, hour - Duration::from_secs(7));
        let upload = earlier.newest().unwrap();
        assert_eq!((upload.size, upload.ending), (9, false));
        assert_eq!(upload.peer, Some([192, 0, 2, 1].into()));
    }
}
