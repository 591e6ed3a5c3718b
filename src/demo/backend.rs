//! What the embedded store holds, and how it is changed: buckets, objects, open uploads.
//!
//! The index is in memory, one ordered map of keys a bucket; bytes are [`Content`]s. A store with a data directory
//! also writes a record for each object, upload and part before it enters the index ([`super::disk`]), so that a
//! later start finds everything again, open uploads included. A value that leaves the index takes its files along when
//! its last holder drops it. So a change is: write what is new under a new name, swap it into the index under the lock
//! (no I/O there), let go of what was replaced.
//!
//! Times have whole seconds, as S3's have.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use s3s::dto::{ETag, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use tokio::sync::broadcast;

use super::behaviour::Behaviour;
use super::blob::{BlobWriter, Content};
use super::checksum::{Algorithm, Checksum, Kind};
use super::disk::Disk;
use super::record::StoredFile;

/// Completed uploads that are remembered, for a Complete that comes a second time.
const REMEMBERED_COMPLETES: usize = 1000;

/// The content of an embedded store; clones share it.
///
/// Beside being served over HTTP it can be looked into and changed directly, which is how tests see what is really there.
#[derive(Debug, Clone)]
pub struct Backend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    disk: Option<Disk>,
    behaviour: Mutex<Behaviour>,
    /// The next number for a file or an upload; also the order of writes.
    sequence: AtomicU64,
    /// Seconds the store's clock is ahead of the system's.
    clock_ahead: AtomicU64,
    events: broadcast::Sender<Event>,
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    /// By upload id.
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) completed: VecDeque<Completed>,
}

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) created: u64,
    pub(crate) objects: BTreeMap<String, Arc<Object>>,
}

/// What the caller of a write gets to know of the object.
#[derive(Debug, Clone)]
pub(crate) struct Completed {
    pub(crate) upload_id: String,
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) checksum: Option<Checksum>,
}

/// An object in the index.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) data: ObjectData,
    /// Its record goes with it.
    _record: Option<StoredFile>,
}

/// All there is to know of an object.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectData {
    pub(crate) content: Content,
    /// Without its quotes.
    pub(crate) etag: String,
    /// Seconds since the epoch.
    pub(crate) modified: u64,
    /// Its place in the order of writes.
    pub(crate) sequence: u64,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) checksum: Option<Checksum>,
}

/// What a client gave along with an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) server_side_encryption: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An open multipart upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) data: UploadData,
    pub(crate) parts: BTreeMap<i32, Part>,
    _record: Option<StoredFile>,
}

/// What CreateMultipartUpload said.
#[derive(Debug, Clone, Default)]
pub(crate) struct UploadData {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) initiated: u64,
    pub(crate) sequence: u64,
    pub(crate) attributes: Attributes,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) checksum: Option<(Algorithm, Kind)>,
}

/// A part of an open upload.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) data: PartData,
    _record: Option<StoredFile>,
}

/// All there is to know of a part.
#[derive(Debug, Clone)]
pub(crate) struct PartData {
    pub(crate) content: Content,
    pub(crate) md5: [u8; 16],
    pub(crate) crc32: u32,
    pub(crate) checksum: Option<(Algorithm, String)>,
    pub(crate) modified: u64,
}

impl PartData {
    pub(crate) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// The conditions of a write (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    fn check(&self, existing: Option<&Arc<Object>>) -> S3Result<()> {
        if let Some(condition) = &self.if_none_match {
            if !condition.is_any() {
                return Err(s3_error!(
                    NotImplemented,
                    "If-None-Match on a write takes * only"
                ));
            }
            if existing.is_some() {
                return Err(s3_error!(PreconditionFailed));
            }
        }
        if let Some(condition) = &self.if_match {
            let existing = existing.ok_or_else(|| s3_error!(NoSuchKey))?;
            if !matches(condition, &existing.data.etag) {
                return Err(s3_error!(PreconditionFailed));
            }
        }
        Ok(())
    }
}

/// Whether an ETag meets a condition.
pub(crate) fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

/// Something that has happened to the objects of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An object was written by PutObject or CompleteMultipartUpload.
    Landed {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// Its size, bytes.
        size: u64,
    },
    /// An object was written by CopyObject.
    Copied {
        /// Bucket and key copied from.
        from: (String, String),
        /// Bucket and key copied to.
        to: (String, String),
    },
    /// An object was deleted.
    Deleted {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
    },
}

/// An open multipart upload, as [`Backend::open_uploads`] tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its bucket.
    pub bucket: String,
    /// The key it will have.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// Number and size in bytes of each part that is there.
    pub parts: Vec<(i32, u64)>,
}

impl Backend {
    /// An empty store that keeps everything in memory.
    pub fn in_memory() -> Backend {
        Backend::build(State::default(), None, 1)
    }

    /// A store that keeps everything in a directory, with what an earlier one left there.
    ///
    /// # Errors
    /// The directory can't be made, read or locked (another store has it open), or a record in it is damaged.
    pub fn open(directory: &Path) -> io::Result<Backend> {
        let (disk, state, next) = Disk::open(directory)?;
        Ok(Backend::build(state, Some(disk), next))
    }

    fn build(state: State, disk: Option<Disk>, next: u64) -> Backend {
        let (events, _) = broadcast::channel(1024);
        Backend {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                disk,
                behaviour: Mutex::new(Behaviour::default()),
                sequence: AtomicU64::new(next),
                clock_ahead: AtomicU64::new(0),
                events,
            }),
        }
    }

    /// Where it differs from AWS now.
    pub fn behaviour(&self) -> Behaviour {
        self.inner
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes it differ from AWS from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *self
            .inner
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// Sets the store's clock further ahead of the system's.
    pub fn advance_clock(&self, by: Duration) {
        self.inner
            .clock_ahead
            .fetch_add(by.as_secs(), Ordering::Relaxed);
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Makes a bucket; nothing happens if it is there.
    ///
    /// # Errors
    /// Its file can't be written.
    pub fn create_bucket(&self, name: &str) -> io::Result<()> {
        if let Some(disk) = &self.inner.disk {
            disk.create_bucket(name)?;
        }
        let created = self.now();
        self.state()
            .buckets
            .entry(name.to_owned())
            .or_insert_with(|| Bucket {
                created,
                objects: BTreeMap::new(),
            });
        Ok(())
    }

    /// Writes an object as PutObject would, without a request.
    ///
    /// # Errors
    /// The bucket is missing, or a file can't be written.
    pub async fn put(&self, bucket: &str, key: &str, bytes: &[u8]) -> S3Result<()> {
        let mut writer = self.new_blob().await?;
        writer.write(bytes).await.map_err(internal)?;
        let blob = Arc::new(writer.finish().await.map_err(internal)?);
        let data = ObjectData {
            content: Content::from(blob),
            etag: hex(&<md5::Md5 as md5::Digest>::digest(bytes).into()),
            modified: self.now(),
            sequence: self.next_number(),
            ..ObjectData::default()
        };
        let object = self.seal(bucket, key, data).await?;
        self.publish(bucket, key, object, &WriteCondition::default())?;
        self.tell(Event::Landed {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size: bytes.len() as u64,
        });
        Ok(())
    }

    /// An object's bytes.
    pub async fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let content = self.find(bucket, key).ok()?.data.content.clone();
        content.read().await.ok()
    }

    /// The keys of a bucket, in order; none if it is missing.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let state = self.state();
        let bucket = state.buckets.get(bucket);
        bucket.map_or_else(Vec::new, |bucket| bucket.objects.keys().cloned().collect())
    }

    /// An object's user metadata.
    pub fn metadata(&self, bucket: &str, key: &str) -> Option<BTreeMap<String, String>> {
        let object = self.find(bucket, key).ok()?;
        Some(object.data.attributes.metadata.clone())
    }

    /// An object's ETag, without its quotes.
    pub fn etag(&self, bucket: &str, key: &str) -> Option<String> {
        Some(self.find(bucket, key).ok()?.data.etag.clone())
    }

    /// Deletes an object without a request; whether it was there.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.take(bucket, key, None).is_ok_and(|was| was.is_some())
    }

    /// The multipart uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> Vec<OpenUpload> {
        let state = self.state();
        let uploads = state.uploads.iter().map(|(id, upload)| OpenUpload {
            bucket: upload.data.bucket.clone(),
            key: upload.data.key.clone(),
            upload_id: id.clone(),
            parts: upload
                .parts
                .iter()
                .map(|(number, part)| (*number, part.data.content.length()))
                .collect(),
        });
        uploads.collect()
    }

    /// The index; never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since the epoch by the store's clock.
    pub(crate) fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs()) + self.inner.clock_ahead.load(Ordering::Relaxed)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.inner.sequence.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) async fn new_blob(&self) -> S3Result<BlobWriter> {
        match &self.inner.disk {
            None => Ok(BlobWriter::Memory(BytesMut::new())),
            Some(disk) => BlobWriter::create(disk.blob_file(self.next_number()))
                .await
                .map_err(internal),
        }
    }

    pub(crate) fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        match self.state().buckets.contains_key(bucket) {
            true => Ok(()),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    pub(crate) fn find(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        let state = self.state();
        let bucket = state
            .buckets
            .get(bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        let object = bucket.objects.get(key);
        object.cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// Writes an object's record, if the store keeps any. The object is not in the index yet.
    pub(crate) async fn seal(&self, bucket: &str, key: &str, data: ObjectData) -> S3Result<Object> {
        let record = match &self.inner.disk {
            None => None,
            Some(disk) => Some(disk.write_object(bucket, key, &data).await?),
        };
        Ok(Object::new(data, record))
    }

    /// Writes an upload's record.
    pub(crate) async fn seal_upload(&self, id: &str, data: UploadData) -> S3Result<Upload> {
        let record = match &self.inner.disk {
            None => None,
            Some(disk) => Some(disk.write_upload(id, &data).await?),
        };
        Ok(Upload::new(data, record))
    }

    /// Writes a part's record.
    pub(crate) async fn seal_part(&self, id: &str, number: i32, data: PartData) -> S3Result<Part> {
        let record = match &self.inner.disk {
            None => None,
            Some(disk) => {
                let file = self.next_number();
                Some(disk.write_part(file, id, number, &data).await?)
            }
        };
        Ok(Part::new(data, record))
    }

    /// Puts an object into the index if the condition holds.
    pub(crate) fn publish(
        &self,
        bucket: &str,
        key: &str,
        object: Object,
        condition: &WriteCondition,
    ) -> S3Result<()> {
        let behaviour = self.behaviour();
        // Replaced values leave the block and go after the lock: their files are removed with them.
        let _replaced = {
            let mut state = self.state();
            let replaced = state.insert(&behaviour, bucket, key, object, condition)?;
            let dropped = match behaviour.put_drops_uploads {
                true => state.take_uploads_of(bucket, key),
                false => Vec::new(),
            };
            (replaced, dropped)
        };
        Ok(())
    }

    /// Puts an object into the index in place of the upload it is made from, and remembers that for a second Complete.
    pub(crate) fn publish_upload(
        &self,
        object: Object,
        completed: Completed,
        condition: &WriteCondition,
    ) -> S3Result<()> {
        let behaviour = self.behaviour();
        let size = object.data.content.length();
        let (bucket, key) = (completed.bucket.clone(), completed.key.clone());
        let _replaced = {
            let mut state = self.state();
            // Whoever completed or aborted it meanwhile was first.
            let upload = state.uploads.get(&completed.upload_id);
            let begun = upload.ok_or_else(|| s3_error!(NoSuchUpload))?.data.sequence;
            let later_write = state.object(&bucket, &key).map(|o| o.data.sequence);
            let hidden = behaviour.hides_older_uploads && later_write > Some(begun);
            let replaced = match hidden {
                true => Some(Arc::new(object)),
                false => state.insert(&behaviour, &bucket, &key, object, condition)?,
            };
            let upload = state.uploads.remove(&completed.upload_id);
            state.completed.push_back(completed);
            if state.completed.len() > REMEMBERED_COMPLETES {
                state.completed.pop_front();
            }
            (replaced, upload)
        };
        self.tell(Event::Landed { bucket, key, size });
        Ok(())
    }

    /// Takes an object out of the index if the condition holds; `None` if it was not there.
    pub(crate) fn take(
        &self,
        bucket: &str,
        key: &str,
        condition: Option<&ETagCondition>,
    ) -> S3Result<Option<Arc<Object>>> {
        let taken = {
            let mut state = self.state();
            let bucket = state
                .buckets
                .get_mut(bucket)
                .ok_or_else(|| s3_error!(NoSuchBucket))?;
            match (bucket.objects.get(key), condition) {
                (Some(object), Some(condition)) if !matches(condition, &object.data.etag) => {
                    return Err(s3_error!(PreconditionFailed));
                }
                (None, Some(_)) => return Err(s3_error!(NoSuchKey)),
                _ => bucket.objects.remove(key),
            }
        };
        if taken.is_some() {
            self.tell(Event::Deleted {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            });
        }
        Ok(taken)
    }

    /// Tells those who listen; nobody need.
    pub(crate) fn tell(&self, event: Event) {
        let _nobody_listens = self.inner.events.send(event);
    }
}

impl State {
    fn object(&self, bucket: &str, key: &str) -> Option<&Arc<Object>> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    fn insert(
        &mut self,
        behaviour: &Behaviour,
        bucket: &str,
        key: &str,
        object: Object,
        condition: &WriteCondition,
    ) -> S3Result<Option<Arc<Object>>> {
        let bucket = self
            .buckets
            .get_mut(bucket)
            .ok_or_else(|| s3_error!(NoSuchBucket))?;
        if behaviour.conditional_writes {
            condition.check(bucket.objects.get(key))?;
        }
        Ok(bucket.objects.insert(key.to_owned(), Arc::new(object)))
    }

    fn take_uploads_of(&mut self, bucket: &str, key: &str) -> Vec<Upload> {
        let of_key = self
            .uploads
            .iter()
            .filter(|(_, upload)| upload.data.bucket == bucket && upload.data.key == key);
        let ids: Vec<String> = of_key.map(|(id, _)| id.clone()).collect();
        ids.iter()
            .filter_map(|id| self.uploads.remove(id))
            .collect()
    }
}

impl Object {
    pub(crate) fn new(data: ObjectData, record: Option<StoredFile>) -> Object {
        Object {
            data,
            _record: record,
        }
    }
}

impl Upload {
    pub(crate) fn new(data: UploadData, record: Option<StoredFile>) -> Upload {
        Upload {
            data,
            parts: BTreeMap::new(),
            _record: record,
        }
    }
}

impl Part {
    pub(crate) fn new(data: PartData, record: Option<StoredFile>) -> Part {
        Part {
            data,
            _record: record,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}

/// Our own failure, as S3 tells it: 500 InternalError.
pub(crate) fn internal(error: io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError)
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8; 16]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// An ETag as an answer carries it.
pub(crate) fn quoted(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

/// Seconds since the epoch as an answer carries them.
pub(crate) fn timestamp(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds)))
}
