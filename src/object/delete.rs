//! DeleteObject and directory markers.

use super::{Location, ObjectError};

/// DeleteObject, where given pinned to an ETag (`If-Match`).
pub async fn delete(location: &Location, etag: Option<&str>) -> Result<(), ObjectError> {
    let _ = (location, etag);
    todo!()
}

/// Deletes a file ([`ObjectError::NotFound`] if it is not there) and keeps its directory: where it was the last key
/// there, `parent`'s marker is put first. At most 3 requests. `parent` is `None` at a mount's root.
pub async fn delete_keeping_directory(location: &Location, parent: Option<&Location>) -> Result<(), ObjectError> {
    let _ = (location, parent);
    todo!()
}

/// Puts the marker `dir/`; [`ObjectError::Conflict`] where the directory exists already. 2 requests.
pub async fn make_directory(directory: &Location) -> Result<(), ObjectError> {
    let _ = directory;
    todo!()
}

/// Removes the marker of an empty directory and keeps its parent. [`ObjectError::NotFound`]; [`ObjectError::Conflict`] where it is not empty.
pub async fn remove_directory(directory: &Location, parent: Option<&Location>) -> Result<(), ObjectError> {
    let _ = (directory, parent);
    todo!()
}
