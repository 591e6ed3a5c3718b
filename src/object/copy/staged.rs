//! A staged file becomes its object: a copy inside the store, under the precondition of the upload.
//!
//! Few stores but AWS honour a precondition of a CopyObject. Many of the others honour one of a
//! CompleteMultipartUpload: there an upload that has a precondition is copied by UploadPartCopy.
//! On the rest a HEAD right before takes its place.

use crate::object::copy::parts::copy_parts;
use crate::object::copy::whole::{Written, copy_whole};
use crate::object::head::ObjectInfo;
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::name_lock::NameLock;
use crate::object::precondition::Precondition;
use crate::object::publish_error::PublishError;

/// Copies a staged file to its object. [`PublishError::Conflict`] if the precondition does not hold.
/// The error is `Changed` or `NotFound` if the staged file is another, or gone.
pub(in crate::object) async fn copy_staged(
    source: &Location,
    info: &ObjectInfo,
    target: &Target,
    precondition: &Precondition,
    lock: NameLock,
) -> Result<Written, PublishError> {
    let Location { store, bucket, .. } = &target.location;
    let by_parts = *precondition != Precondition::None
        && info.size > 0
        && store.config().endpoint.is_some()
        && store.honours_if_absent(bucket).await;
    if by_parts || info.size > store.config().copy_limit {
        return copy_parts(source, info, target, precondition, None, Some(lock)).await;
    }
    let written = copy_whole(source, info, target, precondition).await;
    drop(lock);
    written
}
