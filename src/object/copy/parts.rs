//! A copy inside a store by UploadPartCopy, part after part in parallel.

use crate::object::copy::whole::Written;
use crate::object::error::ObjectError;
use crate::object::head::{Attributes, ObjectInfo};
use crate::object::location::Location;
use crate::object::multipart::{
    AbortMode, CompleteError, CopySource, Created, PartSource, Target, whole_etag,
};
use crate::object::name_lock::{NameLock, Patience};
use crate::object::part_sizes::{copy_ranges, equal_copy_ranges};
use crate::object::precondition::Precondition;
use crate::object::publish_error::PublishError;
use crate::object::verify::{LateWrite, WriteCheck, look_until};
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::oneshot;
use tracing::Instrument;

/// Ranges of one object that are copied at once.
const PARALLEL: usize = 8;

/// A copy larger than one CopyObject may be, or under a precondition that the store honours of a
/// CompleteMultipartUpload only. `tagging` as in `x-amz-tagging`; `lock` is that of the name, if the
/// caller has it already.
pub(super) async fn copy_parts(
    source: &Location,
    info: &ObjectInfo,
    target: &Target,
    precondition: &Precondition,
    tagging: Option<String>,
    lock: Option<&NameLock>,
) -> Result<Written, PublishError> {
    let created = create(target, tagging).await?;
    let abort = AbortOnDrop::new(target, &created);
    let ranges = match target.location.store.config().equal_parts {
        true => equal_copy_ranges(info.size),
        false => copy_ranges(info.size),
    };
    let from = CopySource {
        at: source,
        etag: &info.etag,
        key: source.key_of(&info.attributes),
    };
    let parts = stream::iter((1..).zip(ranges))
        .map(|(number, range)| target.copy_part(&created, number, from, range))
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await;
    // The parts take their time, and are nothing that others could see: the name is locked for the
    // Complete only.
    let locked = match parts {
        Ok(parts) => match lock {
            Some(_) => Ok((parts, None)),
            None => {
                let lock = target.location.lock(Patience::Upload).await;
                lock.map(|lock| (parts, Some(lock)))
            }
        },
        // A part has no other condition than that the source is still the same.
        Err(ObjectError::Conflict) => Err(ObjectError::Changed),
        Err(error) => Err(error),
    };
    let failed = match locked {
        Ok((parts, _lock)) => match target.complete(&created, parts, precondition).await {
            Ok(completed) => {
                let written = believed(completed.etag, completed.version_id, target, info.size);
                if let Ok(written) = written.await {
                    abort.defuse();
                    return Ok(written);
                }
                CompleteError {
                    error: ObjectError::Lost,
                    abort: AbortMode::LookFirst,
                }
            }
            Err(failed) => failed,
        },
        Err(error) => CompleteError {
            error,
            abort: AbortMode::AtOnce,
        },
    };
    abort.defuse();
    target.abort(&created.upload_id, failed.abort).await;
    Err(match failed.abort {
        AbortMode::AtOnce => failed.error.into(),
        AbortMode::LookFirst => PublishError::unclear(failed.error),
    })
}

/// A write that was answered by an ETag is there. Without one a HEAD must show it.
pub(super) async fn believed(
    etag: Option<String>,
    version_id: Option<String>,
    target: &Target,
    size: u64,
) -> Result<Written, ObjectError> {
    if whole_etag(etag.as_deref()).is_some() {
        return Ok(Written {
            etag,
            version_id,
            ..Written::default()
        });
    }
    match look_until(
        &target.location,
        &target.id,
        Some(size),
        LateWrite::Possible,
    )
    .await
    {
        WriteCheck::Ours(info) => Ok(Written::seen(&info)),
        check => Err(check.unless_unseen(ObjectError::Lost)),
    }
}

/// CreateMultipartUpload, by a task that always ends: if the caller is dropped meanwhile, the task
/// aborts the upload.
async fn create(target: &Target, tagging: Option<String>) -> Result<Created, ObjectError> {
    let (sender, created) = oneshot::channel();
    let cleanups = target.location.store.context().cleanups.clone();
    let target = target.clone();
    let create = async move {
        let created = target.create(tagging, PartSource::Copied).await;
        if let Err(Ok(created)) = sender.send(created) {
            target.abort(&created.upload_id, AbortMode::AtOnce).await;
        }
    };
    cleanups.spawn(create.in_current_span());
    created
        .await
        .map_err(|_| ObjectError::Other("CreateMultipartUpload was cut off".to_owned()))?
}

/// Aborts a multipart copy whose caller has gone away.
struct AbortOnDrop {
    left: Option<(Target, Created)>,
}

impl AbortOnDrop {
    fn new(target: &Target, created: &Created) -> Self {
        let target = Target {
            location: target.location.clone(),
            staged: target.staged.clone(),
            id: target.id.clone(),
            attributes: Attributes::default(),
        };
        AbortOnDrop {
            left: Some((target, created.clone())),
        }
    }

    fn defuse(mut self) {
        self.left = None;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some((target, created)) = self.left.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let cleanups = target.location.store.context().cleanups.clone();
            let abort = async move { target.abort(&created.upload_id, AbortMode::LookFirst).await };
            cleanups.spawn_on(abort, &runtime);
        }
    }
}
