//! An upload that resumes an interrupted one.

use std::sync::Arc;

use bytes::Buf;
use tracing::Instrument;

use crate::memory::{Admission, Budget};
use crate::object::checksum::Integrity;
use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::{Attributes, ObjectInfo};
use crate::object::location::Location;
use crate::object::multipart::{AbortMode, Created, Target, abort_upload};
use crate::object::part_sizes::PartSizes;
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::tail::TailNote;
use crate::object::resume::record::ScheduleNote;
use crate::object::resume::record_task::RecordHandle;
use crate::object::resume::resumable::ResumableUpload;
use crate::object::resume::scope::ResumeScope;
use crate::object::upload::running::{Origin, Retention, Upload};
use crate::object::upload::sending::{InFlight, Sending};

impl ResumableUpload {
    /// Whether there is the memory for its next part: a process that has more may have begun it.
    pub fn fits_into(&self, budget: &Budget) -> bool {
        let next = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let copied = self.record.upload.as_ref().map_or(0, |open| open.copied);
        let sizes = self.record.schedule;
        let part_sizes = PartSizes::new(sizes.first, sizes.largest);
        let part = part_sizes.size(next.saturating_add(1).saturating_sub(copied));
        self.parts.is_empty() || budget.can_hold(part)
    }
}

impl Upload {
    /// Takes the record over, so that no other session does ([`ObjectError::Conflict`] if one was
    /// quicker), and reads the tail back into the part it belongs to. The upload then stands at
    /// [`ResumableUpload::overlap`] bytes beyond [`ResumableUpload::reported_len`], and is
    /// published under the condition that the object is still the one that was there. If this
    /// fails, everything stays as it was.
    pub async fn resume(
        location: Location,
        admission: Admission,
        keep: ResumeScope,
        mut kept: ResumableUpload,
    ) -> Result<Upload, ObjectError> {
        let budget = &location.store.context().budget;
        // What the parts are encrypted with was said when the upload was created.
        let location = location.encrypting_as(&kept.record.attributes);
        let open = kept.record.upload.as_ref().filter(|_| kept.open);
        let state = Location {
            bucket: keep.state_bucket.clone(),
            ..location.clone()
        };
        let staged = match open {
            Some(open) => open.key.as_ref().map(|_| open.at(&location, &state)),
            None => keep.staged_at(&location),
        };
        let fits = budget.can_hold(kept.record.schedule.first);
        if kept.parts.is_empty() && (!fits || staged.is_some()) {
            // No part is there that the schedule is of.
            let (first, largest) = location.part_sizes().sizes();
            kept.record.schedule = ScheduleNote { first, largest };
        }
        let target = Target::new(location, kept.transfer(), kept.record.attributes.clone())
            .staged_at(staged);
        let sizes = kept.record.schedule;
        let sizes = PartSizes::new(sizes.first, sizes.largest);
        let mut upload = Upload::blank(target, kept.precondition.clone(), Some(admission), sizes);
        upload.origin = Origin::Resumed {
            old_bytes: kept.size(),
        };
        upload.retention = Retention::UntilStored;
        upload.may_store_pieces(&keep);
        let tail_bucket = keep.state_bucket.clone();
        let failed = upload.failed.clone();
        let record = RecordHandle::take_over(&upload.target, keep, &kept, failed).await?;
        if let Some(copied) = kept.record.upload.as_ref().filter(|_| !kept.open)
            && copied.copied > 0
        {
            // Not all of what it was to begin with is in it: it is copied anew.
            let (at, id) = (
                copied.at(&upload.target.location, &state),
                copied.id.clone(),
            );
            let aborted = async move { abort_upload(&at, &id).await };
            let cleanups = &upload.resources.cleanups;
            cleanups.spawn(aborted.in_current_span());
        }
        let mut restoring = RestoringUpload {
            reopened: upload.reopen(&kept),
            upload: Some(upload),
            record: Some(record),
        };
        if let Some(tail) = &kept.tail {
            Box::pin(restoring.read_tail(tail_bucket, tail, kept.skip)).await?;
        }
        restoring.done()
    }

    /// Takes up the multipart upload of an interrupted upload, and its parts, if it is open.
    fn reopen(&mut self, kept: &ResumableUpload) -> bool {
        let Some(open) = kept.record.upload.as_ref().filter(|_| kept.open) else {
            return false;
        };
        let mut flight = InFlight::new(PendingCreate::known(Created {
            upload_id: open.id.as_str().into(),
            integrity: match open.crc32 {
                true => Integrity::Crc32,
                false => Integrity::Signed,
            },
            at: tokio::time::Instant::now(),
        }));
        flight.copied = open.copied;
        flight.done.clone_from(&kept.parts);
        self.sending = Sending::Multipart(flight);
        self.filling.number = u32::try_from(kept.parts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        self.filling.taken = kept.parts.iter().map(|part| part.size).sum();
        true
    }
}

/// An upload whose tail is being read. If it is dropped, everything stays as it was: its record is
/// not written before all of the tail is read.
struct RestoringUpload {
    /// Taken out at the end, like the record.
    upload: Option<Upload>,
    record: Option<RecordHandle>,
    /// Whether its multipart upload is that of the interrupted upload.
    reopened: bool,
}

impl RestoringUpload {
    /// Reads a tail, piece by piece; the first `skip` bytes of it are in parts already.
    async fn read_tail(
        &mut self,
        state_bucket: Arc<str>,
        tail: &TailNote,
        mut skip: u64,
    ) -> Result<(), ObjectError> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let state = Location {
            bucket: state_bucket,
            ..upload.target.location.clone()
        };
        for piece in &tail.pieces {
            let at = Location {
                key: tail.piece_key(piece),
                ..state.clone()
            };
            let info = ObjectInfo {
                size: piece.size,
                etag: piece.etag.clone(),
                modified: jiff::Timestamp::UNIX_EPOCH,
                attributes: Attributes::default(),
            };
            // A whole file is copied inside the store as far as it can be.
            let copied = match upload.target.staged.is_some() && upload.filling.size() + skip == 0 {
                true if piece.size > upload.sizes.size(1) => {
                    let attributes = upload.target.attributes.clone();
                    Box::pin(upload.copy_first(&at, &piece.etag, &attributes, piece.size)).await?
                }
                _ => 0,
            };
            if copied == piece.size {
                continue;
            }
            let mut body = Download::open_pinned(at, &info, copied..piece.size).await?;
            let mut read = copied;
            let mut crc = crc32fast::Hasher::new();
            while let Some(mut bytes) = body.next().await? {
                crc.update(&bytes);
                read += bytes.len() as u64;
                // At most the length of what is in memory.
                let passed = skip.min(bytes.len() as u64);
                skip -= passed;
                bytes.advance(usize::try_from(passed).unwrap_or(usize::MAX));
                upload.write(bytes).await?;
            }
            let right = copied > 0 || piece.crc32.is_none_or(|crc32| crc32 == crc.finalize());
            if read != piece.size || !right {
                return Err(ObjectError::Integrity(
                    "the tail of the upload is not what was stored".to_owned(),
                ));
            }
        }
        Ok(())
    }
    /// All of the tail is read: the record is written from now on.
    fn done(mut self) -> Result<Upload, ObjectError> {
        let (Some(mut upload), Some(mut record)) = (self.upload.take(), self.record.take()) else {
            return Err(ObjectError::Other("the upload is restored".to_owned()));
        };
        match &upload.sending {
            Sending::Multipart(flight) => record.opened(&flight.create, flight.copied),
            // The record is refreshed all the same, so that other replicas do not take this process
            // for dead.
            Sending::Single { .. } => record.start_task(),
        }
        upload.record = Some(record);
        Ok(upload)
    }
}

impl Drop for RestoringUpload {
    fn drop(&mut self) {
        if let (Some(mut upload), Some(record)) = (self.upload.take(), self.record.take()) {
            // The parts of the interrupted upload stay. A multipart upload that was opened since,
            // for a tail that is more than a part, is aborted.
            let abort = (!self.reopened).then_some(AbortMode::AtOnce);
            record.restored(upload.take_cleanup(abort));
        }
    }
}
