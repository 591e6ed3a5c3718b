//! CopyObject: sent once, waited for as long as it takes, and believed only with an ETag.
//!
//! A store may copy for minutes before it answers, or say 200 at once and send white space until it
//! is done. A second request would only make it copy twice. So the SDK does not repeat the request:
//! it may take as long as all attempts of another request. While the store is silent, and before
//! the request is sent again, a HEAD of the target looks for the transfer id. An answer without an
//! ETag says nothing either way: it is settled by the same look.

use std::time::Duration;

use aws_sdk_s3::types::{MetadataDirective, TaggingDirective};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tracing::debug;

use crate::object::attributes::{with_key, with_source_key};
use crate::object::backoff::Backoff;
use crate::object::error::{ObjectError, RequestFailure, failure};
use crate::object::head::{ObjectInfo, timestamp, with_attributes};
use crate::object::keys;
use crate::object::location::Location;
use crate::object::multipart::{Target, whole_etag};
use crate::object::precondition::{Precondition, PreconditionHeaders};
use crate::object::publish_error::PublishError;
use crate::object::retry::{Attempts, LookFirst};
use crate::object::verify::{LateWrite, WriteCheck, look, look_until, look_within};

/// A copy that is there.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// Its LastModified, if the store has said it.
    pub modified: Option<Timestamp>,
    /// Whether nothing was there before.
    pub replaced_nothing: bool,
    /// Its ETag, if the store has said it.
    pub etag: Option<String>,
    /// Its version, if the store keeps versions and has said which.
    pub version_id: Option<String>,
}

impl Written {
    /// As a HEAD shows it.
    pub(super) fn seen(info: &ObjectInfo) -> Self {
        Written {
            modified: Some(info.modified),
            replaced_nothing: false,
            etag: Some(info.etag.clone()),
            version_id: None,
        }
    }

    /// Under a pin that has held.
    pub(super) fn under(self, precondition: &Precondition) -> Self {
        Written {
            replaced_nothing: *precondition == Precondition::Absent,
            ..self
        }
    }
}

/// CopyObject, under the lock of the target's name.
pub(super) async fn copy_whole(
    source: &Location,
    info: &ObjectInfo,
    target: &Target,
    precondition: &Precondition,
) -> Result<Written, PublishError> {
    let store = &target.location.store;
    // Of all stores only AWS is known to honour a condition on the target of a copy; the others may
    // ignore it.
    let aws = store.config().endpoint.is_none();
    let absent = *precondition == Precondition::Absent && aws;
    let conditions = match aws {
        true => precondition.conditions(&target.location).await?,
        false => PreconditionHeaders::default(),
    };
    let size = Some(info.size);
    let rounds = store.config().attempts.max(1);
    let mut round = 0;
    // Whether a round may have copied unseen, or may still do it.
    let mut open = false;
    loop {
        if !absent {
            // In each round: another client may have written the name since the last one.
            precondition.check(&target.location).await?;
        }
        let begun = Instant::now();
        let attempts = Attempts::after(round);
        let failure = match copy_once(source, info, target, &conditions, attempts).await {
            Ok(written) => return Ok(written),
            Err(failure) => failure,
        };
        if conditions.if_match.is_some() && matches!(failure.error, ObjectError::NotFound) {
            // The source is not there, or the target that it must replace.
            precondition.check(&target.location).await?;
        }
        let refused = failure.condition_failed();
        let unclear =
            failure.ambiguous() || failure.concurrent_write() || failure.error.transient();
        if !refused && !unclear && round == 0 {
            return Err(failure.error.into());
        }
        debug!(key = target.location.key, transfer = %target.id, error = %failure.error, round,
            "a copy has no clear answer");
        // After that much time the store, or what stands before it, is slow: it may still be
        // copying.
        let took = begun.elapsed();
        let late = took >= store.config().request_timeout.min(SLOW);
        let last = refused || !unclear || late || round + 1 == rounds;
        let check = if late && !failure.answered() {
            let patience = (3 * took).min(store.copy_silence(info.size));
            look_within(
                &target.location,
                &target.id,
                size,
                LateWrite::Possible,
                patience,
            )
            .await
        } else {
            let write = match last && unclear && !failure.answered() {
                true => LateWrite::Possible,
                false => LateWrite::Impossible,
            };
            look_until(&target.location, &target.id, size, write).await
        };
        let unseen = matches!(check, WriteCheck::Unknown(_));
        open |= failure.ambiguous() && (unseen || !failure.answered());
        // But for a condition on the target it is the source that is another now.
        let error = match &check {
            WriteCheck::Other(_) if absent => failure.error,
            // The source that a condition on its target is combined with is a file of our own.
            _ if refused && conditions.if_match.is_some() => ObjectError::Conflict,
            _ if refused => ObjectError::Changed,
            _ => failure.error,
        };
        match check {
            WriteCheck::Ours(info) => return Ok(Written::seen(&info)),
            WriteCheck::Unknown(ObjectError::Denied(_))
            | WriteCheck::Other(_)
            | WriteCheck::Absent
                if !last => {}
            check if open => return Err(PublishError::unclear(check.unless_unseen(error))),
            check => return Err(check.unless_unseen(error).into()),
        }
        round += 1;
        PAUSES.pause(round).await;
    }
}

/// Between two attempts.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(300));

/// A request that has failed after that time may still be carried out.
const SLOW: Duration = Duration::from_secs(10);

/// One CopyObject. Whenever the store has been silent for the time of a request, a HEAD looks
/// whether it is done.
async fn copy_once(
    source: &Location,
    info: &ObjectInfo,
    target: &Target,
    conditions: &PreconditionHeaders,
    attempts: Attempts,
) -> Result<Written, RequestFailure> {
    let store = &target.location.store;
    let tags = match target.attributes.tagging {
        Some(_) => TaggingDirective::Replace,
        None => TaggingDirective::Copy,
    };
    let request = with_attributes!(store.client().copy_object(), &target.attributes)
        .bucket(&*target.location.bucket)
        .key(&target.location.key)
        .copy_source(keys::copy_source(&source.bucket, &source.key))
        .copy_source_if_match(&info.etag)
        .metadata_directive(MetadataDirective::Replace)
        .tagging_directive(tags)
        .set_if_none_match(conditions.if_none_match.clone())
        .set_if_match(conditions.if_match.clone());
    let request = with_key!(request, target.key());
    let request = with_source_key!(request, source.key_of(&info.attributes))
        .customize()
        .interceptor(attempts)
        .config_override(
            store
                .deadline_for_copy(info.size)
                .retry_classifier(LookFirst),
        );
    let mut answer = Box::pin(request.send());
    let output = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer.map_err(failure)?,
            () = sleep(store.config().request_timeout) => {}
        }
        if let WriteCheck::Ours(info) = look(&target.location, &target.id, Some(info.size)).await {
            return Ok(Written::seen(&info));
        }
    };
    let result = output.copy_object_result();
    match whole_etag(result.and_then(|result| result.e_tag())) {
        Some(etag) => Ok(Written {
            modified: timestamp(result.and_then(|result| result.last_modified())),
            replaced_nothing: false,
            etag: Some(etag.to_owned()),
            version_id: output.version_id().map(str::to_owned),
        }),
        None => Err(RequestFailure::unclear(
            "CopyObject was answered without an ETag",
        )),
    }
}
