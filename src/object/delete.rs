//! DeleteObject and directory markers.
//!
//! S3 has no directories: one exists as long as a key has it as its prefix. FTP clients expect an emptied directory
//! to stay, so whoever takes the last key of one leaves a marker `dir/` in its place, before.

use aws_sdk_s3::primitives::ByteStream;

use super::error::failure;
use super::head::with_attributes;
use super::list::RawPage;
use super::settle::Conditions;
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
        Err(failure) if failure.condition_failed() || failure.ambiguous() => {
            match head(location).await {
                Err(ObjectError::NotFound) => Ok(()),
                _ => Err(failure.error),
            }
        }
        Err(failure) => Err(failure.error),
    }
}

/// Deletes a file ([`ObjectError::NotFound`] if it is not there) and keeps its directory: where it was the last key
/// there, `parent`'s marker is put first. At most 3 requests, unless two files are deleted at once. `parent` is `None`
/// at a mount's root. Where an ETag is given only that one is deleted: not every store honours If-Match on a delete,
/// so it is compared right before, too.
pub async fn delete_keeping_directory(
    location: &Location,
    parent: Option<&Location>,
    etag: Option<&str>,
) -> Result<(), ObjectError> {
    let Some(parent) = parent else {
        check(location, etag, None).await?;
        return delete_checked(location, etag).await;
    };
    let neighbours = neighbours(location, parent).await?;
    match &neighbours {
        Neighbours::Alone(listed) => {
            if etag.is_some() {
                check(location, etag, Some(listed)).await?;
            }
            put_marker(parent).await?;
        }
        Neighbours::Among(listed) | Neighbours::Pair(listed) => {
            if etag.is_some() {
                check(location, etag, Some(listed)).await?;
            }
        }
        Neighbours::Unseen => check(location, etag, None).await?,
        Neighbours::Absent => return Err(ObjectError::NotFound),
    }
    delete_checked(location, etag).await?;
    // Two who delete the last two files at once have each seen the other's.
    if matches!(neighbours, Neighbours::Pair(_)) && !super::directory_exists(parent).await? {
        put_marker(parent).await?;
    }
    Ok(())
}

/// Whether the file is there and has the ETag: as listed, else by a HEAD. Without a listing AWS, which honours
/// If-Match, is not asked twice.
async fn check(
    location: &Location,
    etag: Option<&str>,
    listed: Option<&str>,
) -> Result<(), ObjectError> {
    let Some(etag) = etag else {
        return head(location).await.map(drop);
    };
    let same = listed.is_some_and(|listed| listed.trim_matches('"') == etag.trim_matches('"'));
    if same || location.store.config().endpoint.is_none() {
        return Ok(());
    }
    if head(location).await?.etag == etag {
        Ok(())
    } else {
        Err(ObjectError::Conflict)
    }
}

async fn delete_checked(location: &Location, etag: Option<&str>) -> Result<(), ObjectError> {
    match delete(location, etag).await {
        Err(ObjectError::Unsupported(_)) if etag.is_some() => delete(location, None).await,
        result => result,
    }
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
    let page = RawPage::first(directory, 2).await?;
    if page.keys.is_empty() {
        return Err(ObjectError::NotFound);
    }
    if page.keys.len() > 1 || page.keys.iter().any(|key| key.key != directory.key) {
        return Err(ObjectError::Conflict);
    }
    if let Some(parent) = parent
        && matches!(neighbours(directory, parent).await?, Neighbours::Alone(_))
    {
        put_marker(parent).await?;
    }
    delete(directory, None).await
}

/// What the first two keys of a directory tell about one key in it; where it is one of them, with its ETag.
enum Neighbours {
    /// It is the only key.
    Alone(String),
    /// It is there, and one other that is no marker.
    Pair(String),
    /// It is there, and so are others, or a marker.
    Among(String),
    /// There are two others; it may come after them.
    Unseen,
    /// It is not there.
    Absent,
}

async fn neighbours(location: &Location, parent: &Location) -> Result<Neighbours, ObjectError> {
    let page = RawPage::first(parent, 2).await?;
    let marker = page.keys.iter().any(|key| key.key == parent.key);
    let others = page.keys.len() >= 2 || page.next.is_some();
    let lasting = marker || page.next.is_some();
    let ours = page.keys.into_iter().find(|key| key.key == location.key);
    Ok(match (ours, others) {
        (Some(ours), false) => Neighbours::Alone(ours.etag),
        (Some(ours), true) if lasting => Neighbours::Among(ours.etag),
        (Some(ours), true) => Neighbours::Pair(ours.etag),
        (None, true) => Neighbours::Unseen,
        (None, false) => Neighbours::Absent,
    })
}

/// An object of no bytes; putting it twice does no harm.
async fn put_marker(directory: &Location) -> Result<(), ObjectError> {
    put_marker_with(directory, &Attributes::default(), Conditions::default()).await
}

/// A marker with the attributes of another, which is how markers are copied, since stores that keep them as directories
/// can't; [`ObjectError::Conflict`] where a condition does not hold.
pub(super) async fn put_marker_with(
    directory: &Location,
    attributes: &Attributes,
    conditions: Conditions,
) -> Result<(), ObjectError> {
    let request = with_attributes!(directory.store.client().put_object(), attributes)
        .bucket(&*directory.bucket)
        .key(&directory.key)
        .set_if_none_match(conditions.if_none_match)
        .set_if_match(conditions.if_match)
        .body(ByteStream::from_static(b""));
    Box::pin(request.send()).await.map_err(failure)?;
    Ok(())
}
