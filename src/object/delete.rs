//! DeleteObject and directory markers.
//!
//! S3 has no directories: one exists as long as a key has it as its prefix. FTP clients expect an emptied directory
//! to stay, so whoever takes the last key of one leaves a marker `dir/` in its place, before.

use aws_sdk_s3::primitives::ByteStream;

use super::error::failure;
use super::head::with_attributes;
use super::list::RawPage;
use super::{Attributes, Location, ObjectError, head};

/// DeleteObject, where given pinned to an ETag (`If-Match`): [`ObjectError::Conflict`] where the object is another now.
/// Deleting what is not there is no error. Stores that can't do it pinned say [`ObjectError::Unsupported`] or ignore
/// the condition.
pub async fn delete(location: &Location, etag: Option<&str>) -> Result<(), ObjectError> {
    let request = location
        .store
        .client()
        .delete_object()
        .bucket(&*location.bucket)
        .key(&location.key)
        .set_if_match(etag.map(str::to_owned));
    match Box::pin(request.send()).await.map_err(failure) {
        Ok(_) => Ok(()),
        // A delete whose answer was lost and that was sent again.
        Err(failure) if matches!(failure.error, ObjectError::NotFound) => Ok(()),
        Err(failure) if failure.ambiguous() => match head(location).await {
            Err(ObjectError::NotFound) => Ok(()),
            _ => Err(failure.error),
        },
        Err(failure) => Err(failure.error),
    }
}

/// Deletes a file ([`ObjectError::NotFound`] if it is not there) and keeps its directory: where it was the last key
/// there, `parent`'s marker is put first. At most 3 requests. `parent` is `None` at a mount's root. Where an ETag is
/// given the file is known to be there, and only that one is deleted, where the store honours it.
pub async fn delete_keeping_directory(
    location: &Location,
    parent: Option<&Location>,
    etag: Option<&str>,
) -> Result<(), ObjectError> {
    let Some(parent) = parent else {
        if etag.is_none() {
            head(location).await?;
        }
        return delete(location, etag).await;
    };
    match neighbours(location, parent).await? {
        Neighbours::Alone => put_marker(parent).await?,
        Neighbours::Among => {}
        Neighbours::Unseen if etag.is_some() => {}
        Neighbours::Unseen => {
            head(location).await?;
        }
        Neighbours::Absent => return Err(ObjectError::NotFound),
    }
    delete(location, etag).await
}

/// Puts the marker `dir/`; [`ObjectError::Conflict`] where the directory exists already. 2 requests.
pub async fn make_directory(directory: &Location) -> Result<(), ObjectError> {
    if super::directory_exists(directory).await? {
        return Err(ObjectError::Conflict);
    }
    put_marker(directory).await
}

/// Removes the marker of an empty directory and keeps its parent. [`ObjectError::NotFound`]; [`ObjectError::Conflict`]
/// where it is not empty. At most 4 requests.
pub async fn remove_directory(
    directory: &Location,
    parent: Option<&Location>,
) -> Result<(), ObjectError> {
    let page = RawPage::fetch(directory, &directory.key, None, 2, None).await?;
    if page.keys.is_empty() {
        return Err(ObjectError::NotFound);
    }
    if page.keys.len() > 1 || page.keys.iter().any(|key| key.key != directory.key) {
        return Err(ObjectError::Conflict);
    }
    if let Some(parent) = parent
        && matches!(neighbours(directory, parent).await?, Neighbours::Alone)
    {
        put_marker(parent).await?;
    }
    delete(directory, None).await
}

/// What the first two keys of a directory tell about one key in it.
enum Neighbours {
    /// It is the only key.
    Alone,
    /// It is there, and so is another.
    Among,
    /// There are two others; it may come after them.
    Unseen,
    /// It is not there.
    Absent,
}

async fn neighbours(location: &Location, parent: &Location) -> Result<Neighbours, ObjectError> {
    let page = RawPage::fetch(parent, &parent.key, None, 2, None).await?;
    let ours = page.keys.iter().any(|key| key.key == location.key);
    // A page may hold fewer keys than asked for and still not be the last.
    let more = page.keys.len() >= 2 || page.next.is_some();
    Ok(match (ours, more) {
        (true, true) => Neighbours::Among,
        (true, false) => Neighbours::Alone,
        (false, true) => Neighbours::Unseen,
        (false, false) => Neighbours::Absent,
    })
}

/// An object of no bytes; putting it twice does no harm.
async fn put_marker(directory: &Location) -> Result<(), ObjectError> {
    put_marker_with(directory, &Attributes::default()).await
}

/// A marker with the attributes of another: how markers are copied, since stores that keep them as directories can't.
pub(super) async fn put_marker_with(
    directory: &Location,
    attributes: &Attributes,
) -> Result<(), ObjectError> {
    let request = with_attributes!(directory.store.client().put_object(), attributes)
        .bucket(&*directory.bucket)
        .key(&directory.key)
        .body(ByteStream::from_static(b""));
    Box::pin(request.send()).await.map_err(failure)?;
    Ok(())
}
