//! The record of an upload: its format.
//!
//! A record is JSON. Six fields never change their name or meaning: `format`, `bucket`, `key`,
//! `upload.id`, `upload.key` and `tail.key` ([`StableFields`]). By them a process removes what a record of a
//! later format names, which it cannot read.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::object::head::{Attributes, ObjectInfo};
use crate::object::identity::ObjectIdentity;
use crate::object::location::Location;
use crate::object::parts::tail::TailNote;
use crate::object::resume::keys::tails_of;
use crate::object::resume::order::Began;
use crate::object::transfer_id::TransferId;

/// The format of the records that this version writes, and the only one that it reads.
pub(in crate::object) const FORMAT: u32 = 1;

/// What is written alongside an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct Record {
    /// [`FORMAT`].
    pub format: u32,
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
    /// It runs; if it breaks off, nothing of it is kept, since another upload of the user and name
    /// may be the newer one.
    Doubtful,
    /// It broke off and can be resumed.
    Interrupted,
    /// Its parts and its tail are being removed, and the record last.
    Removing,
}

/// The last writer of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct AttemptNote {
    /// Another one each time an upload begins or is resumed. No two writers write the same record,
    /// so a writer that finds its own after an answer was lost knows that it is its own.
    pub id: String,
    /// How often it has written the record: each write has other bytes, and so another ETag.
    #[serde(rename = "writes")]
    pub generation: u64,
    /// [`Replica::name`](crate::object::Replica::name).
    pub replica: Option<String>,
    /// [`Replica::process`](crate::object::Replica::process).
    pub process: String,
    /// The interval at which it refreshes the record of a running upload, milliseconds.
    pub refresh_ms: u64,
}

/// A multipart upload in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct UploadNote {
    /// S3's UploadId.
    pub id: String,
    /// The staged key in the state bucket that it is an upload of; `None`: of the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether its parts have CRC-32 checksums.
    pub crc32: bool,
    /// The number of its first parts that hold old bytes of the object; the sizes of the others
    /// follow the schedule.
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

/// The object that was there when an upload began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::object) enum BaseObject {
    /// Not known: the server has not looked.
    Unknown,
    /// There was no object.
    Absent,
    /// The object was this version.
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
    pub format: u32,
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
    /// The staged key that it is an upload of.
    #[serde(default)]
    pub key: Option<String>,
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

/// A [`AttemptNote::id`].
pub(in crate::object) fn new_attempt() -> String {
    TransferId::generate().as_str().to_owned()
}

impl RecordState {
    /// Whether its process is uploading.
    pub(in crate::object) fn is_running(self) -> bool {
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

    /// The record to write before what it names is removed.
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

impl UploadNote {
    /// The key that it is an upload of, in the bucket of the record at `at`.
    pub(in crate::object) fn at(&self, object: &Location, at: &Location) -> Location {
        upload_at(self.key.as_deref(), object, at)
    }
}

impl StableUpload {
    /// See [`UploadNote::at`].
    pub(in crate::object) fn at(&self, object: &Location, at: &Location) -> Location {
        upload_at(self.key.as_deref(), object, at)
    }
}

/// A staged key counts only if it lies where tails of the object do: nothing else is touched on
/// behalf of a record.
fn upload_at(staged: Option<&str>, object: &Location, record: &Location) -> Location {
    let tails = tails_of(&object.bucket, &object.key);
    match staged.filter(|key| key.starts_with(&tails)) {
        Some(key) => Location {
            key: key.to_owned(),
            ..record.clone()
        },
        None => object.clone(),
    }
}

impl StableFields {
    /// Whether they are of this object.
    pub(in crate::object) fn are_of(&self, object: &Location) -> bool {
        *self.bucket == *object.bucket && self.key == object.key
    }

    /// The tail, if it lies where tails of the object do: nothing else is removed on behalf of a
    /// record.
    pub(in crate::object) fn tail_prefix(&self) -> Option<&str> {
        let key = self.tail.as_ref()?.key.as_str();
        let rest = key.strip_prefix(&tails_of(&self.bucket, &self.key))?;
        let (user, tail) = rest.split_once('/')?;
        (!user.is_empty() && !tail.is_empty()).then_some(key)
    }
}

#[cfg(test)]
pub(in crate::object) mod tests;
