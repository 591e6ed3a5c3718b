//! What is kept of an upload: the record as it was read, judged by what the store has.

use tokio_util::task::TaskTracker;

use super::super::error::failure;
use super::super::head::timestamp;
use super::super::multipart::{DonePart, abort_upload, crc_from_header};
use super::super::settle::{Pin, TRANSFER_KEY};
use super::super::upload::Schedule;
use super::super::{Location, ObjectError, ObjectInfo, delete, head};
use super::record::{self, Base, Keep, Read, Record, SaveError, TailNote, UploadNote};
use super::running::{Older, name_of};

/// What can be gone on with.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// An upload that another process is at; it is to be asked again after so many seconds.
    Busy(u64),
    /// This.
    Kept(Box<Kept>),
}

/// An upload that can go on. It is a moment's picture: who goes on takes the record over, which fails where another did.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(in crate::object) record: Record,
    pub(in crate::object) record_etag: String,
    /// The unbroken run of parts from the first.
    pub(in crate::object) parts: Vec<DonePart>,
    /// Whether the store still knows its multipart upload, which may have no part yet.
    pub(in crate::object) open: bool,
    /// The tail, where the end of the run is in it or where it begins.
    pub(in crate::object) tail: Option<TailNote>,
    /// So many bytes of the tail are in parts already: an attempt to go on was broken off when it had read it again.
    pub(in crate::object) skip: u64,
    /// What the object must still be when it is published.
    pub(in crate::object) pin: Pin,
    /// When the record was written, by the store's clock.
    pub(in crate::object) written: jiff::Timestamp,
}

/// A record as it was read, not yet judged.
#[derive(Debug)]
pub struct Stored {
    read: Read,
}

impl Keep {
    /// The uploads of this object by the same user that this process is at.
    pub fn older(&self, object: &Location) -> Older {
        let running = &object.store.context().replica.running;
        running.older(&name_of(object), &self.user)
    }

    /// GetObject of the record, which is small. `None` where there is none.
    pub async fn stored(&self, object: &Location) -> Result<Option<Stored>, ObjectError> {
        let at = record::record_at(object, &self.state_bucket);
        let read = Box::pin(record::read(&at)).await?;
        Ok(read.map(|read| Stored { read }))
    }

    /// Whether this process knows of a record of this object, or has written the object and asked for none.
    fn may_be_there(&self, object: &Location) -> bool {
        let running = &object.store.context().replica.running;
        let name = name_of(object);
        running.take_written(&name) || running.hinted(&name)
    }

    /// The object has been written in another way than by an upload.
    pub fn wrote(&self, object: &Location) {
        let running = &object.store.context().replica.running;
        running.wrote(&name_of(object));
    }

    /// The object has been removed, whose content was `info`: nothing tells any more that what is kept of its name is
    /// older than that, so it goes. 1 GetObject where there may be something.
    pub async fn removed(&self, object: &Location, info: &ObjectInfo) -> Result<(), ObjectError> {
        if !self.may_be_there(object) {
            return Ok(());
        }
        let Some(stored) = self.stored(object).await? else {
            return Ok(());
        };
        if stored.is_idle(object) && superseded(&stored.read.record, Some(info)) {
            stored.discard(object, self).await;
        }
        Ok(())
    }

    /// What ends with an object that its user is about to delete, and is then to be discarded: what is kept of his own
    /// upload, or of another's that the object has superseded, for which nothing would tell afterwards. Not what is
    /// running. 1 GetObject where this process knows that there may be something, and 1 HEAD where that is another's.
    pub async fn ends_with(&self, object: &Location) -> Result<Option<Stored>, ObjectError> {
        if !self.may_be_there(object) {
            return Ok(None);
        }
        let Some(stored) = self.stored(object).await? else {
            return Ok(None);
        };
        let record = &stored.read.record;
        let ends = stored.is_idle(object)
            && (*record.user == *self.user
                || superseded(record, Some(&Box::pin(head(object)).await?)));
        Ok(ends.then_some(stored))
    }

    /// Gives up what is kept of an object, whoever it belongs to; not what is running.
    pub async fn give_up(&self, object: &Location) -> Result<bool, ObjectError> {
        let Some(stored) = self.stored(object).await? else {
            return Ok(false);
        };
        if !stored.is_idle(object) {
            return Ok(false);
        }
        stored.discard(object, self).await;
        Ok(true)
    }
}

impl Stored {
    /// What is kept, where `info` is what a HEAD has just told of the object (`None`: it is not there). Asks for the
    /// parts: 1 ListParts for each 1,000, and a HEAD of the tail. What is kept no more is removed, beside.
    pub async fn judge(
        self,
        object: &Location,
        keep: &Keep,
        info: Option<&ObjectInfo>,
    ) -> Result<Found, ObjectError> {
        let record = &self.read.record;
        if !record.is_of(object) || *record.user != *keep.user {
            return Ok(Found::Nothing);
        }
        let by = info.and_then(|info| info.attributes.metadata.get(TRANSFER_KEY));
        if by == Some(&record.transfer) && record.running {
            // It is published, and its process is about to remove the record.
            return Ok(Found::Nothing);
        }
        let replica = &object.store.context().replica;
        if let Some(left) = self.read.alive_for(replica, now(object)) {
            return Ok(Found::Busy(left.as_secs() + 1));
        }
        if superseded(record, info) {
            self.discard_beside(object, keep);
            return Ok(Found::Nothing);
        }
        let parts = async {
            match &record.upload {
                Some(upload) => list_parts(object, &upload.id).await,
                None => Ok(Some(Vec::new())),
            }
        };
        let tail = async {
            match &record.tail {
                Some(tail) => still_there(object, keep, tail).await,
                None => Ok(None),
            }
        };
        let (parts, tail) = tokio::try_join!(parts, tail)?;
        let known = parts.is_some();
        let parts = match (&record.upload, parts) {
            (Some(upload), Some(parts)) => run(upload.copied, record.sizes, parts),
            _ => Vec::new(),
        };
        let copied = record.upload.as_ref().map(|upload| upload.copied);
        let end: u64 = parts.iter().map(|part| part.size).sum();
        let tail = tail.filter(|tail| (tail.offset..tail.offset + tail.size).contains(&end));
        let kept = Kept {
            record_etag: self.read.etag.clone(),
            open: known && copied.is_some_and(|copied| copied == 0 || !parts.is_empty()),
            parts,
            skip: tail.as_ref().map_or(0, |tail| end - tail.offset),
            tail,
            pin: match info {
                Some(info) => Pin::Version(info.identity()),
                None => Pin::Absent,
            },
            written: self.read.written,
            record: record.clone(),
        };
        if kept.size() <= record.old_bytes || kept.told() == 0 {
            self.discard_beside(object, keep);
            return Ok(Found::Nothing);
        }
        // Should the user begin anew, it is known that there is something to be removed.
        replica.running.hint(&name_of(object));
        Ok(Found::Kept(Box::new(kept)))
    }

    /// Whether it is of this object, and neither this process nor another is at it.
    fn is_idle(&self, object: &Location) -> bool {
        let replica = &object.store.context().replica;
        let record = &self.read.record;
        record.is_of(object)
            && !record.is_nobodys()
            && !replica.running.holds(&name_of(object))
            && self.read.alive_for(replica, now(object)).is_none()
    }

    /// Removes the multipart upload, the tail and the record, in this order.
    pub async fn discard(&self, object: &Location, keep: &Keep) {
        discard(&self.read, object, keep).await;
    }

    fn discard_beside(&self, object: &Location, keep: &Keep) {
        let running = &object.store.context().replica.running;
        if running.holds(&name_of(object)) {
            return;
        }
        let (read, object, keep) = (self.read.clone(), object.clone(), keep.clone());
        let cleanups: TaskTracker = object.store.context().cleanups.clone();
        cleanups.spawn(async move { discard(&read, &object, &keep).await });
    }
}

impl Kept {
    /// Bytes of the object that are there.
    pub(in crate::object) fn size(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.size).sum();
        parts + self.tail.as_ref().map_or(0, |tail| tail.size - self.skip)
    }

    /// The length that the client is told, and goes on from: one less than what is there where all may be.
    pub fn told(&self) -> u64 {
        let all = self.record.ended || self.record.running;
        self.size() - u64::from(all && self.size() > 0)
    }

    /// Bytes from [`told`](Self::told) on that are there, and come again.
    pub fn again(&self) -> u64 {
        self.size() - self.told()
    }

    /// Whether it begins with bytes of the object that is there.
    pub fn appends(&self) -> bool {
        self.record.old_bytes > 0
    }

    /// The transfer it was begun by, whose name the object will have.
    pub fn transfer(&self) -> super::super::TransferId {
        super::super::TransferId::named(&self.record.transfer)
    }

    /// When it was broken off, by the store's clock.
    pub fn written(&self) -> jiff::Timestamp {
        self.written
    }
}

/// The store's time; it has answered before anything is judged.
pub(super) fn now(object: &Location) -> jiff::Timestamp {
    object.store.now().unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

/// Whether somebody has written the object since the upload began.
pub(super) fn superseded(record: &Record, info: Option<&ObjectInfo>) -> bool {
    let by = info.and_then(|info| info.attributes.metadata.get(TRANSFER_KEY));
    let is_by = |transfer: &String| by == Some(transfer);
    if is_by(&record.transfer) || record.others.iter().any(|other| is_by(&other.transfer)) {
        // By itself, or by an upload that was still running when this one began.
        return true;
    }
    match (&record.base, info) {
        (Base::Absent, None) | (Base::Unknown, None) => false,
        (Base::Absent, Some(_)) => true,
        (Base::Etag(etag), Some(info)) => *etag != info.etag,
        // Removed, not written; but the old bytes of an append were its.
        (Base::Etag(_), None) => record.old_bytes > 0,
        // Both times are cut to seconds. Where that leaves it open, transfers of ours are told apart by their names, which
        // begin with the time of their replica; of another's object it counts as older.
        (Base::Unknown, Some(info)) => {
            let modified = info.modified.as_millisecond();
            let later = by.is_some_and(|by| *by > record.transfer);
            modified >= record.started_ms.saturating_add(1000)
                || (later && modified.saturating_add(1000) > record.started_ms)
        }
    }
}

/// The unbroken run from the first part. A part that is not as large as its number wants was the last of an upload
/// that came to its end: nothing can follow it.
fn run(copied: u32, (first, largest): (u64, u64), parts: Vec<DonePart>) -> Vec<DonePart> {
    let schedule = Schedule::new(first, largest);
    let whole =
        |part: &DonePart| part.number <= copied || part.size == schedule.size(part.number - copied);
    (1..)
        .zip(parts)
        .take_while(|(number, part)| part.number == *number && whole(part))
        .map(|(_, part)| part)
        .collect()
}

/// When the last part of an upload was stored; 1970 where it has none, or is not known.
pub(super) async fn last_part(
    object: &Location,
    upload_id: &str,
) -> Result<jiff::Timestamp, ObjectError> {
    let mut last = jiff::Timestamp::UNIX_EPOCH;
    each_part(object, upload_id, |part| {
        if let Some(stored) = timestamp(part.last_modified()) {
            last = last.max(stored);
        }
        Ok(())
    })
    .await?;
    Ok(last)
}

/// ListParts, in the order of their numbers; `None` where the upload is not known.
async fn list_parts(
    object: &Location,
    upload_id: &str,
) -> Result<Option<Vec<DonePart>>, ObjectError> {
    let mut parts = Vec::new();
    let known = each_part(object, upload_id, |part| {
        let number = part
            .part_number()
            .and_then(|number| u32::try_from(number).ok());
        let size = part.size().and_then(|size| u64::try_from(size).ok());
        let (Some(number), Some(size)) = (number, size) else {
            return Err(ObjectError::Other(
                "ListParts tells a part without number or size".to_owned(),
            ));
        };
        parts.push(DonePart {
            number,
            etag: part.e_tag().unwrap_or_default().to_owned(),
            crc: part.checksum_crc32().and_then(crc_from_header),
            size,
        });
        Ok(())
    })
    .await?;
    parts.sort_unstable_by_key(|part| part.number);
    Ok(known.then_some(parts))
}

/// Goes through the pages of ListParts; `false` where the upload is not known.
async fn each_part(
    object: &Location,
    upload_id: &str,
    mut each: impl FnMut(&aws_sdk_s3::types::Part) -> Result<(), ObjectError>,
) -> Result<bool, ObjectError> {
    let mut marker = None;
    loop {
        let request = object
            .store
            .client()
            .list_parts()
            .bucket(&*object.bucket)
            .key(&object.key)
            .upload_id(upload_id)
            .set_part_number_marker(marker);
        let output = match Box::pin(request.send()).await.map_err(failure) {
            Ok(output) => output,
            Err(failure) if failure.no_such_upload() || failure.status == Some(404) => {
                return Ok(false);
            }
            Err(failure) => return Err(failure.error),
        };
        for part in output.parts() {
            each(part)?;
        }
        marker = match (output.is_truncated(), output.next_part_number_marker()) {
            (Some(true), Some(next)) => Some(next.to_owned()),
            _ => return Ok(true),
        };
    }
}

/// The tail, where it is what the record says.
async fn still_there(
    object: &Location,
    keep: &Keep,
    tail: &TailNote,
) -> Result<Option<TailNote>, ObjectError> {
    let at = Location {
        store: object.store.clone(),
        bucket: keep.state_bucket.clone(),
        key: tail.key.clone(),
    };
    match head(&at).await {
        Ok(info) if info.etag == tail.etag && info.size == tail.size => Ok(Some(tail.clone())),
        Ok(_) | Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// See [`Stored::discard`]. First the record becomes nobody's: whoever goes on with the upload meanwhile takes the record
/// over, and one of the two finds out before anything is removed. What does not work is left to the sweep.
pub(super) async fn discard(read: &Read, object: &Location, keep: &Keep) {
    let at = record::record_at(object, &keep.state_bucket);
    let mut record = read.record.nobodys();
    let etag = match record::save(&at, &record, Some(&read.etag)).await {
        Ok(etag) => etag,
        Err(SaveError::Displaced(_) | SaveError::InTheWay(_)) => return,
        Err(SaveError::Object(error)) => {
            tracing::warn!(key = object.key, %error, "what is left of an upload could not be removed");
            return;
        }
    };
    if let Some(upload) = record.upload.take() {
        abort_upload(object, &upload.id).await;
    }
    if let Some(tail) = record.tail.take() {
        remove_tail(object, keep, &tail.key).await;
    }
    remove_record(object, keep, &record, &etag).await;
}

/// Removes a record; where it names uploads that may still run, they get one that belongs to nobody, for the sweep.
pub(super) async fn remove_record(object: &Location, keep: &Keep, record: &Record, etag: &str) {
    let at = record::record_at(object, &keep.state_bucket);
    let named: Vec<_> = [&*record.others, &*record.given_up].concat();
    let mut others = still_open(object, &named).await;
    let removed = if others.is_empty() {
        record::remove(&at, etag).await
    } else {
        let handed_back = Record {
            upload: Some(others.remove(0)),
            tail: None,
            others,
            given_up: Vec::new(),
            ..record.nobodys()
        };
        match record::save(&at, &handed_back, Some(etag)).await {
            // Those that have ended meanwhile have found the record that was there before, and will not look again.
            Ok(etag) if still_open(object, &named).await.is_empty() => {
                record::remove(&at, &etag).await
            }
            Ok(_) | Err(SaveError::Displaced(_) | SaveError::InTheWay(_)) => Ok(()),
            Err(SaveError::Object(error)) => Err(error),
        }
    };
    if let Err(error) = removed {
        tracing::warn!(key = object.key, %error, "the record of an upload could not be removed");
    }
}

/// Those of some uploads that have not ended; of one that can't be looked at nothing is known.
async fn still_open(object: &Location, uploads: &[UploadNote]) -> Vec<UploadNote> {
    let mut open = Vec::new();
    for upload in uploads {
        if !matches!(list_parts(object, &upload.id).await, Ok(None)) {
            open.push(upload.clone());
        }
    }
    open
}

/// DeleteObject of a tail.
pub(super) async fn remove_tail(object: &Location, keep: &Keep, key: &str) {
    let at = Location {
        store: object.store.clone(),
        bucket: keep.state_bucket.clone(),
        key: key.to_owned(),
    };
    if let Err(error) = delete(&at, None).await {
        tracing::warn!(key, %error, "the tail of an upload could not be removed");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn in_the_second_in_which_an_upload_begins_its_name_tells_what_is_older() {
        let record = Record {
            base: Base::Unknown,
            started_ms: 10_400,
            transfer: "b".to_owned(),
            ..record::tests::read_record(false, "p", None).record
        };
        let written = |millisecond, by: Option<&str>| {
            let metadata = by.map(|by| (TRANSFER_KEY.to_owned(), by.to_owned()));
            let info = ObjectInfo {
                size: 1,
                etag: "e".to_owned(),
                modified: jiff::Timestamp::from_millisecond(millisecond).unwrap(),
                attributes: crate::object::Attributes {
                    metadata: metadata.into_iter().collect(),
                    ..Default::default()
                },
            };
            superseded(&record, Some(&info))
        };
        // Another tool's, and an earlier and a later transfer's: long before, in the same second, and after it.
        for (by, ended) in [
            (None, [false, false, true]),
            (Some("a"), [false, false, true]),
            (Some("c"), [false, true, true]),
        ] {
            assert_eq!(
                [9_000, 10_000, 12_000].map(|at| written(at, by)),
                ended,
                "{by:?}"
            );
        }
    }

    #[test]
    fn what_is_kept_is_the_unbroken_run_of_whole_parts() {
        let part = |(number, size)| DonePart {
            number,
            etag: String::new(),
            crc: None,
            size,
        };
        for (parts, kept) in [
            (vec![], 0),
            (vec![(1, 7)], 1),
            (vec![(1, 7), (2, 10), (3, 10)], 3),
            (vec![(1, 7), (2, 10), (4, 10)], 2),
            (vec![(2, 10)], 0),
            (vec![(1, 7), (2, 9), (3, 10)], 1),
            (vec![(1, 7), (2, 10), (3, 9)], 2),
        ] {
            let found: Vec<DonePart> = parts.iter().copied().map(part).collect();
            assert_eq!(run(1, (10, 100), found).len(), kept, "{parts:?}");
        }
    }
}
