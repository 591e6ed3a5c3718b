//! What can be resumed: the record as it was read, judged by what the store has.

use std::net::IpAddr;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio_util::task::TaskTracker;

use crate::object::active_uploads::{EarlierUploads, name_of};
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::list::{Key, RawPage};
use crate::object::location::Location;
use crate::object::multipart::DonePart;
use crate::object::multipart::list_parts::{list_parts, run};
use crate::object::precondition::Precondition;
use crate::object::resume::discard::discard;
use crate::object::resume::record::{
    self, BaseObject, PieceNote, Record, RecordState, ResumeScope, StableFields, StoredRecord,
    TailNote,
};
use crate::object::resume::records::{self, SlotContent};
use crate::object::transfer_id::{TRANSFER_KEY, TransferId};

/// The pieces of a tail that are asked for at once.
const PIECES: usize = 8;

/// What there is to resume.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing.
    None,
    /// An upload that another process is still receiving, as far as its record shows.
    InUse {
        /// The time after which it may be free, in whole seconds.
        retry_after: Duration,
    },
    /// A record of a later format: it is not known what it names.
    LaterFormat(u64),
    /// This.
    Resumable(Box<ResumableUpload>),
}

/// An interrupted upload that can be resumed. It is a picture of one moment: a resume takes the record over, which
/// fails if another was quicker.
#[derive(Debug, Clone)]
pub struct ResumableUpload {
    pub(in crate::object) record: Record,
    pub(in crate::object) record_etag: String,
    /// The unbroken run of parts from the first.
    pub(in crate::object) parts: Vec<DonePart>,
    /// Whether the store still knows its multipart upload, which may have no part yet.
    pub(in crate::object) open: bool,
    /// The tail, if the end of the run is in it or at its begin.
    pub(in crate::object) tail: Option<TailNote>,
    /// The number of bytes of the tail that are in parts already: a resume that broke off had read them back.
    pub(in crate::object) skip: u64,
    /// The object that must still be there when it is published.
    pub(in crate::object) precondition: Precondition,
    /// When the record was written, by the store's clock.
    pub(in crate::object) written: Timestamp,
}

/// A record as it was read, not yet judged.
#[derive(Debug)]
pub struct Stored(Inner);

#[derive(Debug)]
enum Inner {
    Record(Box<StoredRecord>),
    Later(StableFields),
}

impl ResumeScope {
    /// The uploads of this object by the same user in this process.
    pub fn earlier_uploads(&self, object: &Location) -> EarlierUploads {
        let running = &object.store.context().replica.running;
        running.earlier(&name_of(object), &self.user)
    }

    /// GetObject of the record, which is small. `None` if there is none, or none that can be read.
    pub async fn stored(&self, object: &Location) -> Result<Option<Stored>, ObjectError> {
        let at = record::record_at(object, &self.state_bucket, &self.user);
        let there = Box::pin(records::read(&at)).await?;
        Ok(Stored::of(there).filter(|stored| stored.is_of(object)))
    }

    /// The format of the user's record, if it is a later one than this version reads. 1 GetObject, if this process knows
    /// that there is a record.
    pub async fn later_format(&self, object: &Location) -> Result<Option<u64>, ObjectError> {
        let running = &object.store.context().replica.running;
        let ours = record::user_hash(&self.user);
        if !running.hinted(&name_of(object), |user| user == ours) {
            return Ok(None);
        }
        Ok(match self.stored(object).await? {
            Some(Stored(Inner::Later(names))) => Some(names.format),
            _ => None,
        })
    }

    /// The records of all users of this object: 1 ListObjectsV2, and 1 GetObject for each.
    async fn all_stored(&self, object: &Location) -> Result<Vec<Stored>, ObjectError> {
        let state = Location {
            store: object.store.clone(),
            bucket: self.state_bucket.clone(),
            key: String::new(),
        };
        let prefix = record::records_of(object);
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = RawPage::fetch(&state, &prefix, None, 1000, token).await?;
            // An empty one is as good as none; one that was set aside is of an upload that may run.
            let wanted = |key: &Key| key.size > 0 && !record::is_aside(&key.key);
            for key in page.keys.into_iter().filter(wanted) {
                let at = Location {
                    key: key.key,
                    ..state.clone()
                };
                found.extend(Stored::of(Box::pin(records::read(&at)).await?));
            }
            if page.next.is_none() {
                found.retain(|stored| stored.is_of(object));
                return Ok(found);
            }
            token = page.next;
        }
    }

    /// Whether this process knows of a record of this object, or has written the object and asked for none.
    fn may_be_there(&self, object: &Location) -> bool {
        let running = &object.store.context().replica.running;
        let name = name_of(object);
        running.take_written(&name) || running.hinted(&name, |_| true)
    }

    /// Whether this process knows that the user may have an upload of this object. Asks the store nothing.
    pub fn may_have_upload(&self, object: &Location) -> bool {
        let running = &object.store.context().replica.running;
        let name = name_of(object);
        let ours = record::user_hash(&self.user);
        running.hinted(&name, |user| user == ours) || running.has_upload_by(&name, &self.user)
    }

    /// The object has been written in another way than by an upload.
    pub fn object_written(&self, object: &Location) {
        let running = &object.store.context().replica.running;
        running.wrote(&name_of(object));
    }

    /// The object has been removed, whose content was `info`. Nothing shows any more that an interrupted upload of its
    /// name is older than that, so those that are end. 1 ListObjectsV2 and a GetObject for each record, if this process
    /// knows that there may be any.
    pub async fn object_removed(
        &self,
        object: &Location,
        info: &ObjectInfo,
    ) -> Result<(), ObjectError> {
        if !self.may_be_there(object) {
            return Ok(());
        }
        for stored in self.all_stored(object).await? {
            if stored.is_idle(object) && stored.is_written_since(Some(info)) {
                stored.discard(object).await;
            }
        }
        Ok(())
    }

    /// The interrupted uploads that end with an object that its user is about to delete, and are then to be discarded:
    /// the user's own, and those of other users that the object has superseded, which nothing would show afterwards. Not
    /// those that run. 1 ListObjectsV2 and a GetObject for each record, if this process knows that there may be any, and
    /// 1 HEAD if one is another user's.
    pub async fn ended_by_delete(&self, object: &Location) -> Result<Vec<Stored>, ObjectError> {
        if !self.may_be_there(object) {
            return Ok(Vec::new());
        }
        let mut ends = Vec::new();
        let mut info = None;
        for stored in self.all_stored(object).await? {
            if !stored.is_idle(object) {
                continue;
            }
            if !stored.is_by(&self.user) {
                let info = match &mut info {
                    Some(info) => info,
                    None => info.insert(Box::pin(head(object)).await?),
                };
                if !stored.is_written_since(Some(info)) {
                    continue;
                }
            }
            ends.push(stored);
        }
        Ok(ends)
    }

    /// The object has been published by a transfer: the interrupted uploads of all users that began before end. 1
    /// ListObjectsV2 and a GetObject for each record.
    pub(in crate::object) async fn object_published(
        &self,
        object: &Location,
        transfer: &TransferId,
    ) -> Result<(), ObjectError> {
        let replica = &object.store.context().replica;
        for stored in self.all_stored(object).await? {
            let read = match stored.0 {
                Inner::Record(read) => read,
                Inner::Later(_) => continue,
            };
            let since = match &read.record.base {
                BaseObject::Object(base) => base.transfer.as_deref() == Some(transfer.as_str()),
                BaseObject::Unknown | BaseObject::Absent => false,
            };
            if !since && !read.lives(&name_of(object), replica, now(object)) {
                discard(object, &read).await;
            }
        }
        Ok(())
    }

    /// Gives up the user's interrupted upload of an object, if it does not run; whether there was one.
    pub async fn discard(&self, object: &Location) -> Result<bool, ObjectError> {
        let Some(stored) = self.stored(object).await? else {
            return Ok(false);
        };
        if !stored.is_idle(object) {
            return Ok(false);
        }
        stored.discard(object).await;
        Ok(true)
    }
}

impl Stored {
    fn of(there: SlotContent) -> Option<Stored> {
        match there {
            SlotContent::Record(read) => Some(Stored(Inner::Record(read))),
            SlotContent::Later(later) => Some(Stored(Inner::Later(later.names))),
            SlotContent::Nothing | SlotContent::Empty(_) | SlotContent::Garbage(_) => None,
        }
    }

    /// What can be resumed, if `info` is what a HEAD has just reported of the object (`None`: it does not exist). Asks
    /// for the parts: 1 ListParts for each 1,000, and a HEAD for each piece of the tail. An upload that is not kept any
    /// more is removed in the background.
    pub async fn judge(
        self,
        object: &Location,
        keep: &ResumeScope,
        info: Option<&ObjectInfo>,
    ) -> Result<Lookup, ObjectError> {
        let read = match self.0 {
            Inner::Record(read) => read,
            Inner::Later(names) => {
                // A new upload of the name has to set it aside.
                let running = &object.store.context().replica.running;
                running.hint(&name_of(object), &record::user_hash(&keep.user));
                return Ok(Lookup::LaterFormat(names.format));
            }
        };
        let record = &read.record;
        if *record.user != *keep.user || record.state == RecordState::Removing {
            return Ok(Lookup::None);
        }
        let by = info.and_then(|info| info.attributes.metadata.get(TRANSFER_KEY));
        if by == Some(&record.transfer) && record.state.runs() {
            // It is published, and its process is about to remove the record.
            return Ok(Lookup::None);
        }
        let replica = &object.store.context().replica;
        let now = now(object);
        if let Some(left) = read.alive_for(replica, now) {
            let retry_after = Duration::from_secs(left.as_secs() + 1);
            return Ok(Lookup::InUse { retry_after });
        }
        let expired = info.is_some() && age(now, read.written) >= keep.over_object;
        if record.state == RecordState::Doubtful || expired || written_since(record, info) {
            discard_in_background(&read, object);
            return Ok(Lookup::None);
        }
        let parts = async {
            match &record.upload {
                Some(upload) => list_parts(object, &upload.id).await,
                None => Ok(Some(Vec::new())),
            }
        };
        let tail = async {
            match &record.tail {
                Some(tail) => still_there(&read.at(object), tail).await,
                None => Ok(None),
            }
        };
        let (parts, tail) = tokio::try_join!(parts, tail)?;
        let known = parts.is_some();
        let parts = match (&record.upload, parts) {
            (Some(upload), Some(parts)) => run(upload.copied, record.schedule, parts),
            _ => Vec::new(),
        };
        let copied = record.upload.as_ref().map(|upload| upload.copied);
        let end: u64 = parts.iter().map(|part| part.size).sum();
        let tail = tail.filter(|tail| (tail.offset..tail.end()).contains(&end));
        let kept = ResumableUpload {
            record_etag: read.etag.clone(),
            open: known && copied.is_some_and(|copied| copied == 0 || !parts.is_empty()),
            parts,
            skip: tail.as_ref().map_or(0, |tail| end - tail.offset),
            tail,
            precondition: match info {
                Some(info) => Precondition::Version(info.identity()),
                None => Precondition::Absent,
            },
            written: read.written,
            record: record.clone(),
        };
        if kept.size() <= record.old_bytes || kept.reported_len() == 0 {
            discard_in_background(&read, object);
            return Ok(Lookup::None);
        }
        // If the user begins anew, this process knows that there is something to remove.
        let user = record::user_hash(&keep.user);
        replica.running.hint(&name_of(object), &user);
        Ok(Lookup::Resumable(Box::new(kept)))
    }

    fn is_of(&self, object: &Location) -> bool {
        match &self.0 {
            Inner::Record(read) => read.record.is_of(object),
            Inner::Later(names) => names.are_of(object),
        }
    }

    /// Whether it is of this user. Of a record of a later format that is not known.
    fn is_by(&self, user: &str) -> bool {
        matches!(&self.0, Inner::Record(read) if *read.record.user == *user)
    }

    /// Whether it can be removed: no process is at it. Of a record of a later format that is not known.
    fn is_idle(&self, object: &Location) -> bool {
        let Inner::Record(read) = &self.0 else {
            return false;
        };
        let replica = &object.store.context().replica;
        read.record.state != RecordState::Removing
            && !replica
                .running
                .has_upload_by(&name_of(object), &read.record.user)
            && read.alive_for(replica, now(object)).is_none()
    }

    /// See [`written_since`].
    fn is_written_since(&self, info: Option<&ObjectInfo>) -> bool {
        matches!(&self.0, Inner::Record(read) if written_since(&read.record, info))
    }

    /// Removes the multipart upload, the tail and the record, in this order.
    pub async fn discard(&self, object: &Location) {
        if let Inner::Record(read) = &self.0 {
            Box::pin(discard(object, read)).await;
        }
    }
}

impl ResumableUpload {
    /// Bytes of the object that are there.
    pub(in crate::object) fn size(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.size).sum();
        parts + self.tail.as_ref().map_or(0, |tail| tail.size - self.skip)
    }

    /// The length that is reported, and the offset to resume at: one less than what is there. All bytes of the file may
    /// have come, whatever ended the upload, and a client that sees its whole length takes the file for stored.
    pub fn reported_len(&self) -> u64 {
        self.size().saturating_sub(1)
    }

    /// Bytes from [`told`](Self::told) on that are there, and come again.
    pub fn overlap(&self) -> u64 {
        self.size() - self.reported_len()
    }

    /// Whether a client that begins at this byte resumes it: at the end of all that is there, or at the byte before, which
    /// is the length that SIZE reports.
    pub fn resumes_at(&self, offset: u64) -> bool {
        let end = self.size();
        offset == end || offset + 1 == end
    }

    /// Whether it begins with bytes of the object that is there.
    pub fn appends(&self) -> bool {
        self.record.old_bytes > 0
    }

    /// The transfer it was begun by, whose name the object will have.
    pub fn transfer(&self) -> TransferId {
        TransferId::named(&self.record.transfer)
    }

    /// The address of the client that sent it.
    pub fn peer(&self) -> Option<IpAddr> {
        self.record.peer
    }

    /// When it last moved: when its record was written after it broke off, by the store's clock.
    pub fn written(&self) -> Timestamp {
        self.written
    }
}

/// The store's time; it has answered before anything is judged.
pub(in crate::object) fn now(object: &Location) -> Timestamp {
    object.store.now().unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(in crate::object) fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
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

/// The tail as far as it is what the record says: all pieces up to the first that is not.
async fn still_there(record: &Location, tail: &TailNote) -> Result<Option<TailNote>, ObjectError> {
    let ask = |piece: &PieceNote| {
        let at = Location {
            key: tail.piece_key(piece),
            ..record.clone()
        };
        let piece = piece.clone();
        async move {
            match head(&at).await {
                Ok(info) => Ok(info.etag == piece.etag && info.size == piece.size),
                Err(ObjectError::NotFound) => Ok(false),
                Err(error) => Err(error),
            }
        }
    };
    let asked: Vec<_> = tail.pieces.iter().map(ask).collect();
    let there: Vec<bool> = stream::iter(asked).buffered(PIECES).try_collect().await?;
    Ok(tail.truncated(there.iter().take_while(|there| **there).count()))
}

fn discard_in_background(read: &StoredRecord, object: &Location) {
    let running = &object.store.context().replica.running;
    if running.has_upload_by(&name_of(object), &read.record.user) {
        return;
    }
    let (read, object) = (read.clone(), object.clone());
    let cleanups: TaskTracker = object.store.context().cleanups.clone();
    cleanups.spawn(async move { discard(&object, &read).await });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn info(modified_ms: i64, etag: &str, by: Option<&str>) -> ObjectInfo {
        let metadata = by.map(|by| (TRANSFER_KEY.to_owned(), by.to_owned()));
        ObjectInfo {
            size: 1,
            etag: etag.to_owned(),
            modified: Timestamp::from_millisecond(modified_ms).unwrap(),
            attributes: crate::object::head::Attributes {
                metadata: metadata.into_iter().collect(),
                ..Default::default()
            },
        }
    }

    /// Whatever the ids: they begin with the time of a replica, which may be wrong.
    #[test]
    fn in_doubt_an_object_of_the_second_of_the_begin_is_newer() {
        let mut record = record::tests::read_record(RecordState::Interrupted, "p", None).record;
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
        let mut record = record::tests::read_record(RecordState::Interrupted, "p", None).record;
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
