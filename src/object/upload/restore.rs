//! An upload that goes on from what was kept of it.

use bytes::Buf;

use crate::memory::{Admission, Budget};
use crate::object::checksum::Integrity;
use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::ObjectInfo;
use crate::object::location::Location;
use crate::object::multipart::{Created, Target};
use crate::object::part_sizes::PartSizes;
use crate::object::parts::pending_create::PendingCreate;
use crate::object::resume::lookup::ResumableUpload;
use crate::object::resume::record::{ResumeScope, ScheduleNote, TailNote};
use crate::object::resume::record_task::RecordHandle;
use crate::object::upload::Upload;

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
    /// Goes on: takes the record over, so that nobody else does ([`ObjectError::Conflict`] where somebody was quicker),
    /// and reads the tail back into the part it belongs to. The upload then stands at [`ResumableUpload::overlap`] bytes beyond
    /// [`ResumableUpload::reported_len`], and is published under the condition that the object is still the one that was there.
    /// Where this fails, everything stays kept.
    pub async fn resume(
        location: Location,
        admission: Admission,
        keep: ResumeScope,
        mut kept: ResumableUpload,
    ) -> Result<Upload, ObjectError> {
        let budget = &location.store.context().budget;
        if kept.parts.is_empty() && !budget.can_hold(kept.record.schedule.first) {
            // No part is there that the schedule is of.
            let (first, largest) = location.store.part_sizes().sizes();
            kept.record.schedule = ScheduleNote { first, largest };
        }
        let target = Target::new(location, kept.transfer(), kept.record.attributes.clone());
        let sizes = kept.record.schedule;
        let part_sizes = PartSizes::new(sizes.first, sizes.largest);
        let mut upload = Upload::blank(
            target,
            kept.precondition.clone(),
            Some(admission),
            part_sizes,
        );
        upload.resumed = true;
        upload.restoring = true;
        upload.may_store_pieces(&keep);
        let tail_bucket = keep.state_bucket.clone();
        let journal =
            RecordHandle::take_over(&upload.target, keep, &kept, upload.failed.clone()).await?;
        upload.journal = Some(journal);
        if let Some(open) = &kept.record.upload
            && kept.open
        {
            upload.copied = open.copied;
            upload.number = u32::try_from(kept.parts.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            upload.taken = kept.parts.iter().map(|part| part.size).sum();
            upload.reopened = true;
            upload.done.clone_from(&kept.parts);
            upload.create = Some(PendingCreate::known(Created {
                upload_id: open.id.as_str().into(),
                integrity: match open.crc32 {
                    true => Integrity::Crc32,
                    false => Integrity::Signed,
                },
                at: tokio::time::Instant::now(),
            }));
        }
        upload.old = kept.size();
        if let Some(tail) = &kept.tail {
            let state = Location {
                bucket: tail_bucket,
                ..upload.target.location.clone()
            };
            Box::pin(upload.read_tail(&state, tail, kept.skip)).await?;
        }
        upload.restoring = false;
        if let Some(journal) = &mut upload.journal {
            match &upload.create {
                Some(create) => journal.opened(create, upload.copied),
                // Its record is refreshed all the same, so that other replicas know that somebody is at it.
                None => journal.start_task(),
            }
        }
        Ok(upload)
    }

    /// Reads a tail, piece by piece; the first `skip` bytes of it are in parts already.
    async fn read_tail(
        &mut self,
        state: &Location,
        tail: &TailNote,
        mut skip: u64,
    ) -> Result<(), ObjectError> {
        for piece in &tail.pieces {
            let at = Location {
                key: tail.piece_key(piece),
                ..state.clone()
            };
            let info = ObjectInfo {
                size: piece.size,
                etag: piece.etag.clone(),
                modified: jiff::Timestamp::UNIX_EPOCH,
                attributes: super::super::Attributes::default(),
            };
            let mut body = Download::open_pinned(at, &info, 0..piece.size).await?;
            let mut read = 0;
            let mut crc = crc32fast::Hasher::new();
            while let Some(mut bytes) = body.next().await? {
                crc.update(&bytes);
                read += bytes.len() as u64;
                // At most the length of what is in memory.
                let passed = skip.min(bytes.len() as u64);
                skip -= passed;
                bytes.advance(usize::try_from(passed).unwrap_or(usize::MAX));
                self.write(bytes).await?;
            }
            if read != piece.size || crc.finalize() != piece.crc32 {
                return Err(ObjectError::Integrity(
                    "the tail of the upload is not what was stored".to_owned(),
                ));
            }
        }
        Ok(())
    }
}
