//! A staged file becomes its object: a copy inside the store, under the precondition of the upload.
//!
//! Few stores but AWS honour a precondition of a CopyObject. Many of the others honour one of a
//! CompleteMultipartUpload: there an upload that has a precondition is copied by UploadPartCopy.
//! On the rest a HEAD right before takes its place.
//!
//! An upload without a precondition replaces whatever is there, unless that is newer: a client whose
//! session was lost while its upload was being checked may have sent another file meanwhile. An
//! object of a transfer that began after all bytes of this one had come is left as it is. Each
//! server writes the time of its own clock: of two servers whose clocks differ by more than the time
//! in between, the older upload can come last.

use crate::object::copy::parts::copy_parts;
use crate::object::copy::whole::{Written, copy_whole};
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::name_lock::NameLock;
use crate::object::precondition::Precondition;
use crate::object::publish_error::PublishError;
use crate::object::transfer_id::TransferId;
use crate::object::verify::written_by;

/// How often a copy is made again whose object was written while it was made.
const ROUNDS: u32 = 4;

/// A staged file.
#[derive(Debug, Clone, Copy)]
pub(in crate::object) struct Staged<'a> {
    pub(in crate::object) at: &'a Location,
    pub(in crate::object) info: &'a ObjectInfo,
    /// When all its bytes had come from the client.
    pub(in crate::object) came: &'a TransferId,
}

/// Copies a staged file to its object, under the lock of the name. [`PublishError::Conflict`] if the
/// precondition does not hold, `Superseded` if a newer upload is there. The error is `Changed` or
/// `NotFound` if the staged file is another, or gone.
pub(in crate::object) async fn copy_staged(
    staged: Staged<'_>,
    target: &Target,
    precondition: &Precondition,
    lock: NameLock,
) -> Result<Written, PublishError> {
    let mut round = 0;
    loop {
        let pinned = match precondition {
            Precondition::None => unless_superseded(target, staged.came).await?,
            precondition => precondition.clone(),
        };
        match copy(staged, target, &pinned, &lock).await {
            Err(PublishError::Conflict) if pinned != *precondition && round < ROUNDS => round += 1,
            written => return written,
        }
    }
}

async fn copy(
    staged: Staged<'_>,
    target: &Target,
    precondition: &Precondition,
    lock: &NameLock,
) -> Result<Written, PublishError> {
    let Staged { at, info, .. } = staged;
    let Location { store, bucket, .. } = &target.location;
    let by_parts = *precondition != Precondition::None
        && info.size > 0
        && store.config().endpoint.is_some()
        && store.honours_if_absent(bucket).await;
    if by_parts || info.size > store.config().copy_limit {
        return copy_parts(at, info, target, precondition, None, Some(lock)).await;
    }
    copy_whole(at, info, target, precondition).await
}

/// Looks whether the object is newer than an upload. At AWS the copy is pinned to what was seen.
async fn unless_superseded(
    target: &Target,
    came: &TransferId,
) -> Result<Precondition, ObjectError> {
    let found = match head(&target.location).await {
        Ok(info) => Some(info),
        Err(ObjectError::NotFound) => None,
        // There is nothing to compare for a server that may only write.
        Err(ObjectError::Denied(_)) => return Ok(Precondition::None),
        Err(error) => return Err(error),
    };
    let writer = found.as_ref().and_then(written_by);
    if writer.is_some_and(|writer| writer.began_after(came)) {
        return Err(ObjectError::Superseded);
    }
    let honoured = target.location.store.config().endpoint.is_none();
    Ok(match found {
        _ if !honoured => Precondition::None,
        None => Precondition::Absent,
        Some(info) => Precondition::Version(info.identity()),
    })
}
