//! The record of an upload: its format, and the names under which records and tails lie.
//!
//! A record is JSON. Five fields never change their name or meaning: `format`, `bucket`, `key`, `upload.id` and
//! `tail.key` ([`StableFields`]). By them a process removes what a record of a later format names, which it cannot read.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::object::active_uploads::ActiveUploads;
use crate::object::head::{Attributes, ObjectInfo};
use crate::object::identity::ObjectIdentity;
use crate::object::location::Location;
use crate::object::resume::order::Began;
use crate::object::transfer_id::TransferId;

/// Where the server keeps its own state, in the bucket of the objects or in one of its own.
pub(in crate::object) const STATE_PREFIX: &str = ".s3ftpd/";

/// The format of the records that this version writes, and the only one that it reads.
pub(in crate::object) const FORMAT: u64 = 1;

/// A record that was not refreshed for this many halves of its refresh time belongs to a process that is gone.
const STALE_AFTER: u32 = 5;

/// For whom, and how long, an interrupted upload is kept.
#[derive(Debug, Clone)]
pub struct ResumeScope {
    /// The user it belongs to.
    pub user: Arc<str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The bucket of records and tails, in the same store.
    pub state_bucket: Arc<str>,
    /// How long an interrupted upload is kept if an object of its name exists.
    pub over_object: Duration,
}

/// This process among all that serve the same buckets.
#[derive(Debug)]
pub struct Replica {
    /// A name that no other living process has, if one is configured: a running upload recorded under that name by an
    /// earlier process is known to be dead at once.
    pub name: Option<String>,
    /// This process; another one each time.
    pub process: String,
    /// The interval at which records of running uploads are refreshed.
    pub refresh: Duration,
    /// The uploads of this process.
    pub running: ActiveUploads,
}

impl Replica {
    /// A process that begins.
    pub fn new(name: Option<String>, refresh: Duration) -> Arc<Replica> {
        Arc::new(Replica {
            name,
            process: TransferId::generate().as_str().to_owned(),
            refresh,
            running: ActiveUploads::default(),
        })
    }
}

impl Default for Replica {
    fn default() -> Self {
        Replica {
            name: None,
            process: TransferId::generate().as_str().to_owned(),
            refresh: Duration::from_secs(60),
            running: ActiveUploads::default(),
        }
    }
}

/// What is written alongside an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct Record {
    /// [`FORMAT`].
    pub format: u64,
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The user who sent it.
    pub user: String,
    /// The address of the client that sent it last.
    pub peer: Option<IpAddr>,
    /// The transfer id, which the object will have in its metadata.
    pub transfer: String,
    /// What becomes of it.
    pub state: RecordState,
    /// When it began.
    pub began: Began,
    /// When bytes last arrived, by the store's clock: milliseconds since 1970.
    pub moved_ms: i64,
    /// The attempt that wrote this record last.
    #[serde(rename = "writer")]
    pub attempt: AttemptNote,
    /// The open multipart upload, once there is one.
    pub upload: Option<UploadNote>,
    /// The sizes of its parts.
    pub schedule: ScheduleNote,
    /// The bytes after the last whole part.
    pub tail: Option<TailNote>,
    /// The object that was there.
    pub base: BaseObject,
    /// How many of its first bytes are those of the object it is appended to.
    pub old_bytes: u64,
    /// The attributes that the object is to have.
    pub attributes: Attributes,
}

/// What becomes of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::object) enum RecordState {
    /// It runs; if it breaks off, it can be resumed.
    Running,
    /// It runs; if it breaks off, nothing of it is kept, since another upload of the user and name may be the newer one.
    Doubtful,
    /// It broke off and can be resumed.
    Interrupted,
    /// Its parts and its tail are being removed, and the record last.
    Removing,
}

/// The last writer of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct AttemptNote {
    /// Another one each time an upload begins or is resumed. No two writers write the same record, so a writer that
    /// finds its own after an answer was lost knows that it is its own.
    pub id: String,
    /// How often it has written the record: each write has other bytes, and so another ETag.
    #[serde(rename = "writes")]
    pub generation: u64,
    /// [`Replica::name`].
    pub replica: Option<String>,
    /// [`Replica::process`].
    pub process: String,
    /// The interval at which it refreshes the record of a running upload, milliseconds.
    pub refresh_ms: u64,
}

/// A multipart upload in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct UploadNote {
    /// S3's UploadId.
    pub id: String,
    /// Whether its parts have CRC-32 checksums.
    pub crc32: bool,
    /// The number of its first parts that hold old bytes of the object; the sizes of the others follow the schedule.
    pub copied: u32,
}

/// The schedule of part sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct ScheduleNote {
    /// The first part, bytes.
    pub first: u64,
    /// The largest part, bytes.
    pub largest: u64,
}

/// A tail in a record: bytes of the object that are in no part. Piece 0 is the object `key`, piece i the object
/// `key.i`. An upload that stores pieces while it runs removes those whose bytes have gone into a part, so the first of
/// them may have a higher number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct TailNote {
    /// Its key in the state bucket.
    pub key: String,
    /// The offset of its first byte in the object.
    pub offset: u64,
    /// Bytes in all pieces.
    pub size: u64,
    /// In the order of their bytes; at least one.
    pub pieces: Vec<PieceNote>,
}

/// One object of a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct PieceNote {
    /// Its number, which its key has.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// CRC-32 of its bytes.
    pub crc32: u32,
}

impl TailNote {
    /// A tail of these pieces.
    pub(in crate::object) fn new(key: String, offset: u64, pieces: Vec<PieceNote>) -> TailNote {
        TailNote {
            key,
            offset,
            size: pieces.iter().map(|piece| piece.size).sum(),
            pieces,
        }
    }

    /// The offset in the object at which it ends.
    pub(in crate::object) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The key of one piece.
    pub(in crate::object) fn piece_key(&self, piece: &PieceNote) -> String {
        match piece.number {
            0 => self.key.clone(),
            number => format!("{}.{number}", self.key),
        }
    }

    /// The keys of all pieces.
    pub(in crate::object) fn keys(&self) -> impl Iterator<Item = String> {
        self.pieces.iter().map(|piece| self.piece_key(piece))
    }

    /// The first pieces only.
    pub(in crate::object) fn truncated(&self, pieces: usize) -> Option<TailNote> {
        let pieces: Vec<PieceNote> = self.pieces.iter().take(pieces).cloned().collect();
        let tail = || TailNote::new(self.key.clone(), self.offset, pieces.clone());
        (!pieces.is_empty()).then(tail)
    }
}

/// The object that was there when an upload began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::object) enum BaseObject {
    /// Not known: it was not asked for.
    Unknown,
    /// None.
    Absent,
    /// This version of it.
    Object(VersionNote),
}

/// An [`ObjectIdentity`] in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct VersionNote {
    /// The ETag, with its quotes.
    pub etag: String,
    /// The transfer id in the metadata, if there is one.
    pub transfer: Option<String>,
    /// LastModified, milliseconds since 1970.
    pub modified_ms: i64,
}

impl From<ObjectIdentity> for VersionNote {
    fn from(version: ObjectIdentity) -> VersionNote {
        VersionNote {
            etag: version.etag().to_owned(),
            transfer: version.transfer().map(str::to_owned),
            modified_ms: version.modified().as_millisecond(),
        }
    }
}

impl VersionNote {
    /// Whether a HEAD has reported this version.
    pub(in crate::object) fn is(&self, info: &ObjectInfo) -> bool {
        let modified = Timestamp::from_millisecond(self.modified_ms);
        let transfer = self.transfer.clone();
        modified.is_ok_and(|modified| {
            ObjectIdentity::recorded(self.etag.clone(), transfer, modified) == info.identity()
        })
    }
}

/// The fields of a record that every format has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::object) struct StableFields {
    /// The format of the others.
    pub format: u64,
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The open multipart upload.
    #[serde(default)]
    pub upload: Option<StableUpload>,
    /// The tail.
    #[serde(default)]
    pub tail: Option<StableTail>,
}

/// `upload.id` of a record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::object) struct StableUpload {
    /// S3's UploadId.
    pub id: String,
}

/// `tail.key` of a record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::object) struct StableTail {
    /// The prefix of all objects of the tail, in the state bucket.
    pub key: String,
}

/// The content of a record's object.
#[derive(Debug)]
pub(in crate::object) enum RecordContent {
    /// Overwritten by a writer whose upload has ended: as if there were none.
    Empty,
    /// A record of this version's format.
    Record(Box<Record>),
    /// One of a later format.
    Later(StableFields),
    /// Not a record.
    Garbage(String),
}

/// Reads a record.
pub(in crate::object) fn parse(body: &[u8]) -> RecordContent {
    if body.is_empty() {
        return RecordContent::Empty;
    }
    let names: StableFields = match serde_json::from_slice(body) {
        Ok(names) => names,
        Err(error) => return RecordContent::Garbage(error.to_string()),
    };
    match names.format {
        FORMAT => match serde_json::from_slice(body) {
            Ok(record) => RecordContent::Record(Box::new(record)),
            Err(error) => RecordContent::Garbage(error.to_string()),
        },
        0 => RecordContent::Garbage("format 0".to_owned()),
        _ => RecordContent::Later(names),
    }
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub(in crate::object) struct StoredRecord {
    /// The bucket it lies in.
    pub(in crate::object) bucket: Arc<str>,
    /// Its key there.
    pub(in crate::object) key: String,
    pub(in crate::object) record: Record,
    /// The ETag of the record.
    pub(in crate::object) etag: String,
    /// When it was written, by the store's clock.
    pub(in crate::object) written: Timestamp,
}

/// The hash of some texts: 32 hexadecimal digits.
fn hashed(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            // No bucket's name has it, so no two pairs are the same bytes.
            hash.update([0]);
        }
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The hash of bucket and key: the directory of an object's records and tails.
pub(in crate::object) fn name(bucket: &str, key: &str) -> String {
    hashed(&[bucket, key])
}

/// The hash of a user: the name of their record.
pub(in crate::object) fn user_hash(user: &str) -> String {
    hashed(&[user])
}

/// The prefix of the records of all users of an object.
pub(in crate::object) fn records_of(object: &Location) -> String {
    format!(
        "{STATE_PREFIX}uploads/{}/",
        name(&object.bucket, &object.key)
    )
}

/// Where the record of a user's upload of an object lies.
pub(in crate::object) fn record_at(
    object: &Location,
    state_bucket: &Arc<str>,
    user: &str,
) -> Location {
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!("{}{}", records_of(object), user_hash(user)),
    }
}

/// Where the record of an upload is set aside for a newer one of the same user: it may still run, and no upload is to
/// be open that no record names. `by` is its [`AttemptNote::id`], or another name that no other record has.
pub(in crate::object) fn aside(at: &Location, by: &str) -> Location {
    Location {
        key: format!("{}.{by}", at.key),
        ..at.clone()
    }
}

/// Whether the key of a record is that of one [set aside](aside).
pub(in crate::object) fn is_aside(key: &str) -> bool {
    key.rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
}

/// The prefix of all tails of an object.
pub(in crate::object) fn tails_of(bucket: &str, key: &str) -> String {
    format!("{STATE_PREFIX}tails/{}/", name(bucket, key))
}

/// Where a new tail of a user's upload lies.
pub(in crate::object) fn tail_at(
    object: &Location,
    state_bucket: &Arc<str>,
    user: &str,
) -> Location {
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!(
            "{}{}/{}",
            tails_of(&object.bucket, &object.key),
            user_hash(user),
            TransferId::generate()
        ),
    }
}

/// A [`AttemptNote::id`].
pub(in crate::object) fn new_attempt() -> String {
    TransferId::generate().as_str().to_owned()
}

impl RecordState {
    /// Whether its process is uploading.
    pub(in crate::object) fn runs(self) -> bool {
        matches!(self, RecordState::Running | RecordState::Doubtful)
    }
}

impl Record {
    /// Whether it is of this object.
    pub(in crate::object) fn is_of(&self, object: &Location) -> bool {
        *self.bucket == *object.bucket && self.key == object.key
    }

    /// Whether it is of the same writer.
    pub(in crate::object) fn is_same(&self, other: &Record) -> bool {
        self.attempt.id == other.attempt.id
    }

    /// The same, while what it names is being removed.
    pub(in crate::object) fn removing(&self) -> Record {
        Record {
            state: RecordState::Removing,
            attempt: AttemptNote {
                id: new_attempt(),
                generation: 0,
                ..self.attempt.clone()
            },
            ..self.clone()
        }
    }
}

impl StableFields {
    /// Whether they are of this object.
    pub(in crate::object) fn are_of(&self, object: &Location) -> bool {
        *self.bucket == *object.bucket && self.key == object.key
    }

    /// The tail, if it lies where tails of the object do: nothing else is removed on behalf of a record.
    pub(in crate::object) fn tail_prefix(&self) -> Option<&str> {
        let key = self.tail.as_ref()?.key.as_str();
        let rest = key.strip_prefix(&tails_of(&self.bucket, &self.key))?;
        let (user, tail) = rest.split_once('/')?;
        (!user.is_empty() && !tail.is_empty()).then_some(key)
    }
}

impl StoredRecord {
    /// Where it lies, in the store of its object.
    pub(in crate::object) fn at(&self, object: &Location) -> Location {
        Location {
            store: Arc::clone(&object.store),
            bucket: Arc::clone(&self.bucket),
            key: self.key.clone(),
        }
    }

    /// How long the process that wrote it must be taken to be alive and uploading; `None`: it is not. The process
    /// asking is `replica`; its own uploads are known without a record.
    pub(in crate::object) fn alive_for(
        &self,
        replica: &Replica,
        now: Timestamp,
    ) -> Option<Duration> {
        let attempt = &self.record.attempt;
        let same_name = replica.name.is_some() && attempt.replica == replica.name;
        if !self.record.state.runs() || attempt.process == replica.process || same_name {
            return None;
        }
        // The store reports times in seconds, so it may be a second older than it seems.
        let lives =
            Duration::from_millis(attempt.refresh_ms) * STALE_AFTER / 2 + Duration::from_secs(1);
        let age = Duration::try_from(now.duration_since(self.written)).unwrap_or_default();
        lives.checked_sub(age).filter(|left| !left.is_zero())
    }

    /// Whether the upload runs, in this process or in another. An upload whose record says that it does not has written
    /// all that there is of it.
    pub(in crate::object) fn lives(&self, object: &str, replica: &Replica, now: Timestamp) -> bool {
        let here = || replica.running.has_attempt(object, &self.record.attempt.id);
        self.record.state.runs() && (here() || self.alive_for(replica, now).is_some())
    }
}

#[cfg(test)]
pub(in crate::object) mod tests;
