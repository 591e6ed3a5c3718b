//! Copies inside S3: rename, metadata, directories.

use std::collections::BTreeMap;

use super::{Location, ObjectError, ObjectInfo, TransferId};

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The transfer's name, written into the copy's metadata.
    pub id: TransferId,
    /// Fail with [`ObjectError::Conflict`] where the destination exists.
    pub if_absent: bool,
}

/// Copies an object, pinned to `source_info.etag`, keeping class, encryption, tags and metadata: CopyObject; above the
/// store's copy limit a multipart copy with parallel UploadPartCopy; between stores streamed through.
pub async fn copy(source: &Location, source_info: &ObjectInfo, destination: &Location, options: &CopyOptions) -> Result<(), ObjectError> {
    let _ = (source, source_info, destination, options);
    todo!()
}

/// Replaces the user metadata of an object by a copy onto itself that keeps everything else.
pub async fn set_metadata(location: &Location, info: &ObjectInfo, metadata: BTreeMap<String, String>, id: &TransferId) -> Result<(), ObjectError> {
    let _ = (location, info, metadata, id);
    todo!()
}

/// Renames a directory, key by key: all are copied and checked before the first is deleted. Returns how many.
pub async fn rename_directory(source: &Location, destination: &Location, id: &TransferId) -> Result<u64, ObjectError> {
    let _ = (source, destination, id);
    todo!()
}
