//! Upload: chunks → parts → PutObject or a multipart upload. Only `publish` makes anything visible.

use bytes::{Bytes, BytesMut};

use super::{Location, ObjectError, ObjectInfo};
use crate::memory::Admission;

/// Name of one transfer: in replies, logs, and in the metadata of each object written (`s3ftpd-transfer`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransferId(String);

impl TransferId {
    /// A new one: 20 characters of lower-case base 32, beginning with the time, unique.
    pub fn generate() -> Self {
        todo!()
    }
}

impl std::fmt::Display for TransferId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What must hold when the object is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// No object of the name is there.
    IfAbsent,
}

/// The object whose first bytes the upload begins with.
#[derive(Debug, Clone)]
pub struct AppendTo {
    /// As it was when the upload began; publishing is pinned to its ETag.
    pub info: ObjectInfo,
    /// How many of its first bytes are kept.
    pub keep: u64,
}

/// How to upload.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// The transfer's name.
    pub id: TransferId,
    /// What must hold at the end.
    pub condition: Condition,
    /// Begin with the old bytes of the object.
    pub append: Option<AppendTo>,
    /// User metadata beside the transfer id.
    pub metadata: Vec<(String, String)>,
}

/// A published object.
#[derive(Debug, Clone)]
pub struct Published {
    /// Bytes, old ones included.
    pub size: u64,
    /// ETag with its quotes.
    pub etag: Option<String>,
    /// 0: one PutObject.
    pub parts: u32,
}

/// An upload under way. Dropping it abandons it: nothing becomes visible, a multipart upload is aborted by a task
/// of [`super::StoreContext::cleanups`].
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Begins; makes no request unless it appends.
    pub async fn begin(location: Location, admission: Admission, options: UploadOptions) -> Result<Upload, ObjectError> {
        let _ = (location, admission, options);
        todo!()
    }
    /// Room for the next bytes: a buffer with spare capacity to read into (`read_buf`), never beyond it. Full
    /// chunks and parts are sent off by the next call. Waits for memory and for a free place in flight; fails as
    /// soon as a part has failed.
    pub async fn space(&mut self) -> Result<&mut BytesMut, ObjectError> {
        todo!()
    }
    /// Copies `data` in: for sources that are no sockets.
    pub async fn write(&mut self, data: Bytes) -> Result<(), ObjectError> {
        let _ = data;
        todo!()
    }
    /// Resolves when a part in flight has failed for good: to be polled while the client is waited for. Cancel safe.
    pub async fn failed(&mut self) -> ObjectError {
        todo!()
    }
    /// The client's bytes have ended: sends the last part off and waits until all parts are there. What fits in
    /// one part sends nothing yet.
    pub async fn seal(&mut self) -> Result<(), ObjectError> {
        todo!()
    }
    /// Bytes taken from the client so far.
    pub fn received(&self) -> u64 {
        todo!()
    }
    /// PutObject or CompleteMultipartUpload. Ambiguous answers are settled by a HEAD that looks for the transfer id.
    /// Must be called after [`Upload::seal`].
    pub async fn publish(self) -> Result<Published, ObjectError> {
        todo!()
    }
    /// Gives it up and waits until nothing of it is left in the store.
    pub async fn abandon(self) {
        todo!()
    }
}
