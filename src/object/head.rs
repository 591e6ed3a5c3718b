//! HeadObject, and a GET of the first bytes in its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::{Location, ObjectError};

/// What a HEAD (or the head of a GET) tells.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// With its quotes, as S3 gives it.
    pub etag: String,
    /// LastModified.
    pub modified: Timestamp,
    /// The rest: what a copy has to keep.
    pub attributes: Attributes,
}

/// What a copy has to keep.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Content-Type.
    pub content_type: Option<String>,
    // content_encoding, content_language, content_disposition, cache_control, expires,
    // website_redirect_location, storage_class, server_side_encryption, kms key id, bucket key …
}

impl ObjectInfo {
    /// The client's modification time: rclone's `mtime` metadata (seconds since 1970, with a fraction), if any.
    pub fn client_modified(&self) -> Option<Timestamp> {
        todo!()
    }
}

/// The answer to a [`peek`].
#[derive(Debug, Clone)]
pub struct Peek {
    /// As from a HEAD.
    pub info: ObjectInfo,
    /// The first bytes: all of them where the object is no larger than asked for.
    pub first: Bytes,
}

/// HeadObject.
pub async fn head(location: &Location) -> Result<ObjectInfo, ObjectError> {
    let _ = location;
    todo!()
}

/// GetObject of the first `bytes` bytes: costs what a HEAD does, and may save the GET after it. An empty object's
/// 416 is an answer.
pub async fn peek(location: &Location, bytes: u64) -> Result<Peek, ObjectError> {
    let _ = (location, bytes);
    todo!()
}
