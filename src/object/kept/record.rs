//! The record of an upload: what it holds, where it lies, and the requests that read, write and remove it.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::error::failure;
use super::super::head::timestamp;
use super::super::settle::{Conditions, Pin};
use super::super::upload::TransferId;
use super::super::{Attributes, Location, ObjectError, delete, head};
use super::running::Running;

/// Where the server keeps its own state, in the bucket of the objects or in one of its own.
pub(in crate::object) const STATE_PREFIX: &str = ".s3ftpd/";

/// A record that was not refreshed for so many of its refresh times is of a process that is gone.
const STALE_AFTER: u32 = 5;

/// How often the body of a record is asked for: a GET that broke off is none that the SDK tries again.
const BODIES: u32 = 3;

/// A record is small; whatever is larger is none of ours.
const LARGEST_RECORD: u64 = 256 * 1024;

/// Keep what has arrived when an upload breaks off, and for whom.
#[derive(Debug, Clone)]
pub struct Keep {
    /// The user it belongs to.
    pub user: Arc<str>,
    /// The bucket of records and tails, in the same store.
    pub state_bucket: Arc<str>,
}

/// This process among all that serve the same buckets.
#[derive(Debug)]
pub struct Replica {
    /// A name that no other living process has, if one was given: what a dead process of that name has left running is
    /// then known to be dead at once.
    pub name: Option<String>,
    /// This process; another one each time.
    pub process: String,
    /// Records of running uploads are refreshed so often.
    pub refresh: Duration,
    /// The uploads of this process.
    pub running: Running,
}

impl Replica {
    /// A process that begins.
    pub fn new(name: Option<String>, refresh: Duration) -> Arc<Replica> {
        Arc::new(Replica {
            name,
            process: TransferId::generate().as_str().to_owned(),
            refresh,
            running: Running::default(),
        })
    }
}

impl Default for Replica {
    fn default() -> Self {
        Replica {
            name: None,
            process: TransferId::generate().as_str().to_owned(),
            refresh: Duration::from_secs(60),
            running: Running::default(),
        }
    }
}

/// What is written beside an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct Record {
    /// The object's bucket: of two of one hash the wrong one must not be taken.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// Whose it is.
    pub user: String,
    /// The transfer id, which the object will have in its metadata.
    pub transfer: String,
    /// [`Replica::name`] of the last process that wrote it.
    pub replica: Option<String>,
    /// [`Replica::process`] of the last process that wrote it.
    pub process: String,
    /// Which upload of that process: another one each time it is begun or gone on with. No two writers ever write the
    /// same record, so whoever finds his own in place of an answer that was lost knows that it is his.
    pub writer: String,
    /// How often that writer has written it: no two records of his are the same bytes either, and an ETag tells whether
    /// it has been refreshed.
    pub writes: u64,
    /// Whether that process was uploading when it wrote it.
    pub running: bool,
    /// How often it is refreshed while it runs, milliseconds.
    pub refresh_ms: u64,
    /// When the upload began, by the store's clock: milliseconds since 1970.
    pub started_ms: i64,
    /// The open multipart upload, once there is one.
    pub upload: Option<UploadNote>,
    /// The schedule of the sizes of its parts: the first and the largest, bytes.
    pub sizes: (u64, u64),
    /// What comes behind the parts.
    pub tail: Option<TailNote>,
    /// The object that was there.
    pub base: Base,
    /// Whether the data connection had ended by itself: all bytes may be there.
    pub ended: bool,
    /// How many of its first bytes are those of the object it is appended to.
    pub old_bytes: u64,
    /// What the object is to have.
    pub attributes: Attributes,
    /// Uploads of the same key that ran when this one took the record over.
    pub others: Vec<UploadNote>,
    /// Uploads that were given up for this one, until they are aborted.
    pub given_up: Vec<UploadNote>,
}

/// A multipart upload in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct UploadNote {
    /// S3's UploadId.
    pub id: String,
    /// The transfer that began it.
    pub transfer: String,
    /// Whether its parts have CRC-32 checksums.
    pub crc32: bool,
    /// Its first parts that hold old bytes of the object: sizes of the others follow the schedule.
    pub copied: u32,
}

/// A tail in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct TailNote {
    /// Its key in the state bucket.
    pub key: String,
    /// Its ETag.
    pub etag: String,
    /// Which byte of the object is its first.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its bytes.
    pub crc32: u32,
}

/// The object that was there when an upload began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) enum Base {
    /// Not known: nobody asked.
    Unknown,
    /// None.
    Absent,
    /// One with this ETag.
    Etag(String),
}

/// A record as it was read.
#[derive(Debug, Clone)]
pub(in crate::object) struct Read {
    pub(in crate::object) record: Record,
    /// The ETag of the record.
    pub(in crate::object) etag: String,
    /// When it was written, by the store's clock.
    pub(in crate::object) written: Timestamp,
}

/// Why a record was not written.
#[derive(Debug)]
pub(super) enum SaveError {
    /// There is another one: this, or none any more.
    Displaced(Option<Box<Read>>),
    /// There is something with this ETag that is no record.
    InTheWay(String),
    /// The store.
    Object(ObjectError),
}

/// The hash of bucket and key: the name of the record, 32 hexadecimal digits.
pub(in crate::object) fn name(bucket: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(bucket);
    // No bucket's name has it, so no two pairs are the same bytes.
    hash.update([0]);
    hash.update(key);
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where the record of an object lies.
pub(in crate::object) fn record_at(object: &Location, state_bucket: &Arc<str>) -> Location {
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!(
            "{STATE_PREFIX}uploads/{}",
            name(&object.bucket, &object.key)
        ),
    }
}

/// Where a new tail of an object lies.
pub(super) fn tail_at(object: &Location, state_bucket: &Arc<str>) -> Location {
    let name = name(&object.bucket, &object.key);
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!("{STATE_PREFIX}tails/{name}/{}", TransferId::generate()),
    }
}

impl Record {
    /// Whether it is of this object.
    pub(super) fn is_of(&self, object: &Location) -> bool {
        *self.bucket == *object.bucket && self.key == object.key
    }

    /// Whether it is of the same writer.
    pub(super) fn is_same(&self, other: &Record) -> bool {
        self.writer == other.writer
    }

    /// Whether it is nobody's: it only names what is still to be removed, or may still run without a record of its own.
    pub(in crate::object) fn is_nobodys(&self) -> bool {
        self.user.is_empty()
    }

    /// One that belongs to nobody and names the same uploads and tail.
    pub(super) fn nobodys(&self) -> Record {
        Record {
            user: String::new(),
            replica: None,
            process: String::new(),
            writer: new_writer(),
            writes: 0,
            running: true,
            ..self.clone()
        }
    }
}

/// A [`Record::writer`].
pub(super) fn new_writer() -> String {
    TransferId::generate().as_str().to_owned()
}

impl Read {
    /// How long the process that wrote it must be taken to be alive and uploading; `None`: it is not. The process
    /// asking is `replica`; its own uploads are known without a record.
    pub(in crate::object) fn alive_for(
        &self,
        replica: &Replica,
        now: Timestamp,
    ) -> Option<Duration> {
        let record = &self.record;
        let same_name = replica.name.is_some() && record.replica == replica.name;
        if !record.running || record.process == replica.process || same_name {
            return None;
        }
        // The store tells times in seconds, so it may be a second older than it seems.
        let lives =
            Duration::from_millis(record.refresh_ms) * STALE_AFTER / 2 + Duration::from_secs(1);
        let age = Duration::try_from(now.duration_since(self.written)).unwrap_or_default();
        lives.checked_sub(age).filter(|left| !left.is_zero())
    }
}

/// What lies where a record belongs.
enum There {
    Nothing,
    Record(Box<Read>),
    /// Something else, with this ETag.
    Other(String),
}

/// GetObject of a record; `None` where there is none that can be read.
pub(in crate::object) async fn read(at: &Location) -> Result<Option<Read>, ObjectError> {
    Ok(match there(at).await? {
        There::Record(read) => Some(*read),
        There::Nothing | There::Other(_) => None,
    })
}

async fn there(at: &Location) -> Result<There, ObjectError> {
    let mut attempt = 1;
    loop {
        match get(at).await {
            Err(ObjectError::Unavailable(error)) if attempt < BODIES => {
                tracing::debug!(
                    key = at.key,
                    error,
                    "a record could not be read; it is asked for again"
                );
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn get(at: &Location) -> Result<There, ObjectError> {
    let request = at
        .store
        .client()
        .get_object()
        .bucket(&*at.bucket)
        .key(&at.key)
        .range(format!("bytes=0-{}", LARGEST_RECORD - 1));
    let output = match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => output,
        Err(failure) => {
            return match failure.error {
                // Without the right to list a bucket S3 calls each key that is not there forbidden.
                ObjectError::NotFound | ObjectError::Denied(_) => Ok(There::Nothing),
                // An empty object.
                ObjectError::OutOfRange { .. } => match head(at).await {
                    Ok(info) => Ok(There::Other(info.etag)),
                    Err(ObjectError::NotFound) => Ok(There::Nothing),
                    Err(error) => Err(error),
                },
                error => Err(error),
            };
        }
    };
    let etag = output.e_tag().unwrap_or_default().to_owned();
    let written = timestamp(output.last_modified()).unwrap_or(Timestamp::UNIX_EPOCH);
    let deadline = at.store.config().request_timeout;
    let body = tokio::time::timeout(deadline, output.body.collect())
        .await
        .map_err(|_| ObjectError::Timeout)?
        .map_err(|error| ObjectError::Unavailable(error.to_string()))?;
    match serde_json::from_slice(&body.into_bytes()) {
        Ok(record) => Ok(There::Record(Box::new(Read {
            record,
            etag,
            written,
        }))),
        Err(error) => {
            tracing::warn!(key = at.key, %error, "what is there is no record of an upload; it is passed over");
            Ok(There::Other(etag))
        }
    }
}

/// PutObject of a record in place of the one with this ETag, or of none. Gives its ETag.
pub(super) async fn save(
    at: &Location,
    record: &Record,
    replaces: Option<&str>,
) -> Result<String, SaveError> {
    let body = serde_json::to_vec(record)
        .map_err(|error| SaveError::Object(ObjectError::Other(error.to_string())))?;
    let pin = match replaces {
        Some(etag) => Pin::Etag(etag.to_owned()),
        None => Pin::Absent,
    };
    // Where the store looks at no conditions this looks for us.
    let conditions = match pin.conditions(at).await {
        Ok(conditions) => conditions,
        Err(ObjectError::Conflict) => return displaced(at, record).await,
        Err(error) => return Err(SaveError::Object(error)),
    };
    match put(at, body, conditions).await {
        Ok(etag) => Ok(etag),
        Err(failure)
            if failure.condition_failed()
                || failure.concurrent_write()
                || matches!(failure.error, ObjectError::NotFound) =>
        {
            displaced(at, record).await
        }
        Err(failure) => Err(SaveError::Object(failure.error)),
    }
}

/// What is there in place of the record that was to be replaced. It may be what we have just written ourselves, the
/// answer to which was lost.
async fn displaced(at: &Location, record: &Record) -> Result<String, SaveError> {
    match there(at).await {
        Ok(There::Record(found)) if found.record == *record => Ok(found.etag),
        Ok(There::Record(found)) => Err(SaveError::Displaced(Some(found))),
        Ok(There::Other(etag)) => Err(SaveError::InTheWay(etag)),
        Ok(There::Nothing) => Err(SaveError::Displaced(None)),
        Err(error) => Err(SaveError::Object(error)),
    }
}

async fn put(
    at: &Location,
    body: Vec<u8>,
    conditions: Conditions,
) -> Result<String, super::super::error::Failure> {
    let request = at
        .store
        .client()
        .put_object()
        .bucket(&*at.bucket)
        .key(&at.key)
        .content_type("application/json")
        .set_if_none_match(conditions.if_none_match)
        .set_if_match(conditions.if_match)
        .body(ByteStream::from(body));
    let output = Box::pin(request.send()).await.map_err(failure)?;
    Ok(output.e_tag().unwrap_or_default().to_owned())
}

/// DeleteObject of a record that still has this ETag, as far as the store looks at that.
pub(super) async fn remove(at: &Location, etag: &str) -> Result<(), ObjectError> {
    match delete(at, Some(etag)).await {
        // Somebody else's is there.
        Err(ObjectError::Conflict) => Ok(()),
        Err(ObjectError::Unsupported(_)) => delete(at, None).await,
        result => result,
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    pub fn read_record(running: bool, process: &str, name: Option<&str>) -> Read {
        Read {
            record: Record {
                bucket: "b".to_owned(),
                key: "k".to_owned(),
                user: "u".to_owned(),
                transfer: "t".to_owned(),
                replica: name.map(str::to_owned),
                process: process.to_owned(),
                writer: "w".to_owned(),
                writes: 1,
                running,
                refresh_ms: 60_000,
                started_ms: 0,
                upload: None,
                sizes: (1, 2),
                tail: None,
                base: Base::Unknown,
                ended: false,
                old_bytes: 0,
                attributes: Attributes::default(),
                others: Vec::new(),
                given_up: Vec::new(),
            },
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
        let other = read_record(true, "other", None);
        assert_eq!(
            seconds(other.alive_for(&replica(None), at(1000))),
            Some(151)
        );
        assert_eq!(seconds(other.alive_for(&replica(None), at(1150))), Some(1));
        assert_eq!(other.alive_for(&replica(None), at(1151)), None);
        // Clocks that go back do no harm.
        assert_eq!(seconds(other.alive_for(&replica(None), at(900))), Some(151));
        let ended = read_record(false, "other", None);
        assert_eq!(ended.alive_for(&replica(None), at(1000)), None);
        let ours = read_record(true, "me", None);
        assert_eq!(ours.alive_for(&replica(None), at(1000)), None);
        let before = read_record(true, "other", Some("pod-0"));
        assert_eq!(before.alive_for(&replica(Some("pod-0")), at(1000)), None);
        assert!(
            before
                .alive_for(&replica(Some("pod-1")), at(1000))
                .is_some()
        );
    }

    #[test]
    fn names_differ_by_bucket_and_key() {
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_eq!(name("a", "b").len(), 32);
    }

    #[test]
    fn records_can_be_read_again() {
        let record = Record {
            base: Base::Etag("\"x\"".to_owned()),
            upload: Some(UploadNote {
                id: "u".to_owned(),
                transfer: "t".to_owned(),
                crc32: true,
                copied: 2,
            }),
            ..read_record(true, "p", Some("n")).record
        };
        let text = serde_json::to_vec(&record).unwrap();
        assert_eq!(serde_json::from_slice::<Record>(&text).unwrap(), record);
    }
}
