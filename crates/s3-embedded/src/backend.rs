//! The content of the embedded store and its changes: buckets, objects, open uploads.
//!
//! The index is in memory: one ordered map of keys for each bucket. Bytes are [`Content`]s. A store
//! with a data directory also writes a record for each object, upload and part before it enters the
//! index ([`super::disk`]), so that a later start finds everything, also open uploads. The files of
//! a value that leaves the index are removed when its last holder drops it. So a change has three
//! steps: write the new value under a new name, swap it into the index under the lock (without
//! I/O), drop the old one.
//!
//! Times have whole seconds, as in S3.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use s3s::dto::ETagCondition;
use s3s::{S3Result, s3_error};
use tokio::sync::broadcast;

use super::behaviour::Behaviour;
use super::blob::{BlobWriter, Content};
use super::disk::Disk;
use super::index::{
    Bucket, Completed, Object, ObjectData, Part, PartData, State, Upload, UploadData,
    WriteCondition, hex, matches,
};
use super::s3_types::internal;

/// Number of completed uploads that are stored, for a repeated Complete.
const REMEMBERED_COMPLETES: usize = 1000;

/// The content of an embedded store; clones share it.
///
/// Tests also read and change it directly, without HTTP.
#[derive(Debug, Clone)]
pub struct Backend {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    disk: Option<Disk>,
    behaviour: Mutex<Behaviour>,
    /// The next number of a file or an upload; it is also the order of writes.
    sequence: AtomicU64,
    /// Seconds by which the store's clock is ahead of the system's.
    clock_ahead: AtomicU64,
    events: broadcast::Sender<Event>,
}

/// A change of the objects of a store.
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

/// What an object is like, as [`Backend::describe`] reports it: what the write said, and nothing if
/// it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Content-Type.
    pub content_type: Option<String>,
    /// The storage class.
    pub storage_class: Option<String>,
    /// `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub encryption: Option<String>,
    /// The key of SSE-KMS.
    pub kms_key_id: Option<String>,
    /// Whether SSE-KMS uses a key of the bucket.
    pub bucket_key: Option<bool>,
    /// The MD5 of the key of SSE-C, in base64.
    pub customer_key_md5: Option<String>,
    /// The canned ACL.
    pub acl: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
}

/// An open multipart upload, as [`Backend::open_uploads`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// Number and size in bytes of each uploaded part.
    pub parts: Vec<(i32, u64)>,
}

impl Backend {
    /// An empty store that keeps everything in memory.
    pub fn in_memory() -> Backend {
        Backend::build(State::default(), None, 1)
    }

    /// A store with a data directory, and with the content that an earlier store left in it.
    ///
    /// # Errors
    /// The directory can't be made, read or locked (another store has it open).
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

    /// The current differences from AWS.
    pub fn behaviour(&self) -> Behaviour {
        self.inner
            .behaviour
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sets the differences from AWS.
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

    /// How far the store's clock is ahead of the system's.
    pub(crate) fn clock_ahead(&self) -> Duration {
        Duration::from_secs(self.inner.clock_ahead.load(Ordering::Relaxed))
    }

    /// All changes from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Makes a bucket, unless it exists.
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
        self.notify(Event::Landed {
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

    /// What an object is like.
    pub fn describe(&self, bucket: &str, key: &str) -> Option<Description> {
        let object = self.find(bucket, key).ok()?;
        let attributes = object.data.attributes.clone();
        Some(Description {
            content_type: attributes.content_type,
            storage_class: attributes.storage_class,
            encryption: attributes.server_side_encryption,
            kms_key_id: attributes.kms_key_id,
            bucket_key: attributes.bucket_key,
            customer_key_md5: attributes.customer_key_md5,
            acl: attributes.acl,
            tags: object.data.tags.iter().cloned().collect(),
            metadata: attributes.metadata,
        })
    }

    /// An object's ETag, without its quotes.
    pub fn etag(&self, bucket: &str, key: &str) -> Option<String> {
        Some(self.find(bucket, key).ok()?.data.etag.clone())
    }

    /// Deletes an object without a request. Returns whether it existed.
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
        #[expect(
            clippy::disallowed_methods,
            reason = "it is the clock of the embedded store"
        )]
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs()) + self.clock_ahead().as_secs()
    }

    /// The Date header of an answer, if the clock is not the system's, which hyper sends.
    pub(crate) fn date(&self) -> Option<http::HeaderValue> {
        if self.clock_ahead().is_zero() {
            return None;
        }
        let now = jiff::Timestamp::from_second(i64::try_from(self.now()).ok()?).ok()?;
        let text = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        http::HeaderValue::try_from(text).ok()
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

    /// Replaces an alias of a bucket by its name.
    pub(crate) fn resolve(&self, bucket: &mut String) {
        if let Some(own) = self.behaviour().aliases.get(bucket) {
            bucket.clone_from(own);
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

    /// Writes an object's record, if the store has a directory. The object is not in the index yet.
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
        // Replaced values leave the block, so that their files are removed after the lock.
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

    /// Replaces an upload in the index by the object that it becomes. Stores that for a repeated
    /// Complete.
    pub(crate) fn publish_upload(
        &self,
        object: Object,
        completed: Completed,
        condition: &WriteCondition,
    ) -> S3Result<()> {
        let mut behaviour = self.behaviour();
        behaviour.conditional_writes &= behaviour.conditional_complete;
        let size = object.data.content.length();
        let (bucket, key) = (completed.bucket.clone(), completed.key.clone());
        let _replaced = {
            let mut state = self.state();
            // Another request has completed or aborted it meanwhile.
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
        self.notify(Event::Landed { bucket, key, size });
        Ok(())
    }

    /// Removes an object from the index if the condition holds; `None` if it did not exist.
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
            self.notify(Event::Deleted {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            });
        }
        Ok(taken)
    }

    /// Sends the change to the listeners, if there are any.
    pub(crate) fn notify(&self, event: Event) {
        let _nobody_listens = self.inner.events.send(event);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }
}
