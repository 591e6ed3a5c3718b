//! An upload that goes on from what was kept of it.

use super::super::capabilities::Integrity;
use super::super::kept::{Journal, Keep, Kept};
use super::super::multipart::{Created, Target};
use super::super::{Download, Location, ObjectError, ObjectInfo};
use super::begin::Opening;
use super::{Schedule, Upload};
use crate::memory::Admission;

impl Upload {
    /// Goes on: takes the record over, so that nobody else does ([`ObjectError::Conflict`] where somebody was quicker),
    /// and reads the tail back into the part it belongs to. The upload then stands at [`Kept::again`] bytes beyond
    /// [`Kept::told`], and is published under the condition that the object is still the one that was there.
    /// Where this fails, everything stays kept.
    pub async fn resume(
        location: Location,
        admission: Admission,
        keep: Keep,
        kept: Kept,
    ) -> Result<Upload, ObjectError> {
        let target = Target::new(location, kept.transfer(), kept.record.attributes.clone());
        let (first, largest) = kept.record.sizes;
        let schedule = Schedule::new(first, largest);
        let mut upload = Upload::blank(target, kept.pin.clone(), Some(admission), schedule);
        upload.resumed = true;
        upload.restoring = true;
        let tail_bucket = keep.state_bucket.clone();
        let journal =
            Journal::take_over(&upload.target, keep, &kept, upload.failed.clone()).await?;
        upload.journal = Some(journal);
        if let Some(open) = &kept.record.upload
            && !kept.parts.is_empty()
        {
            upload.copied = open.copied;
            upload.number = u32::try_from(kept.parts.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            upload.taken = kept.parts.iter().map(|part| part.size).sum();
            upload.done.clone_from(&kept.parts);
            upload.opening = Some(Opening::known(Created {
                upload_id: open.id.as_str().into(),
                integrity: match open.crc32 {
                    true => Integrity::Crc32,
                    false => Integrity::Signed,
                },
                at: tokio::time::Instant::now(),
            }));
        }
        if let Some(tail) = &kept.tail {
            let at = Location {
                store: upload.target.location.store.clone(),
                bucket: tail_bucket,
                key: tail.key.clone(),
            };
            Box::pin(upload.read_tail(at, tail.size, &tail.etag, tail.crc32)).await?;
        }
        upload.old = kept.size();
        upload.restoring = false;
        if let (Some(journal), Some(opening)) = (&mut upload.journal, &upload.opening) {
            journal.opened(opening, upload.copied);
        }
        Ok(upload)
    }

    async fn read_tail(
        &mut self,
        at: Location,
        size: u64,
        etag: &str,
        crc32: u32,
    ) -> Result<(), ObjectError> {
        let info = ObjectInfo {
            size,
            etag: etag.to_owned(),
            modified: jiff::Timestamp::UNIX_EPOCH,
            attributes: super::super::Attributes::default(),
        };
        let mut tail = Download::open_pinned(at, None, &info).await?;
        let mut read = 0;
        let mut crc = crc32fast::Hasher::new();
        while let Some(bytes) = tail.next().await? {
            read += bytes.len() as u64;
            crc.update(&bytes);
            self.write(bytes).await?;
        }
        if read != size || crc.finalize() != crc32 {
            return Err(ObjectError::Integrity(
                "the tail of the upload is not what was stored".to_owned(),
            ));
        }
        Ok(())
    }
}
