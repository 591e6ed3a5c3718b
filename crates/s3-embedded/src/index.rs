//! The values of the index: buckets, objects, open uploads and their parts, and the conditions of a
//! write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use s3s::dto::ETagCondition;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::behaviour::Behaviour;
use super::blob::Content;
use super::checksum::{Algorithm, Checksum, Kind};
use super::record::StoredFile;

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

/// What a write returns of the object.
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
    /// Its record, removed with it.
    _record: Option<StoredFile>,
}

/// The description of an object.
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

/// The attributes that a client gave to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) server_side_encryption: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) bucket_key: Option<bool>,
    /// The MD5 of the customer's key, in base64.
    pub(crate) customer_key_md5: Option<String>,
    pub(crate) acl: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An open multipart upload.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) data: UploadData,
    pub(crate) parts: BTreeMap<i32, Part>,
    _record: Option<StoredFile>,
}

/// The settings of CreateMultipartUpload.
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

/// The description of a part.
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

/// Whether an element of the key before the last one is an object.
pub(crate) fn is_below_file<V>(objects: &BTreeMap<String, V>, key: &str) -> bool {
    let elements = key.match_indices('/');
    elements
        .map(|(end, _)| &key[..end])
        .any(|parent| objects.contains_key(parent))
}

impl State {
    /// An object, if it and its bucket exist.
    pub(crate) fn object(&self, bucket: &str, key: &str) -> Option<&Arc<Object>> {
        self.buckets.get(bucket)?.objects.get(key)
    }

    /// Inserts an object if the condition holds. The caller drops the replaced one outside the
    /// lock.
    pub(crate) fn insert(
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
        if behaviour.files_hide_directories && is_below_file(&bucket.objects, key) {
            let code = S3ErrorCode::Custom("XMinioParentIsObject".into());
            let mut refusal = S3Error::new(code);
            refusal.set_status_code(http::StatusCode::BAD_REQUEST);
            return Err(refusal);
        }
        Ok(bucket.objects.insert(key.to_owned(), Arc::new(object)))
    }

    /// Removes the open uploads of a key.
    pub(crate) fn take_uploads_of(&mut self, bucket: &str, key: &str) -> Vec<Upload> {
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

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8; 16]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
