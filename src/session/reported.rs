//! The lengths that SIZE and MLST have reported of files with an unpublished upload. The table is
//! in docs/reference/commands.md, "What SIZE reports to whom".
//!
//! One user can be producer and consumer. A client that resumes sends SIZE and begins at that byte;
//! a client that downloads sends SIZE and stops at that byte. Only the next command shows which of
//! the two a client is. So each session remembers what was reported to it ([`ReportedLengths`]): an
//! offset in an upload is not an offset in an object. The process remembers which of its users
//! download ([`ReportedUploads`]): SIZE reports the object to them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::namespace::VirtualPath;
use crate::object::{Location, ObjectInfo};

/// The number of files that a session remembers.
const MOST_FILES: usize = 64;

/// The number of names that the process remembers, for all users together.
const MOST_NAMES: usize = 10_000;

/// After a refused RETR, SIZE reports the object for this long, and a RETR of a part of the file
/// needs a SIZE before it.
const REMEMBERED: Duration = Duration::from_secs(600);

/// What a session knows about the length of a file with an unpublished upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportedLength {
    /// The upload's length was reported: APPE resumes it, and a RETR would stop too early.
    Upload(u64),
    /// The object was reported while there was an upload: the bytes that follow it must not get
    /// into the upload.
    Object(Option<Version>),
    /// A refusal has named the upload's length: only REST with this length resumes the upload.
    Refused,
    /// The session has reported more files than it remembers, and this one may be among the oldest.
    Forgotten,
}

/// A keyed hash of an object's size and ETag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version(u64);

/// The lengths that were reported to a session, the newest files last.
#[derive(Debug, Default)]
pub(super) struct ReportedLengths {
    /// Each path is a keyed hash, so that long paths take no more memory.
    lengths: VecDeque<(u64, ReportedLength)>,
    /// Whether there have been more files than are remembered.
    forgotten: bool,
    hasher: RandomState,
}

impl ReportedLengths {
    /// Notes what the client knows from now on. A refused command changes it only if the refusal
    /// names a length.
    pub(super) fn note(&mut self, path: &VirtualPath, length: ReportedLength) {
        self.forget(path);
        if self.lengths.len() == MOST_FILES {
            self.lengths.pop_front();
            self.forgotten = true;
        }
        self.lengths.push_back((self.hasher.hash_one(path), length));
    }

    /// What the client knows; `None` if it knows nothing about an upload.
    pub(super) fn of(&self, path: &VirtualPath) -> Option<ReportedLength> {
        let path = self.hasher.hash_one(path);
        let mut lengths = self.lengths.iter();
        let known = lengths.find(|(of, _)| *of == path);
        let known = known.map(|(_, length)| *length);
        known.or(self.forgotten.then_some(ReportedLength::Forgotten))
    }

    /// Forgets the file: it has no unpublished upload any more.
    pub(super) fn forget(&mut self, path: &VirtualPath) {
        let path = self.hasher.hash_one(path);
        self.lengths.retain(|(of, _)| *of != path);
    }

    /// The version of an object. A GET of an empty object returns no ETag.
    pub(super) fn version(&self, info: &ObjectInfo) -> Version {
        let etag = match info.size {
            0 => "",
            _ => &info.etag,
        };
        Version(self.hasher.hash_one((info.size, etag)))
    }
}

/// The names of which SIZE has reported an upload's length to a user, in all sessions of this
/// process.
#[derive(Debug, Default)]
pub struct ReportedUploads {
    names: Mutex<ReportedNames>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct ReportedNames {
    /// By a keyed hash of user and object.
    times: HashMap<u64, ReportTimes>,
    /// The oldest first.
    order: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct ReportTimes {
    /// When SIZE last reported the length of an upload.
    reported: Instant,
    /// When a RETR was last refused because of that length.
    refused: Option<Instant>,
}

impl ReportedUploads {
    /// SIZE has reported to the user the length of their upload of this object.
    pub(super) fn reported(&self, user: &str, object: &Location) {
        self.names()
            .reported(self.name(user, object), Instant::now());
    }

    /// The user downloads the object: a RETR was refused because of that length.
    pub(super) fn refused(&self, user: &str, object: &Location) {
        self.names()
            .refused(self.name(user, object), Instant::now());
    }

    /// Whether a RETR of this user was refused because of that length in the last ten minutes.
    pub(super) fn downloads(&self, user: &str, object: &Location) -> bool {
        let times = self.times(user, object);
        times.is_some_and(|times| times.downloads(Instant::now()))
    }

    /// Whether SIZE reported an upload's length to a session of this user in the last ten minutes.
    pub(super) fn was_reported(&self, user: &str, object: &Location) -> bool {
        let times = self.times(user, object);
        times.is_some_and(|times| times.was_reported(Instant::now()))
    }

    fn times(&self, user: &str, object: &Location) -> Option<ReportTimes> {
        let names = self.names();
        // Most processes have no names. Then a SIZE costs no hash.
        if names.times.is_empty() {
            return None;
        }
        names.times.get(&self.name(user, object)).copied()
    }

    fn name(&self, user: &str, object: &Location) -> u64 {
        let endpoint = object.store.endpoint();
        self.hasher
            .hash_one((user, endpoint, &*object.bucket, &*object.key))
    }

    fn names(&self) -> MutexGuard<'_, ReportedNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReportedNames {
    fn reported(&mut self, name: u64, now: Instant) {
        self.enter(name, now).reported = now;
    }

    fn refused(&mut self, name: u64, now: Instant) {
        let times = self.enter(name, now);
        *times = ReportTimes {
            reported: now,
            refused: Some(now),
        };
    }

    fn enter(&mut self, name: u64, now: Instant) -> &mut ReportTimes {
        if !self.times.contains_key(&name) {
            if self.order.len() == MOST_NAMES
                && let Some(oldest) = self.order.pop_front()
            {
                self.times.remove(&oldest);
            }
            self.order.push_back(name);
        }
        self.times.entry(name).or_insert(ReportTimes {
            reported: now,
            refused: None,
        })
    }
}

impl ReportTimes {
    fn was_reported(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.reported) < REMEMBERED
    }

    fn downloads(&self, now: Instant) -> bool {
        self.refused
            .is_some_and(|at| now.saturating_duration_since(at) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(name: &str) -> VirtualPath {
        VirtualPath::root().join(name).unwrap()
    }

    #[test]
    fn a_session_remembers_the_last_length_reported_of_each_file() {
        let mut reported = ReportedLengths::default();
        assert_eq!(reported.of(&path("a")), None);
        reported.note(&path("a"), ReportedLength::Upload(5));
        reported.note(&path("b"), ReportedLength::Refused);
        reported.note(&path("a"), ReportedLength::Object(None));
        assert_eq!(reported.of(&path("a")), Some(ReportedLength::Object(None)));
        reported.forget(&path("a"));
        assert_eq!(reported.of(&path("a")), None);
        assert_eq!(reported.of(&path("b")), Some(ReportedLength::Refused));
    }

    #[test]
    fn a_session_knows_that_it_has_forgotten_a_file() {
        let mut reported = ReportedLengths::default();
        for number in 0..=MOST_FILES {
            reported.note(&path(&number.to_string()), ReportedLength::Upload(1));
        }
        assert_eq!(reported.lengths.len(), MOST_FILES);
        assert_eq!(reported.of(&path("0")), Some(ReportedLength::Forgotten));
        assert_eq!(reported.of(&path("1")), Some(ReportedLength::Upload(1)));
    }

    #[test]
    fn versions_differ_if_the_bytes_do() {
        let reported = ReportedLengths::default();
        let info = |size, etag: &str| ObjectInfo {
            size,
            etag: etag.to_owned(),
            modified: jiff::Timestamp::UNIX_EPOCH,
            attributes: crate::object::Attributes::default(),
        };
        let version = |size, etag| reported.version(&info(size, etag));
        assert_eq!(version(1, "a"), version(1, "a"));
        assert_ne!(version(1, "a"), version(1, "b"));
        assert_ne!(version(1, "a"), version(2, "a"));
        assert_eq!(version(0, "a"), version(0, ""));
    }

    #[test]
    fn a_download_is_remembered_for_ten_minutes() {
        let mut names = ReportedNames::default();
        let begin = Instant::now();
        let at = |second| begin + Duration::from_secs(second);
        names.reported(1, begin);
        assert!(names.times[&1].was_reported(at(599)) && !names.times[&1].was_reported(at(600)));
        assert!(!names.times[&1].downloads(begin));
        names.refused(1, at(100));
        assert!(names.times[&1].downloads(at(699)) && !names.times[&1].downloads(at(700)));
        // A later report prolongs the first, and not the second.
        names.reported(1, at(650));
        assert!(!names.times[&1].downloads(at(700)) && names.times[&1].was_reported(at(1200)));
    }

    #[test]
    fn the_process_remembers_a_bounded_number_of_names() {
        let mut names = ReportedNames::default();
        let now = Instant::now();
        for name in 0..MOST_NAMES as u64 + 2 {
            names.refused(name, now);
        }
        assert_eq!(
            (names.times.len(), names.order.len()),
            (MOST_NAMES, MOST_NAMES)
        );
        assert!(!names.times.contains_key(&1) && names.times.contains_key(&2));
    }
}
