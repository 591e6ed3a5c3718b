//! Copies inside S3: rename, metadata, directories.
//!
//! A copy is pinned to the source's ETag and keeps its class, encryption, tags and metadata, but
//! for what the mount of the copy says of its objects ([`super::attributes`]). Up to
//! the store's copy limit it is one CopyObject, above a multipart copy whose ranges the store
//! copies in parallel, between two stores a download that flows into an upload.

mod copied;
pub(in crate::object) mod directory;
mod parts;
pub(in crate::object) mod staged;
pub(in crate::object) mod whole;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::object::copy::parts::{believed, copy_parts};
use crate::object::copy::whole::{Written, copy_whole};
use crate::object::download::Download;
use crate::object::error::{ObjectError, failure};
use crate::object::head::{Attributes, ObjectInfo, head};
use crate::object::keys;
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::name_lock::Patience;
use crate::object::precondition::Precondition;
use crate::object::publish_error::PublishError;
use crate::object::transfer_id::TransferId;
use crate::object::upload::running::Upload;
use crate::object::upload::{Condition, UploadOptions};

/// The longest that a copy between stores waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(30);

/// How to copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The transfer's name, written into the copy's metadata.
    pub id: TransferId,
    /// Fail with [`ObjectError::Conflict`] where the destination exists.
    pub if_absent: bool,
    /// CRC-32 of the source's bytes, if it is known: what passes through this process is compared
    /// with it.
    pub source_crc: Option<u32>,
}

/// Copies an object, pinned to `source_info.etag`, keeping class, encryption, tags and metadata:
/// CopyObject; above the store's copy limit a multipart copy with parallel UploadPartCopy; between
/// stores streamed through. [`ObjectError::Changed`] where the source is another now. After
/// [`PublishError::Unclear`] the copy may be there, or come later.
pub async fn copy(
    source: &Location,
    source_info: &ObjectInfo,
    destination: &Location,
    options: &CopyOptions,
) -> Result<Written, PublishError> {
    let precondition = if options.if_absent {
        Precondition::Absent
    } else {
        Precondition::None
    };
    let written = if Arc::ptr_eq(&source.store, &destination.store) {
        let target = Target::new(
            destination.clone(),
            options.id.clone(),
            source_info.attributes.clone().of_object(destination),
        );
        inside(source, source_info, &target, &precondition).await?
    } else {
        stream(source, source_info, destination, options).await?
    };
    Ok(written.under(&precondition))
}

/// Changes the user metadata of an object by a copy onto itself that keeps everything else, but for
/// what the mount says of its objects, under
/// the lock of its name. The transfer id is added. [`ObjectError::NotFound`];
/// [`ObjectError::Changed`] if it is written meanwhile.
pub async fn set_metadata(
    location: &Location,
    change: impl FnOnce(&mut BTreeMap<String, String>),
    id: &TransferId,
) -> Result<(), ObjectError> {
    let lock = location.lock(Patience::Command).await?;
    let info = head(location).await?;
    let mut attributes = info.attributes.clone().of_object(location);
    change(&mut attributes.metadata);
    let target = Target::new(location.clone(), id.clone(), attributes);
    if info.size <= location.store.config().copy_limit {
        let copied = copy_whole(location, &info, &target, &Precondition::None).await;
        return copied.map(drop).map_err(ObjectError::from);
    }
    // A copy by parts takes its time: others may write meanwhile, and it must not bring old bytes
    // back over theirs.
    drop(lock);
    let precondition = Precondition::Version(info.identity());
    let tagging = tags(location, &target).await?;
    let copied = copy_parts(location, &info, &target, &precondition, tagging, None).await;
    copied.map(drop).map_err(ObjectError::from)
}

/// A copy within one store. The target's name is locked around look and copy.
async fn inside(
    source: &Location,
    info: &ObjectInfo,
    target: &Target,
    precondition: &Precondition,
) -> Result<Written, PublishError> {
    if info.size > target.location.store.config().copy_limit {
        let tagging = tags(source, target).await?;
        return copy_parts(source, info, target, precondition, tagging, None).await;
    }
    let _lock = target.location.lock(Patience::Command).await?;
    copy_whole(source, info, target, precondition).await
}

/// The source's tags as `x-amz-tagging`; none if the target has its own, or the store has no
/// tagging.
async fn tags(source: &Location, target: &Target) -> Result<Option<String>, ObjectError> {
    if target.attributes.tagging.is_some() {
        return Ok(None);
    }
    let request = source
        .store
        .client()
        .get_object_tagging()
        .bucket(&*source.bucket)
        .key(&source.key);
    match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => {
            let tags = output.tag_set();
            let text = keys::tagging(tags.iter().map(|tag| (tag.key(), tag.value())));
            Ok((!tags.is_empty()).then_some(text))
        }
        Err(failure) => match failure.error {
            // Without the permission, or without tagging, a copy without tags is still what was
            // asked for.
            ObjectError::Unsupported(_) | ObjectError::Denied(_) | ObjectError::Other(_) => {
                debug!(key = source.key, error = %failure.error, "copied without tags");
                Ok(None)
            }
            error => Err(error),
        },
    }
}

/// A copy between two stores: through this process, within the memory of one transfer. Class,
/// encryption and tags are the other store's own affair and not carried over.
async fn stream(
    source: &Location,
    info: &ObjectInfo,
    destination: &Location,
    options: &CopyOptions,
) -> Result<Written, PublishError> {
    let attributes = Attributes {
        storage_class: None,
        server_side_encryption: None,
        kms_key_id: None,
        bucket_key_enabled: None,
        ..info.attributes.clone()
    };
    let upload_options = UploadOptions {
        id: options.id.clone(),
        condition: if options.if_absent {
            Condition::IfAbsent
        } else {
            Condition::None
        },
        append: None,
        metadata: Vec::new(),
        staged: None,
        keep: None,
    };
    let budget = &destination.store.context().budget;
    let admission = budget
        .admit(MEMORY_WAIT)
        .await
        .map_err(|_| ObjectError::Memory)?;
    let mut upload = Upload::begin_with(
        destination.clone(),
        Some(admission),
        upload_options,
        attributes.clone(),
    )
    .await?;
    // What is streamed is in the upload's chunks at once: the one admission covers both.
    let flow = async {
        if info.size > 0 {
            let mut download = Download::open_pinned(source.clone(), info, 0..info.size).await?;
            // The source is deleted for this copy.
            download.verify(options.source_crc.map(|crc| (info.etag.as_str(), crc)));
            while let Some(bytes) = download.next().await? {
                upload.write(bytes).await?;
            }
        }
        upload.store_parts().await
    };
    match Box::pin(flow).await {
        Ok(()) => {
            let upload = upload.seal().await?;
            let lock = upload.turn().await?;
            let published = Box::pin(upload.publish(lock)).await?;
            let target = Target::new(destination.clone(), options.id.clone(), attributes);
            believed(published.etag, published.version_id, &target, info.size)
                .await
                .map_err(PublishError::unclear)
        }
        Err(error) => {
            upload.abandon().await;
            warn!(from = source.key, to = destination.key, %error, "a copy between stores failed");
            Err(error.into())
        }
    }
}
