//! A record as it was read, and what it shows: whether its upload is running, and whether the
//! object has been written since.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::object::head::ObjectInfo;
use crate::object::location::Location;
use crate::object::replica::Replica;
use crate::object::resume::keys::name_of;
use crate::object::resume::record::{BaseObject, Record, RecordState};
use crate::object::transfer_id::TRANSFER_KEY;

/// A process is dead if its record was not refreshed for this many halves of the refresh time.
const STALE_AFTER: u32 = 5;

/// A record as it was read.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// The bucket it lies in.
    pub(in crate::object) bucket: Arc<str>,
    /// Its key there.
    pub(in crate::object) key: String,
    pub(in crate::object) record: Record,
    /// Its ETag.
    pub(in crate::object) etag: String,
    /// When it was written, by the store's clock.
    pub(in crate::object) written: Timestamp,
}

impl StoredRecord {
    /// Its location, in the store of its object. What is written there is encrypted as its upload.
    pub(in crate::object) fn at(&self, object: &Location) -> Location {
        Location {
            bucket: Arc::clone(&self.bucket),
            key: self.key.clone(),
            ..object.encrypting_as(&self.record.attributes)
        }
    }

    /// How long another process must be taken for alive and uploading; `None`: it is not. `replica`
    /// is the process that asks, which knows its own uploads without a record.
    pub(in crate::object) fn in_use_for(
        &self,
        replica: &Replica,
        now: Timestamp,
    ) -> Option<Duration> {
        let attempt = &self.record.attempt;
        let same_name = replica.name.is_some() && attempt.replica == replica.name;
        if !self.record.state.is_running() || attempt.process == replica.process || same_name {
            return None;
        }
        // The store reports times in seconds, so it may be a second older than it seems.
        let lives =
            Duration::from_millis(attempt.refresh_ms) * STALE_AFTER / 2 + Duration::from_secs(1);
        lives
            .checked_sub(age(now, self.written))
            .filter(|left| !left.is_zero())
    }

    /// Whether the upload is still running, in this process or in another. An upload whose record
    /// says that it is not has stored all that there is of it.
    pub(in crate::object) fn still_running(&self, object: &Location) -> bool {
        let context = object.store.context();
        let attempt = &self.record.attempt.id;
        let here = || {
            context
                .active_uploads
                .has_attempt(&name_of(object), attempt)
        };
        let elsewhere = || self.in_use_for(&context.replica, now(object)).is_some();
        self.record.state.is_running() && (here() || elsewhere())
    }

    /// Whether it can be removed: it is not being removed already, and no process is uploading.
    pub(in crate::object) fn is_idle(&self, object: &Location) -> bool {
        let context = object.store.context();
        let user = &self.record.user;
        self.record.state != RecordState::Removing
            && !context.active_uploads.has_upload_by(&name_of(object), user)
            && self.in_use_for(&context.replica, now(object)).is_none()
    }
}

/// Whether the object has been written since the upload began, as far as that can be ruled out.
pub(in crate::object) fn written_since(record: &Record, info: Option<&ObjectInfo>) -> bool {
    let by = info.and_then(|info| info.attributes.metadata.get(TRANSFER_KEY));
    if by == Some(&record.transfer) {
        return true;
    }
    match (&record.base, info) {
        (BaseObject::Absent | BaseObject::Unknown, None) => false,
        (BaseObject::Absent, Some(_)) => true,
        (BaseObject::Object(base), Some(info)) => !base.is(info),
        // Removed, not written; but the old bytes of an append were its.
        (BaseObject::Object(_), None) => record.old_bytes > 0,
        // Both times are cut to seconds. An object of the same second may be the newer one.
        (BaseObject::Unknown, Some(info)) => {
            record.began.at_ms < info.modified.as_millisecond().saturating_add(1000)
        }
    }
}

/// The store's time; it has answered before anything is judged.
pub(in crate::object) fn now(object: &Location) -> Timestamp {
    object.store.now().unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(in crate::object) fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::object::resume::record::tests::record;

    fn stored(state: RecordState, process: &str, name: Option<&str>) -> StoredRecord {
        StoredRecord {
            bucket: "b".into(),
            key: "r".to_owned(),
            record: record(state, process, name),
            etag: "\"e\"".to_owned(),
            written: Timestamp::from_second(1000).unwrap(),
        }
    }

    #[test]
    fn a_record_is_alive_while_it_is_refreshed() {
        let replica = |name: Option<&str>| Replica {
            name: name.map(str::to_owned),
            process: "me".to_owned(),
            ..Replica::default()
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let seconds = |left: Option<Duration>| left.map(|left| left.as_secs());
        for state in [RecordState::Running, RecordState::Doubtful] {
            let other = stored(state, "other", None);
            let left = |second| seconds(other.in_use_for(&replica(None), at(second)));
            assert_eq!(left(1000), Some(151));
            assert_eq!(left(1150), Some(1));
            assert_eq!(left(1151), None);
            // A clock that goes back does no harm.
            assert_eq!(left(900), Some(151));
        }
        for state in [RecordState::Interrupted, RecordState::Removing] {
            let ended = stored(state, "other", None);
            assert_eq!(ended.in_use_for(&replica(None), at(1000)), None);
        }
        let ours = stored(RecordState::Running, "me", None);
        assert_eq!(ours.in_use_for(&replica(None), at(1000)), None);
        let before = stored(RecordState::Running, "other", Some("pod-0"));
        assert_eq!(before.in_use_for(&replica(Some("pod-0")), at(1000)), None);
        let left = before.in_use_for(&replica(Some("pod-1")), at(1000));
        assert!(left.is_some());
    }

    fn info(modified_ms: i64, etag: &str, by: Option<&str>) -> ObjectInfo {
        let metadata = by.map(|by| (TRANSFER_KEY.to_owned(), by.to_owned()));
        ObjectInfo {
            size: 1,
            etag: etag.to_owned(),
            modified: Timestamp::from_millisecond(modified_ms).unwrap(),
            attributes: crate::object::Attributes {
                metadata: metadata.into_iter().collect(),
                ..Default::default()
            },
        }
    }

    /// Whatever the ids: they begin with the time of a replica, which may be wrong.
    #[test]
    fn in_doubt_an_object_of_the_second_of_the_begin_is_newer() {
        let mut record = record(RecordState::Interrupted, "p", None);
        record.began.at_ms = 10_400;
        record.transfer = "b".to_owned();
        for by in [None, Some("a"), Some("c")] {
            for (modified, ended) in [(9000, false), (10_000, true), (12_000, true)] {
                let found = written_since(&record, Some(&info(modified, "e", by)));
                assert_eq!(found, ended, "{by:?} {modified}");
            }
        }
        assert!(written_since(&record, Some(&info(0, "e", Some("b")))));
        assert!(!written_since(&record, None));
    }

    #[test]
    fn an_object_of_the_same_bytes_and_of_another_write_is_another() {
        let mut record = record(RecordState::Interrupted, "p", None);
        let ended = |record: &Record, info| written_since(record, Some(&info));
        record.base = BaseObject::Object(info(5000, "e", Some("a")).identity().into());
        assert!(!ended(&record, info(5000, "e", Some("a"))));
        assert!(ended(&record, info(5000, "e", Some("c"))));
        assert!(ended(&record, info(5000, "e", None)));
        assert!(ended(&record, info(5000, "f", Some("a"))));
        record.base = BaseObject::Object(info(5000, "e", None).identity().into());
        assert!(!ended(&record, info(5000, "e", None)));
        assert!(ended(&record, info(6000, "e", None)));
        assert!(!written_since(&record, None));
        record.old_bytes = 1;
        assert!(written_since(&record, None));
        record.base = BaseObject::Absent;
        assert!(ended(&record, info(0, "e", None)));
    }
}
