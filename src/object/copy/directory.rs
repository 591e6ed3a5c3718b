//! A directory is renamed key by key: pass 1 lists and copies all to where nothing is, pass 2 lists
//! again and deletes what was copied.
//!
//! Of each copied key a few bytes are kept ([`Copied`]), so that nothing is deleted that was
//! written meanwhile. Keys are copied and deleted in parallel: small objects [`AT_ONCE`], large
//! ones and those that pass through this process fewer.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::object::copy::copied::Copied;
use crate::object::copy::{CopyOptions, copy};
use crate::object::delete::{delete, put_marker_with, put_own_marker};
use crate::object::error::ObjectError;
use crate::object::head::{Attributes, ObjectInfo, head, head_with_crc};
use crate::object::list::{Key, RawPage, directory_exists};
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::name_lock::{Participation, Patience};
use crate::object::precondition::PreconditionHeaders;
use crate::object::transfer_id::{TRANSFER_KEY, TransferId};
use crate::object::verify::{WriteCheck, is_by, look};

/// Keys that are copied, or deleted, at once.
const AT_ONCE: usize = 64;

/// An object above this size is large, bytes: a copy keeps the store busy, or consists of parallel
/// requests.
const LARGE: u64 = 8 * 1024 * 1024;

/// How renaming a directory has failed. In each case what was not copied is at the old name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DirectoryError {
    /// The new name lies in the old one. All is as it was.
    #[error("a directory can't be moved into itself or onto one it is in")]
    IntoItself,
    /// The destination does not take a key. All is as it was, and nothing was copied.
    #[error("the destination does not take {name:?}")]
    Refused {
        /// The key's name below the directory.
        name: String,
        /// Its size.
        size: u64,
    },
    /// All is as it was: what had been copied is removed again.
    #[error("{0} (nothing was moved)")]
    Unmoved(ObjectError),
    /// Nothing was deleted, and what had been copied could not all be removed again.
    #[error("{0} (nothing was deleted; copies are left at the destination)")]
    CopiesLeft(ObjectError),
    /// All is at the new name, and a part of it at the old one too.
    #[error("{0} (all was copied, and not all is deleted)")]
    SourceLeft(ObjectError),
}

/// Whether a key may come to be at the destination, by its name below the directory and its size.
pub type TakesKey<'a> = dyn Fn(&str, u64) -> bool + Send + Sync + 'a;

/// Renames a directory: copies all keys before it deletes the first. Returns the number of keys. It
/// replaces nothing at the destination: if anything appears there meanwhile, the rename ends and
/// removes its copies. Keys that are written to the source meanwhile stay there.
///
/// `takes`: the keys are listed before the first is copied, and if one of them is not taken, none
/// is copied. `None`: every key is taken.
pub async fn rename_directory(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    takes: Option<&TakesKey<'_>>,
) -> Result<u64, DirectoryError> {
    if source.same_bucket(destination)
        && (destination.key.starts_with(&source.key) || source.key.starts_with(&destination.key))
    {
        return Err(DirectoryError::IntoItself);
    }
    if let Some(takes) = takes {
        all_taken(source, takes).await?;
    }
    let mut copied = Copied::new(&source.store.context().budget);
    let inner = NestedDirectory::of(source, destination).await?;
    let claimed = destination.take_part();
    if let Err(error) = claim(destination, id).await {
        return Err(undone(error, take_back_one(destination, id).await));
    }
    match inner.appeared().await {
        Ok(false) => {}
        Ok(true) => {
            return Err(match take_back_one(destination, id).await {
                Ok(()) => DirectoryError::IntoItself,
                Err(error) => DirectoryError::CopiesLeft(error),
            });
        }
        Err(error) => return Err(undone(error, take_back_one(destination, id).await)),
    }
    if let Err(error) = copy_all(source, destination, id, takes, &mut copied).await {
        return Err(undone(error, take_back(destination, id).await));
    }
    // From here on the copies show that the directory is there.
    if !copied.marker
        && let Err(error) = remove_claim(destination, &claimed).await
    {
        warn!(key = destination.key, %error,
            "the marker of a directory that was moved could not be removed");
    }
    drop(claimed);
    if copied.count == 0 {
        return Err(DirectoryError::Unmoved(ObjectError::NotFound));
    }
    copied.finish();
    delete_copied(source, destination, id, &copied)
        .await
        .map_err(DirectoryError::SourceLeft)?;
    Ok(copied.count)
}

/// The place of the new directory within the old one, if both bucket names are of one bucket.
struct NestedDirectory(Option<Location>);

impl NestedDirectory {
    /// Before anything is written.
    async fn of(source: &Location, destination: &Location) -> Result<Self, DirectoryError> {
        let at = Location {
            key: destination.key.clone(),
            ..source.clone()
        };
        let nested = destination.key.starts_with(&source.key);
        // A marker that is there already is not the one that will be written.
        let free = nested && !has_marker(&at).await.map_err(DirectoryError::Unmoved)?;
        Ok(NestedDirectory(free.then_some(at)))
    }

    /// Whether the marker of the new directory has come to be there.
    async fn appeared(&self) -> Result<bool, ObjectError> {
        match &self.0 {
            Some(at) => has_marker(at).await,
            None => Ok(false),
        }
    }
}

/// Asks for a listing: not every store answers a HEAD of a marker.
async fn has_marker(directory: &Location) -> Result<bool, ObjectError> {
    let page = RawPage::first(directory, 1).await?;
    Ok(page
        .keys
        .first()
        .is_some_and(|key| key.key == directory.key))
}

/// Puts the new directory's marker before anything is copied there. Of two that are renamed to one
/// name at once, in step with each other, each would else find the place of each file free, and the
/// later copy replace the earlier.
async fn claim(destination: &Location, id: &TransferId) -> Result<(), ObjectError> {
    put_own_marker(destination, &Attributes::default(), id).await?;
    // Where the store does not look at conditions the later one has won. Not every store keeps a
    // marker's metadata, nor answers a HEAD of it: then each copy is looked at before anything is
    // deleted.
    if !destination
        .store
        .conditional_writes(&destination.bucket)
        .await
        && let WriteCheck::Other(info) = look(destination, id, None).await
        && info.attributes.metadata.contains_key(TRANSFER_KEY)
    {
        return Err(ObjectError::Conflict);
    }
    Ok(())
}

/// The marker goes. A session that deletes the last copy meanwhile has taken it for one that stays.
async fn remove_claim(destination: &Location, claimed: &Participation) -> Result<(), ObjectError> {
    delete(destination, None).await?;
    if claimed.overlapped() && !directory_exists(destination).await? {
        let (attributes, conditions) = (Attributes::default(), PreconditionHeaders::default());
        return put_marker_with(destination, &attributes, conditions).await;
    }
    Ok(())
}

/// Lists the keys before anything is copied.
async fn all_taken(source: &Location, takes: &TakesKey<'_>) -> Result<(), DirectoryError> {
    let mut token = None;
    loop {
        let page = RawPage::fetch(source, &source.key, None, 1000, token).await;
        let page = page.map_err(DirectoryError::Unmoved)?;
        for key in &page.keys {
            let name = below(source, &key.key);
            if !takes(name, key.size) {
                return Err(DirectoryError::Refused {
                    name: name.to_owned(),
                    size: key.size,
                });
            }
        }
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}

/// Pass 1. After a failure nothing more is begun, and what is under way ends first: it is to be
/// taken back, too.
async fn copy_all(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    takes: Option<&TakesKey<'_>>,
    copied: &mut Copied,
) -> Result<(), ObjectError> {
    let lanes = Semaphore::new(AT_ONCE);
    let within_store = Arc::ptr_eq(&source.store, &destination.store);
    let mut token = None;
    loop {
        let page = RawPage::fetch(source, &source.key, None, 1000, token).await?;
        let failed = CancellationToken::new();
        let mut outcome = Ok(());
        let copies = stream::iter(page.keys)
            .take_until(failed.cancelled())
            .map(|key| async {
                // Never closed.
                let _lane = lanes.acquire_many(lanes_of(&key, within_store)).await;
                copy_one(source, destination, id, takes, key).await
            })
            .buffer_unordered(AT_ONCE);
        let mut copies = pin!(copies);
        while let Some(copy) = copies.next().await {
            let noted = match copy {
                Ok(Some((key, info))) => {
                    copied.marker |= key == source.key;
                    copied.add(&key, &info).await
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if noted.is_err() {
                failed.cancel();
                outcome = outcome.and(noted);
            }
        }
        outcome?;
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}

/// How many of the lanes a copy takes.
fn lanes_of(key: &Key, within_store: bool) -> u32 {
    match (key.size > LARGE, within_store) {
        (true, _) => 8,
        (false, false) => 4,
        (false, true) => 1,
    }
}

/// Copies one key to a name that does not exist. Returns the name and what was copied; `None` if
/// the key is gone.
async fn copy_one(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    takes: Option<&TakesKey<'_>>,
    key: Key,
) -> Result<Option<(String, ObjectInfo)>, ObjectError> {
    let from = Location {
        key: key.key,
        ..source.clone()
    };
    let to = moved(&from, source, destination);
    // What passes through this process is compared with its checksum.
    let looked = match Arc::ptr_eq(&source.store, &destination.store) {
        true => head(&from).await.map(|info| (info, None)),
        false => head_with_crc(&from).await,
    };
    let (info, source_crc) = match looked {
        Err(ObjectError::NotFound) => return Ok(None),
        looked => looked?,
    };
    // Written since the keys were listed.
    if takes.is_some_and(|takes| !takes(below(source, &from.key), info.size)) {
        return Err(ObjectError::Conflict);
    }
    let options = CopyOptions {
        id: id.clone(),
        // A marker with content takes the place of our claim.
        if_absent: to.key != destination.key,
        source_crc,
    };
    if info.size == 0 && to.key.ends_with('/') {
        copy_marker(&info.attributes, &to, destination, id).await?;
    } else {
        let copied = Box::pin(copy(&from, &info, &to, &options)).await;
        match copied.map_err(ObjectError::from) {
            Err(ObjectError::NotFound) => return Ok(None),
            done => {
                done?;
            }
        }
    }
    Ok(Some((from.key, info)))
}

async fn copy_marker(
    attributes: &Attributes,
    to: &Location,
    destination: &Location,
    id: &TransferId,
) -> Result<(), ObjectError> {
    // The directory's own takes the place of our claim.
    if to.key == destination.key {
        let target = Target::new(to.clone(), id.clone(), attributes.clone());
        return put_marker_with(to, &target.attributes, PreconditionHeaders::default()).await;
    }
    match put_own_marker(to, attributes, id).await {
        // Another client has made the directory meanwhile, so it exists.
        Err(ObjectError::Conflict) => Ok(()),
        result => result,
    }
}

/// A failure of pass 1, and how it went to take back what was copied.
fn undone(error: ObjectError, taken_back: Result<(), ObjectError>) -> DirectoryError {
    match taken_back {
        Ok(()) => DirectoryError::Unmoved(error),
        Err(left) => {
            warn!(error = %left, "copies of a directory could not be removed again");
            DirectoryError::CopiesLeft(error)
        }
    }
}

/// Removes only what this rename has written to the destination; each object has the id of its
/// writer.
async fn take_back(destination: &Location, id: &TransferId) -> Result<(), ObjectError> {
    let mut token = None;
    loop {
        let page = RawPage::fetch(destination, &destination.key, None, 1000, token).await?;
        stream::iter(page.keys)
            .map(|key| {
                let at = Location {
                    key: key.key,
                    ..destination.clone()
                };
                async move { take_back_one(&at, id).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}

async fn take_back_one(at: &Location, id: &TransferId) -> Result<(), ObjectError> {
    let _lock = at.lock(Patience::Command).await?;
    match look(at, id, None).await {
        WriteCheck::Ours(info) => delete_seen(at, &info.etag).await,
        WriteCheck::Other(_) | WriteCheck::Absent => Ok(()),
        WriteCheck::Unknown(error) => Err(error),
    }
}

/// Pass 2. What was written since pass 1 stays; [`ObjectError::Conflict`] where a copy was found
/// replaced, whose source stays then.
async fn delete_copied(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    copied: &Copied,
) -> Result<(), ObjectError> {
    // A claim has no effect on a store that ignores conditions: two renames with one name may both
    // have continued.
    let unsure = !destination
        .store
        .conditional_writes(&destination.bucket)
        .await;
    let mut replaced = false;
    let mut token = None;
    loop {
        let page = RawPage::fetch(source, &source.key, None, 1000, token).await?;
        replaced |= stream::iter(page.keys)
            .map(|key| delete_one((source, destination), key, copied, id, unsure))
            .buffer_unordered(AT_ONCE)
            .try_fold(false, |any, one| ready(Ok(any | one)))
            .await?;
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    match replaced {
        true => Err(ObjectError::Conflict),
        false => Ok(()),
    }
}

/// Whether it stays because its copy, if that is checked, no longer exists.
async fn delete_one(
    (source, destination): (&Location, &Location),
    key: Key,
    copied: &Copied,
    id: &TransferId,
    look_at_copies: bool,
) -> Result<bool, ObjectError> {
    let location = Location {
        key: key.key,
        ..source.clone()
    };
    let _lock = location.lock(Patience::Command).await?;
    // The page was listed up to a thousand deletes ago. Neither it nor If-Match, if the store
    // honours that, shows that a version was replaced by one with the same bytes.
    let info = match head(&location).await {
        Err(ObjectError::NotFound) => return Ok(false),
        info => info?,
    };
    // A copy of this rename is never deleted by it, under whatever name.
    if is_by(&info, id) || !copied.contains(&location.key, &info) {
        return Ok(false);
    }
    // The marker may be another client's, which is as good.
    if look_at_copies && !location.key.ends_with('/') {
        match look(&moved(&location, source, destination), id, None).await {
            WriteCheck::Ours(_) => {}
            WriteCheck::Unknown(error) => return Err(error),
            WriteCheck::Other(_) | WriteCheck::Absent => return Ok(true),
        }
    }
    delete_seen(&location, &info.etag).await.map(|()| false)
}

/// Where a key of the old directory is in the new one.
fn moved(from: &Location, source: &Location, destination: &Location) -> Location {
    let name = below(source, &from.key);
    Location {
        key: format!("{}{name}", destination.key),
        ..destination.clone()
    }
}

/// The name of a key below its directory.
fn below<'k>(directory: &Location, key: &'k str) -> &'k str {
    key.strip_prefix(&directory.key).unwrap_or_default()
}

/// Deletes what was just seen.
async fn delete_seen(location: &Location, etag: &str) -> Result<(), ObjectError> {
    match delete(location, Some(etag)).await {
        // Overwritten since then.
        Err(ObjectError::Conflict) => Ok(()),
        // A store that can't do it under a condition.
        Err(ObjectError::Unsupported(_)) => delete(location, None).await,
        result => result,
    }
}
