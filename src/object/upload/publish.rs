//! Publishing: one PutObject, or CompleteMultipartUpload; answers that were lost are looked for.

use std::time::Duration;

use aws_sdk_s3::config::Builder;
use bytes::BytesMut;
use tracing::warn;

use crate::object::attributes::with_key;
use crate::object::backoff::Backoff;
use crate::object::checksum::{Integrity, crc_header};
use crate::object::echo::{Echo, Echoed};
use crate::object::error::{ObjectError, RequestFailure, failure};
use crate::object::head::{ObjectInfo, with_attributes};
use crate::object::multipart::AbortMode;
use crate::object::name_lock::{NameLock, Patience};
use crate::object::parts::cleanup::remove_staged;
use crate::object::parts::part::{Part, Payload, RetainedPart};
use crate::object::precondition::{Precondition, PreconditionHeaders};
use crate::object::publish_error::{OnFailure, PublishError};
use crate::object::retry::{Attempts, Sent};
use crate::object::upload::Published;
use crate::object::upload::running::{Origin, Upload};
use crate::object::upload::sending::Sending;
use crate::object::verify::{LateWrite, WriteCheck, is_by, look, look_until};

/// How often a PutObject that met another write of the same key is sent again.
const CONFLICT_ROUNDS: u32 = 4;

/// The pauses before that.
const CONFLICT_PAUSES: Backoff = Backoff::doubling(Duration::from_millis(100));

/// A body of up to this size, bytes, is one write to the connection: there is no progress to be
/// watched.
const SMALL: u64 = 64 * 1024;

/// An upload whose bytes are all in the store, or in memory if they are one PutObject. Dropping it
/// before it is published is like dropping an [`Upload`].
#[derive(Debug)]
pub struct SealedUpload {
    pub(super) upload: Upload,
    /// How its multipart upload is to be aborted; `None` once that is completed.
    pub(super) abort: Option<AbortMode>,
    pub(super) on_failure: OnFailure,
    /// Whether a PutObject of all of it was sent.
    pub(super) put_sent: bool,
}

/// What the answer to a PutObject says of the object.
struct PutAnswer {
    etag: Option<String>,
    version_id: Option<String>,
}

impl Upload {
    /// The client's bytes have ended: sends the last part off and waits until all parts are there.
    /// What fits in one part sends nothing yet. If this is dropped, the upload is dropped.
    pub async fn seal(mut self) -> Result<SealedUpload, ObjectError> {
        self.store_parts().await?;
        Ok(SealedUpload {
            upload: self,
            abort: Some(AbortMode::AtOnce),
            on_failure: OnFailure::Keep,
            put_sent: false,
        })
    }
}

impl SealedUpload {
    /// Bytes that the client has sent; old bytes don't count.
    pub fn received(&self) -> u64 {
        self.upload.received()
    }

    /// The lock of the name, if no other session has it: what [`SealedUpload::publish`] needs.
    pub fn try_turn(&self) -> Option<NameLock> {
        self.upload.target.location.try_lock()
    }

    /// Waits for the lock of the name. [`ObjectError::Busy`] if other sessions still write it when
    /// the patience for uploads is over. Cancel safe.
    pub async fn turn(&self) -> Result<NameLock, ObjectError> {
        self.upload.target.location.lock(Patience::Upload).await
    }

    /// PutObject or CompleteMultipartUpload, under the lock of the name, which is held until the
    /// store's answer is clear: the condition is looked at, written and, if the answer is lost,
    /// looked for without another session of this process in between. Ambiguous answers are settled
    /// by a HEAD that looks for the transfer id; [`PublishError`] says whether one was not.
    pub async fn publish(mut self, lock: NameLock) -> Result<Published, PublishError> {
        if !self.upload.target.location.is_locked_by(&lock) {
            let error = ObjectError::Other("published under another lock".to_owned());
            return Err(error.into());
        }
        if self.upload.target.staged.is_some() {
            let error = ObjectError::Other("published without its copy".to_owned());
            return Err(error.into());
        }
        let published = self.write().await?;
        self.published();
        drop(lock);
        Ok(published)
    }

    /// PutObject or CompleteMultipartUpload, at the staged key or the object.
    pub(super) async fn write(&mut self) -> Result<Published, PublishError> {
        match self.upload.sending.is_multipart() {
            true => Box::pin(self.write_parts()).await,
            false => Box::pin(self.write_whole()).await,
        }
    }

    /// CompleteMultipartUpload.
    async fn write_parts(&mut self) -> Result<Published, PublishError> {
        let Some(flight) = self.upload.sending.in_flight() else {
            return Err(ObjectError::Other("no multipart upload".to_owned()).into());
        };
        let create = flight.create.clone();
        let parts = flight.done.clone();
        let created = create.created().await?;
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let sent: u64 = parts.iter().map(|part| part.size).sum();
        let taken = self.upload.filling.size();
        if sent != taken {
            // Can't be; and must never be published if it is.
            let error = format!("{sent} bytes are in parts, {taken} were taken");
            return Err(ObjectError::Integrity(error).into());
        }
        // If this is dropped in the middle, the clean-up looks before it aborts.
        self.abort = Some(AbortMode::LookFirst);
        let upload = &self.upload;
        match upload
            .target
            .complete(&created, parts, self.precondition())
            .await
        {
            Ok(completed) => {
                self.abort = None;
                self.seen(sent).await?;
                Ok(Published {
                    size: sent,
                    etag: completed.etag,
                    version_id: completed.version_id,
                    crc32: completed.crc32,
                    parts: count,
                })
            }
            Err(failed) => {
                let error = self.limited(failed.error);
                let error = match failed.abort {
                    AbortMode::AtOnce => error.into(),
                    AbortMode::LookFirst => PublishError::unclear(error),
                };
                self.abort = Some(failed.abort);
                self.on_failure = error.on_failure();
                Err(error)
            }
        }
    }

    /// PutObject.
    async fn write_whole(&mut self) -> Result<Published, PublishError> {
        let upload = &mut self.upload;
        let first = match std::mem::take(&mut upload.sending) {
            Sending::Single { first } => first,
            Sending::Multipart(_) => None,
        };
        let mut part = first.unwrap_or_else(|| std::mem::take(&mut upload.filling.part));
        upload.filling.buffer = BytesMut::new();
        let location = upload.target.written_at();
        let integrity = location.store.integrity(&location.bucket).await;
        if integrity == Integrity::Signed {
            part.join();
        }
        // If this is dropped in the middle, it can be stored all the same.
        upload.filling.number = 1;
        upload.filling.part = part.clone();
        // What lies in pieces stays as it is until it is published.
        let part = RetainedPart::new(part);
        let in_pieces = upload.pieces.clone().filter(|_| part.has_pieces());
        let (whole, part) = match in_pieces {
            Some(pieces) => (Box::pin(pieces.read_back(&part)).await, Some(part)),
            None => (Ok(part.take()), None),
        };
        let payload = whole.map(|whole| Part::into_payload(whole, integrity));
        let written = match &payload {
            Ok(payload) => {
                self.put_sent = true;
                self.put_until_clear(payload).await
            }
            Err(error) => Err(error.clone().into()),
        };
        let filling = &mut self.upload.filling;
        match written {
            Ok(written) => {
                filling.part = Part::default();
                Ok(written)
            }
            Err(error) => {
                self.on_failure = match payload {
                    Ok(_) => error.on_failure(),
                    Err(_) => OnFailure::Keep,
                };
                if let Some(part) = part {
                    filling.part = part.take();
                }
                Err(error)
            }
        }
    }

    /// What must hold of what it writes: nothing at a staged key, which no other writes.
    fn precondition(&self) -> &Precondition {
        match self.upload.target.staged {
            Some(_) => &Precondition::None,
            None => &self.upload.precondition,
        }
    }

    /// A resumed upload looks at what it has published. S3 may order a Complete by the time of its
    /// Create, so an object that was written in between may hide this one; and another process,
    /// taken for dead, may have completed the same upload with fewer parts, which S3 then answers
    /// as if it were ours.
    async fn seen(&self, size: u64) -> Result<(), PublishError> {
        if !matches!(self.upload.origin, Origin::Resumed { .. }) {
            return Ok(());
        }
        let location = self.upload.target.written_at();
        match self.check(Some(size), LateWrite::Impossible).await {
            WriteCheck::Ours(_) => Ok(()),
            // What was there has been compared, by the store or, if that ignores it at a Complete,
            // right before: this one has come after ours, or while it was completed.
            WriteCheck::Other(info)
                if !is_by(&info, &self.upload.target.id)
                    && location.store.conditional_writes(&location.bucket).await =>
            {
                Ok(())
            }
            // The store has said that it has it.
            WriteCheck::Unknown(error) => Err(PublishError::unclear(error)),
            WriteCheck::Other(_) | WriteCheck::Absent => Err(ObjectError::Superseded.into()),
        }
    }

    /// The object is there: its record, its pieces and its staged file go.
    pub(super) fn published(&mut self) {
        let upload = &mut self.upload;
        if let Some(mut record) = upload.record.take() {
            if let Some(pieces) = &upload.pieces {
                record.unstored(pieces.key());
            }
            if let Some(staged) = &upload.target.staged {
                record.unstored(&staged.key);
            }
            record.published();
        }
        if let Some(pieces) = &upload.pieces {
            pieces.remove_alongside(pieces.live_but(&[]));
        }
    }

    async fn put_until_clear(&self, payload: &Payload) -> Result<Published, PublishError> {
        let store = &self.upload.target.location.store;
        let written = |written: PutAnswer| Published {
            size: payload.size,
            etag: written.etag,
            version_id: written.version_id,
            crc32: payload.crc,
            parts: 0,
        };
        let found = |info: ObjectInfo| {
            written(PutAnswer {
                etag: Some(info.etag),
                version_id: None,
            })
        };
        let size = Some(payload.size);
        let mut round = 0;
        let attempts = Attempts::default();
        loop {
            let at = self.upload.target.written_at();
            let conditions = match self.precondition().conditions(at).await {
                // What is there may be what the round before has written.
                Err(ObjectError::Conflict) if round > 0 => {
                    return match self.check(size, LateWrite::Impossible).await {
                        WriteCheck::Ours(info) => Ok(found(info)),
                        check => Err(PublishError::after(
                            check,
                            ObjectError::Conflict,
                            Sent::Repeatedly,
                        )),
                    };
                }
                conditions => conditions?,
            };
            let answer = self.put(payload, conditions, &attempts).await;
            let sent = attempts.sent();
            let failure = match answer {
                Ok((answer, Echoed::AsEver)) => return Ok(written(answer)),
                Ok((answer, Echoed::Missing)) => {
                    match self.check(size, LateWrite::Impossible).await {
                        WriteCheck::Ours(_) => {
                            store.echoes().put.missed();
                            return Ok(written(answer));
                        }
                        // Nothing speaks against the answer but this.
                        WriteCheck::Unknown(ObjectError::Denied(_)) => return Ok(written(answer)),
                        WriteCheck::Unknown(error) => return Err(PublishError::unclear(error)),
                        WriteCheck::Other(_) | WriteCheck::Absent if round == CONFLICT_ROUNDS => {
                            return Err(Echo::missing().into());
                        }
                        WriteCheck::Other(_) | WriteCheck::Absent => {
                            round += 1;
                            CONFLICT_PAUSES.pause(round).await;
                            continue;
                        }
                    }
                }
                Err(failure) => failure,
            };
            let condition = failure.condition_failed()
                || (self.precondition().wants_object()
                    && matches!(failure.error, ObjectError::NotFound));
            if condition || failure.concurrent_write() {
                match self.check(size, LateWrite::Impossible).await {
                    // An earlier attempt of ours was carried out, and its answer lost.
                    WriteCheck::Ours(info) => return Ok(found(info)),
                    check if condition => {
                        return Err(PublishError::after(check, ObjectError::Conflict, sent));
                    }
                    _ if round == CONFLICT_ROUNDS => return Err(failure.error.into()),
                    _ => {
                        round += 1;
                        CONFLICT_PAUSES.pause(round).await;
                        continue;
                    }
                }
            }
            if !failure.ambiguous() {
                let error = self.limited(failure.error.clone());
                if sent == Sent::Once || failure.stored_wrong() {
                    return Err(error.into());
                }
                let target = &self.upload.target;
                return match look(target.written_at(), &target.id, size).await {
                    WriteCheck::Ours(info) => Ok(found(info)),
                    WriteCheck::Other(_) | WriteCheck::Absent => Err(error.into()),
                    WriteCheck::Unknown(_) => Err(PublishError::unclear(error)),
                };
            }
            let target = &self.upload.target;
            warn!(key = target.location.key, transfer = %target.id, error = %failure.error,
                "PutObject has no clear answer");
            // A server error is an answer; a request without one may still take effect.
            let write = match failure.answered() {
                true => LateWrite::Impossible,
                false => LateWrite::Possible,
            };
            return match self.check(size, write).await {
                WriteCheck::Ours(info) => Ok(found(info)),
                WriteCheck::Other(_) | WriteCheck::Absent if write == LateWrite::Impossible => {
                    Err(failure.error.into())
                }
                _ => Err(PublishError::unclear(failure.error)),
            };
        }
    }

    /// Looks at the object until it is seen to be ours or not, or the time is over.
    async fn check(&self, size: Option<u64>, late: LateWrite) -> WriteCheck {
        let target = &self.upload.target;
        look_until(target.written_at(), &target.id, size, late).await
    }

    async fn put(
        &self,
        payload: &Payload,
        conditions: PreconditionHeaders,
        attempts: &Attempts,
    ) -> Result<(PutAnswer, Echoed), RequestFailure> {
        let target = &self.upload.target;
        let store = &target.location.store;
        let attributes = target.written_attributes();
        let request = with_attributes!(store.client().put_object(), &attributes)
            .bucket(&*target.written_at().bucket)
            .key(&target.written_at().key)
            .set_checksum_crc32(payload.crc.map(crc_header))
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match)
            .body(payload.body());
        let request = with_key!(request, target.key()).customize();
        let request = match payload.crc {
            Some(_) => request.disable_payload_signing(),
            None => request,
        };
        // The store's own settings suit a small body, and cost nothing.
        let mut settings = match payload.size {
            0..=SMALL => Builder::default(),
            size => store.deadline_for_body(size),
        };
        settings.push_interceptor(attempts.counting());
        let request = request.config_override(settings);
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let echo = &store.echoes().put;
        let echoed = echo
            .check(payload.crc, output.checksum_crc32())
            .map_err(RequestFailure::of)?;
        let written = PutAnswer {
            etag: output.e_tag().map(str::to_owned),
            version_id: output.version_id().map(str::to_owned),
        };
        Ok((written, echoed))
    }

    /// Fills in what too large means here.
    fn limited(&self, error: ObjectError) -> ObjectError {
        match error {
            ObjectError::TooLarge { .. } => ObjectError::TooLarge {
                limit: self.upload.target.location.largest_object(),
            },
            error => error,
        }
    }
}

impl Drop for SealedUpload {
    fn drop(&mut self) {
        let upload = &self.upload;
        if self.put_sent
            && upload.staged.is_none()
            && let Some(at) = upload.target.staged.clone()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // It may be there; what is stored of the upload is elsewhere.
            let cleanups = upload.resources.cleanups.clone();
            cleanups.spawn_on(async move { remove_staged(&at).await }, &runtime);
        }
        self.upload.break_off(self.abort, self.on_failure);
    }
}
