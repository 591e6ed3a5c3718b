//! DeleteObject and directory markers.
//!
//! S3 has no directories: one exists while a key has it as its prefix. FTP clients expect that an
//! emptied directory stays, so a marker `dir/` is written before the last key of a directory is
//! removed.

use aws_sdk_s3::primitives::ByteStream;
use tracing::warn;

use crate::object::attributes::with_key;
use crate::object::copy::whole::Written;
use crate::object::error::{ObjectError, failure};
use crate::object::head::{Attributes, head, with_attributes};
use crate::object::identity::ObjectIdentity;
use crate::object::list::{Key, RawPage};
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::name_lock::{NameLock, NameWatch, Participation, Patience};
use crate::object::precondition::{Precondition, PreconditionHeaders};
use crate::object::transfer_id::TransferId;
use crate::object::verify::{WriteCheck, is_by, look};

/// DeleteObject, with `If-Match` if an ETag is given: [`ObjectError::Conflict`] if the object is
/// another one now. Deleting a missing object succeeds. A store without conditional deletes gives
/// [`ObjectError::Unsupported`] or ignores the condition.
pub async fn delete(location: &Location, etag: Option<&str>) -> Result<(), ObjectError> {
    Ok(delete_or_look(location, etag).await?)
}

/// Why an object was not deleted, and whether it may be gone all the same.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// It is still there, or is not there and was not.
    #[error(transparent)]
    Refused(#[from] ObjectError),
    /// The store has given no clear answer to the DeleteObject, and the object could not be looked
    /// at.
    #[error(transparent)]
    Unclear(ObjectError),
}

impl From<DeleteError> for ObjectError {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Refused(error) | DeleteError::Unclear(error) => error,
        }
    }
}

/// [`delete`], for those who must know whether the object may be gone.
async fn delete_or_look(location: &Location, etag: Option<&str>) -> Result<(), DeleteError> {
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
                Err(_) if failure.ambiguous() => Err(DeleteError::Unclear(failure.error)),
                _ => Err(failure.error.into()),
            }
        }
        Err(failure) => Err(failure.error.into()),
    }
}

/// The version of an object that may be deleted.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// As a HEAD showed it.
    pub version: &'a ObjectIdentity,
    /// Begun before that HEAD.
    pub watch: &'a NameWatch,
    /// The copy of that version for which it may be deleted.
    pub copy: Option<CopyOf<'a>>,
}

/// A copy of an object, made right before the object is deleted.
#[derive(Debug, Clone, Copy)]
pub struct CopyOf<'a> {
    /// Where.
    pub at: &'a Location,
    /// By which transfer.
    pub id: &'a TransferId,
    /// As the store has answered.
    pub written: &'a Written,
}

/// What has become of an object that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is deleted.
    Gone,
    /// It is the copy, by another name of its bucket, and stays.
    IsTheCopy,
}

impl CopyOf<'_> {
    /// Whether the copy may be the object itself, since something was there before: one bucket can
    /// have two names (an alias, an access point, an endpoint's other address). Its keys are the
    /// same in both, but for an endpoint that adds to them.
    fn may_be(&self, location: &Location) -> bool {
        let ends_in = |one: &str, other: &str| {
            let start = one.strip_suffix(other);
            start.is_some_and(|start| start.is_empty() || start.ends_with('/'))
        };
        let (copy, original) = (&self.at.key, &location.key);
        !self.written.replaced_nothing
            && !self.at.same_bucket(location)
            && (ends_in(copy, original) || ends_in(original, copy))
    }

    /// Whether a listing of the original shows that it is another object: it has the time that it
    /// had before the copy, and the copy has another one.
    fn is_not(&self, original: &Key) -> bool {
        let modified = self.written.modified;
        modified.is_some_and(|copy| copy.as_second() != original.modified.as_second())
    }
}

/// Deletes a file under the lock of its name ([`ObjectError::NotFound`] if it is not there) and
/// keeps its directory: if it is the last key there, `parent`'s marker is put first. At most 3
/// requests, unless two files are deleted at once. `parent` is `None` at a mount's root. With
/// `expected` only that version is deleted, else [`ObjectError::Conflict`]: not every store honours
/// If-Match on a delete, and no store compares more than the ETag, so it is looked at right before,
/// too. Nothing is deleted, nor a marker put, if it is the copy itself.
pub async fn delete_keeping_directory(
    location: &Location,
    parent: Option<&Location>,
    expected: Option<Expected<'_>>,
) -> Result<Deleted, DeleteError> {
    let lock = location.lock(Patience::Command).await?;
    let Some(parent) = parent else {
        let unlisted = Sight::Unlisted {
            compares: location.store.config().endpoint.is_none(),
        };
        return delete_seen_so(location, expected, unlisted, &lock).await;
    };
    let removal = parent.take_part();
    let neighbours = neighbours(location, parent).await?;
    let listed = match &neighbours {
        Neighbours::Alone(listed) | Neighbours::Among(listed) | Neighbours::Pair(listed) => {
            Sight::Listed(listed)
        }
        Neighbours::Unseen => Sight::Unlisted {
            compares: location.store.config().endpoint.is_none(),
        },
        Neighbours::Absent => return Err(ObjectError::NotFound.into()),
    };
    if check(location, expected, listed, &lock).await? == Checked::IsTheCopy {
        return Ok(Deleted::IsTheCopy);
    }
    if matches!(neighbours, Neighbours::Alone(_)) {
        put_marker(parent).await?;
    }
    delete_checked(location, expected).await?;
    drop(lock);
    keep_directory(parent, &removal, &neighbours).await;
    Ok(Deleted::Gone)
}

/// Deletes a temporary file after it was copied or refused: only the expected version, else
/// [`ObjectError::Conflict`]. Only sessions of its user write its key, so a store that honours
/// If-Match on a delete is enough; elsewhere a HEAD comes right before. 1 or 2 requests.
pub async fn delete_temporary(
    location: &Location,
    expected: Expected<'_>,
) -> Result<Deleted, DeleteError> {
    let lock = location.lock(Patience::Command).await?;
    let unlisted = Sight::Unlisted {
        compares: location.store.conditional_deletes(&location.bucket).await,
    };
    delete_seen_so(location, Some(expected), unlisted, &lock).await
}

/// Deletes a file that has no directory to be kept.
async fn delete_seen_so(
    location: &Location,
    expected: Option<Expected<'_>>,
    sight: Sight<'_>,
    lock: &NameLock,
) -> Result<Deleted, DeleteError> {
    if check(location, expected, sight, lock).await? == Checked::IsTheCopy {
        return Ok(Deleted::IsTheCopy);
    }
    delete_checked(location, expected)
        .await
        .map(|()| Deleted::Gone)
}

/// Sessions that delete the last files of a directory at the same time have each seen the others'
/// files. Of those of this process each knows; of two in two processes each sees that there is one
/// other file.
async fn keep_directory(directory: &Location, removal: &Participation, neighbours: &Neighbours) {
    let others = removal.overlapped() || matches!(neighbours, Neighbours::Pair(_));
    if others {
        keep_if_empty(directory).await;
    }
}

/// Puts the marker of a directory in which nothing is left. It is only logged if that fails: what
/// the client has asked for is done.
pub async fn keep_if_empty(directory: &Location) {
    let kept = match super::directory_exists(directory).await {
        Ok(true) => Ok(()),
        Ok(false) => put_marker(directory).await,
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        warn!(key = directory.key, %error,
            "a directory that may have become empty could not be kept");
    }
}

/// What a look right before a delete has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    /// It may be deleted.
    AsExpected,
    /// It is the copy for which it was to be deleted.
    IsTheCopy,
}

/// What is known of a file right before it is deleted.
#[derive(Debug, Clone, Copy)]
enum Sight<'a> {
    /// As it is listed.
    Listed(&'a Key),
    /// It was not listed. `compares`: the store refuses to delete another version.
    Unlisted { compares: bool },
}

/// Whether the file is there and is the expected version. A listing is enough if it shows no
/// difference, no session of this process has written the name since, and the copy cannot be the
/// file itself. Without a listing a store that compares is not asked. In all other cases a HEAD
/// shows it.
async fn check(
    location: &Location,
    expected: Option<Expected<'_>>,
    sight: Sight<'_>,
    lock: &NameLock,
) -> Result<Checked, ObjectError> {
    let Some(expected) = expected else {
        if matches!(sight, Sight::Unlisted { .. }) {
            match head(location).await {
                // It is there.
                Ok(_) | Err(ObjectError::OtherKey) => {}
                Err(error) => return Err(error),
            }
        }
        return Ok(Checked::AsExpected);
    };
    let same = match sight {
        Sight::Listed(key) => expected.version.is_listed_as(key),
        Sight::Unlisted { compares } => compares,
    };
    let copy = expected.copy;
    let is_not = |copy: CopyOf<'_>| matches!(sight, Sight::Listed(key) if copy.is_not(key));
    let apart = copy.is_none_or(|copy| !copy.may_be(location) || is_not(copy));
    if same && apart && lock.first_since(expected.watch) {
        return Ok(Checked::AsExpected);
    }
    let found = head(location).await?;
    if copy.is_some_and(|copy| is_by(&found, copy.id)) {
        Ok(Checked::IsTheCopy)
    } else if found.identity() == *expected.version {
        Ok(Checked::AsExpected)
    } else {
        Err(ObjectError::Conflict)
    }
}

async fn delete_checked(
    location: &Location,
    expected: Option<Expected<'_>>,
) -> Result<(), DeleteError> {
    let etag = expected.map(|expected| expected.version.etag());
    match delete_or_look(location, etag).await {
        Err(DeleteError::Refused(ObjectError::Unsupported(_))) if etag.is_some() => {
            delete_or_look(location, None).await
        }
        result => result,
    }
}

/// Puts the marker `dir/`; [`ObjectError::Conflict`] if the directory exists already,
/// [`ObjectError::IsFile`] if a file has its name. 2 requests; 3 if more than a page of other names
/// begin with that of the directory. Of two sessions that make one directory at once one has made
/// it, since clients use directories as locks: for that its name is locked, and the marker put
/// under `If-None-Match: *` if the store honours that.
pub async fn make_directory(directory: &Location) -> Result<(), ObjectError> {
    let _lock = directory.lock(Patience::Command).await?;
    let file = directory.key.trim_end_matches('/');
    match RawPage::fetch(directory, file, Some("/"), 1000, None).await {
        Ok(page) if page.prefixes.contains(&directory.key) => return Err(ObjectError::Conflict),
        Ok(page) if page.keys.first().is_some_and(|key| key.key == file) => {
            return Err(ObjectError::IsFile);
        }
        Ok(page) if page.next.is_none() => {}
        // A policy may allow listings below the directory only.
        Ok(_) | Err(ObjectError::Denied(_)) => {
            if super::directory_exists(directory).await? {
                return Err(ObjectError::Conflict);
            }
        }
        Err(error) => return Err(error),
    }
    match directory.store.conditional_writes(&directory.bucket).await {
        true => {
            let (attributes, id) = (Attributes::default(), TransferId::generate());
            Box::pin(put_own_marker(directory, &attributes, &id)).await
        }
        false => put_marker(directory).await,
    }
}

/// Removes the marker of an empty directory and keeps its parent. [`ObjectError::NotFound`];
/// [`ObjectError::Conflict`] if it is not empty. At most 4 requests, unless two entries are
/// removed at once.
pub async fn remove_directory(
    directory: &Location,
    parent: Option<&Location>,
) -> Result<(), DeleteError> {
    let page = RawPage::first(directory, 2).await?;
    if page.keys.is_empty() {
        return Err(ObjectError::NotFound.into());
    }
    if page.keys.len() > 1 || page.keys.iter().any(|key| key.key != directory.key) {
        return Err(ObjectError::Conflict.into());
    }
    let Some(parent) = parent else {
        return delete_or_look(directory, None).await;
    };
    let removal = parent.take_part();
    let neighbours = neighbours(directory, parent).await?;
    if matches!(neighbours, Neighbours::Alone(_)) {
        put_marker(parent).await?;
    }
    delete_or_look(directory, None).await?;
    keep_directory(parent, &removal, &neighbours).await;
    Ok(())
}

/// What the first two keys of a directory show about one of its keys; as it is listed, if it is one
/// of them.
enum Neighbours {
    /// It is the only key.
    Alone(Key),
    /// It exists, and another one that is not a marker.
    Pair(Key),
    /// It is there, and so are others, or a marker.
    Among(Key),
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
        (Some(ours), false) => Neighbours::Alone(ours),
        (Some(ours), true) if lasting => Neighbours::Among(ours),
        (Some(ours), true) => Neighbours::Pair(ours),
        (None, true) => Neighbours::Unseen,
        (None, false) => Neighbours::Absent,
    })
}

/// An object of no bytes; putting it twice does no harm.
async fn put_marker(directory: &Location) -> Result<(), ObjectError> {
    let attributes = Attributes::default();
    Box::pin(put_marker_with(
        directory,
        &attributes,
        PreconditionHeaders::default(),
    ))
    .await
}

/// A marker with the attributes of another, but for those of its mount. So markers are copied, since
/// stores that keep them as directories can't; [`ObjectError::Conflict`] where a condition does not hold.
pub(super) async fn put_marker_with(
    directory: &Location,
    attributes: &Attributes,
    conditions: PreconditionHeaders,
) -> Result<(), ObjectError> {
    let attributes = attributes.clone().of_marker(directory);
    let request = with_attributes!(directory.store.client().put_object(), &attributes)
        .bucket(&*directory.bucket)
        .key(&directory.key)
        .set_if_none_match(conditions.if_none_match)
        .set_if_match(conditions.if_match)
        .body(ByteStream::from_static(b""));
    let request = with_key!(request, directory.key_of(&attributes));
    let failure = match Box::pin(request.send()).await.map_err(failure) {
        Ok(_) => return Ok(()),
        Err(failure) => failure,
    };
    // One marker is like another: it may be there without a clear answer.
    if failure.ambiguous() && Box::pin(is_marked(directory)).await {
        return Ok(());
    }
    Err(failure.error)
}

/// Writes a marker unless there is one, with the transfer's id in its metadata.
pub(super) async fn put_own_marker(
    at: &Location,
    attributes: &Attributes,
    id: &TransferId,
) -> Result<(), ObjectError> {
    let target = Target::new(at.clone(), id.clone(), attributes.clone());
    let conditions = Precondition::Absent.conditions(at).await?;
    match put_marker_with(at, &target.attributes, conditions).await {
        // One whose answer was lost and that was sent again finds itself.
        Err(ObjectError::Conflict) => match look(at, id, None).await {
            WriteCheck::Ours(_) => Ok(()),
            check => Err(check.unless_unseen(ObjectError::Conflict)),
        },
        result => result,
    }
}

/// Whether a directory's marker is there, as far as the store says. Listed rather than looked at:
/// stores that keep markers as directories of their own do not show all of them to a HEAD.
async fn is_marked(directory: &Location) -> bool {
    let page = RawPage::fetch(directory, &directory.key, None, 1, None).await;
    page.is_ok_and(|page| page.keys.iter().any(|key| key.key == directory.key))
}
