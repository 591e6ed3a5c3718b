//! Publishing: one PutObject, or CompleteMultipartUpload; answers that were lost are looked for.

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::sleep;
use tracing::warn;

use crate::object::checksum::crc_header;
use crate::object::echo::{Echo, Echoed};
use crate::object::error::{ObjectError, RequestFailure, failure};
use crate::object::head::with_attributes;
use crate::object::name_lock::{NameLock, Patience};
use crate::object::parts::part::{Part, Payload, RetainedPart};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::precondition::PreconditionHeaders;
use crate::object::upload::{Published, Upload};
use crate::object::verify::{WriteCheck, is_by, look, look_until};

/// How often a PutObject that met another write of the same key is sent again.
const CONFLICT_ROUNDS: u32 = 4;

/// A body of up to so many bytes is one write to the connection: there is no progress to be watched.
const SMALL: u64 = 64 * 1024;

impl Upload {
    /// The lock of the name, if no other session has it: what [`Upload::publish`] needs.
    pub fn try_turn(&self) -> Option<NameLock> {
        self.target.location.try_lock()
    }

    /// Waits for the lock of the name. [`ObjectError::Busy`] if other sessions still write it when
    /// the patience for uploads is over. Cancel safe.
    pub async fn turn(&self) -> Result<NameLock, ObjectError> {
        self.target.location.lock(Patience::Upload).await
    }

    /// PutObject or CompleteMultipartUpload, under the lock of the name, which is held until the
    /// store's answer is clear: the condition is looked at, written and, if the answer is lost,
    /// looked for without another session of this process in between. Ambiguous answers are settled
    /// by a HEAD that looks for the transfer id. To be called after [`Upload::seal`].
    pub async fn publish(mut self, lock: NameLock) -> Result<Published, ObjectError> {
        if !self.target.location.is_locked_by(&lock) {
            return Err(ObjectError::Other(
                "published under another lock".to_owned(),
            ));
        }
        self.seal().await?;
        let published = match self.create.clone() {
            Some(create) => Box::pin(self.publish_parts(create)).await,
            None => Box::pin(self.publish_whole()).await,
        };
        drop(lock);
        published
    }

    /// CompleteMultipartUpload.
    pub(super) async fn publish_parts(
        mut self,
        create: PendingCreate,
    ) -> Result<Published, ObjectError> {
        let created = create.created().await?;
        let parts = self.done.clone();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let sent: u64 = parts.iter().map(|part| part.size).sum();
        if sent != self.size() {
            // Can't be; and must never be published if it is.
            return Err(ObjectError::Integrity(format!(
                "{sent} bytes are in parts, {} were taken",
                self.size()
            )));
        }
        // Should this be dropped in the middle, the clean-up looks before it aborts.
        self.undecided = true;
        match self
            .target
            .complete(&created, parts, &self.precondition)
            .await
        {
            Ok(completed) => {
                self.create = None;
                self.seen(sent).await?;
                self.published();
                Ok(Published {
                    size: sent,
                    etag: completed.etag,
                    parts: count,
                })
            }
            Err(failed) => {
                self.undecided = failed.undecided;
                self.keepable = later(&failed.error);
                Err(self.limited(failed.error))
            }
        }
    }

    /// PutObject.
    pub(super) async fn publish_whole(mut self) -> Result<Published, ObjectError> {
        let part = match self.held.take() {
            Some((_, part)) => part,
            None => std::mem::take(&mut self.part),
        };
        self.buffer = BytesMut::new();
        let store = &self.target.location.store;
        let integrity = store.integrity(&self.target.location.bucket).await;
        // What lies in pieces stays as it is until it is published.
        let part = RetainedPart::new(part);
        let in_pieces = self.pieces.clone().filter(|_| part.has_pieces());
        let (whole, part) = match in_pieces {
            Some(pieces) => (Box::pin(pieces.read_back(&part)).await, Some(part)),
            None => (Ok(part.take()), None),
        };
        let payload = whole.map(|whole| Part::into_payload(whole, integrity));
        let published = match &payload {
            Ok(payload) => self.put_until_clear(payload).await,
            Err(error) => Err(error.clone()),
        };
        match published {
            Ok(published) => {
                self.published();
                Ok(published)
            }
            Err(error) => {
                self.keepable = payload.is_err() || later(&error);
                self.number = 1;
                self.part = match (part, payload) {
                    (Some(part), _) => part.take(),
                    (None, payload) => payload.map(Payload::into_part).unwrap_or_default(),
                };
                Err(error)
            }
        }
    }

    /// An upload that was gone on with looks at what it has published. S3 may order a Complete by the time of its Create,
    /// so an object that was written in between may hide this one; and another process, taken for dead, may have
    /// completed the same upload with fewer parts, which S3 then answers as if it were ours.
    async fn seen(&self, size: u64) -> Result<(), ObjectError> {
        if !self.resumed {
            return Ok(());
        }
        let location = &self.target.location;
        match look_until(location, &self.target.id, Some(size), false).await {
            WriteCheck::Ours(_) => Ok(()),
            // What was there has been compared, by the store or, where that ignores it at a Complete, right before: this
            // one has come after ours, or while it was completed.
            WriteCheck::Other(info)
                if !is_by(&info, &self.target.id)
                    && location.store.conditional_writes(&location.bucket).await =>
            {
                Ok(())
            }
            check => Err(check.unless_unseen(ObjectError::Superseded)),
        }
    }

    /// The object is there: what was written beside it goes.
    fn published(&mut self) {
        if let Some(mut journal) = self.journal.take() {
            if let Some(pieces) = &self.pieces {
                journal.unstored(pieces.key());
            }
            journal.published();
        }
        if let Some(pieces) = &self.pieces {
            pieces.remove_alongside(pieces.live_but(&[]));
        }
    }

    async fn put_until_clear(&self, payload: &Payload) -> Result<Published, ObjectError> {
        let store = &self.target.location.store;
        let published = |etag| Published {
            size: payload.size,
            etag,
            parts: 0,
        };
        let size = Some(payload.size);
        let mut round = 0;
        loop {
            let conditions = match self.precondition.conditions(&self.target.location).await {
                // What is there may be what the round before has written.
                Err(ObjectError::Conflict) if round > 0 => {
                    return match look_until(&self.target.location, &self.target.id, size, false)
                        .await
                    {
                        WriteCheck::Ours(info) => Ok(published(Some(info.etag))),
                        check => Err(check.unless_unseen(ObjectError::Conflict)),
                    };
                }
                conditions => conditions?,
            };
            let failure = match self.put(payload, conditions).await {
                Ok((etag, Echoed::AsEver)) => return Ok(published(etag)),
                Ok((etag, Echoed::Missing)) => {
                    match look_until(&self.target.location, &self.target.id, size, false).await {
                        WriteCheck::Ours(_) => {
                            store.echoes().put.missed();
                            return Ok(published(etag));
                        }
                        // Nothing speaks against the answer but this.
                        WriteCheck::Unknown(ObjectError::Denied(_)) => return Ok(published(etag)),
                        WriteCheck::Unknown(error) => return Err(error),
                        WriteCheck::Other(_) | WriteCheck::Absent if round == CONFLICT_ROUNDS => {
                            return Err(Echo::missing());
                        }
                        WriteCheck::Other(_) | WriteCheck::Absent => {
                            sleep(Duration::from_millis(100 << round)).await;
                            round += 1;
                            continue;
                        }
                    }
                }
                Err(failure) => failure,
            };
            let condition = failure.condition_failed()
                || (self.precondition.wants_object()
                    && matches!(failure.error, ObjectError::NotFound));
            if condition || failure.concurrent_write() {
                match look_until(&self.target.location, &self.target.id, size, false).await {
                    // An earlier attempt of ours was carried out, and its answer lost.
                    WriteCheck::Ours(info) => return Ok(published(Some(info.etag))),
                    check if condition => return Err(check.unless_unseen(ObjectError::Conflict)),
                    _ if round == CONFLICT_ROUNDS => return Err(failure.error),
                    _ => {
                        sleep(Duration::from_millis(100 << round)).await;
                        round += 1;
                        continue;
                    }
                }
            }
            if !failure.ambiguous() {
                // A refusal of the last attempt tells nothing of those before it.
                if store.config().attempts > 1
                    && !failure.stored_wrong()
                    && let WriteCheck::Ours(info) =
                        look(&self.target.location, &self.target.id, size).await
                {
                    return Ok(published(Some(info.etag)));
                }
                return Err(self.limited(failure.error));
            }
            warn!(key = self.target.location.key, transfer = %self.target.id, error = %failure.error,
                "PutObject has no clear answer");
            // A server error is an answer; a request without one may still take effect.
            let patient = !failure.answered();
            return match look_until(&self.target.location, &self.target.id, size, patient).await {
                WriteCheck::Ours(info) => Ok(published(Some(info.etag))),
                _ => Err(failure.error),
            };
        }
    }

    async fn put(
        &self,
        payload: &Payload,
        conditions: PreconditionHeaders,
    ) -> Result<(Option<String>, Echoed), RequestFailure> {
        let target = &self.target;
        let store = &target.location.store;
        let request = with_attributes!(store.client().put_object(), &target.attributes)
            .bucket(&*target.location.bucket)
            .key(&target.location.key)
            .set_checksum_crc32(payload.crc.map(crc_header))
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match)
            .body(payload.body())
            .customize();
        let request = match payload.crc {
            Some(_) => request.disable_payload_signing(),
            None => request,
        };
        // The store's own settings suit a small body, and cost nothing.
        let request = match payload.size {
            0..=SMALL => request,
            size => request.config_override(store.deadline_for_body(size)),
        };
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let echo = &store.echoes().put;
        let echoed = echo
            .check(payload.crc, output.checksum_crc32())
            .map_err(RequestFailure::of)?;
        Ok((output.e_tag().map(str::to_owned), echoed))
    }

    /// Fills in what too large means here.
    fn limited(&self, error: ObjectError) -> ObjectError {
        match error {
            ObjectError::TooLarge { .. } => ObjectError::TooLarge {
                limit: self.target.location.store.largest_object(),
            },
            error => error,
        }
    }
}

/// Whether the same bytes can be published later: the store was at fault, not they.
fn later(error: &ObjectError) -> bool {
    error.can_go_on() && !matches!(error, ObjectError::Integrity(_))
}
