//! [`StagedUpload`]: an upload that lies whole at a key of its own below the state prefix. It can be
//! read there, and is published by a copy.
//!
//! ```text
//!   SealedUpload ── stage ──▶ StagedUpload ── publish ──▶ object; the staged file is removed
//!                                 │  │
//!                         dropped │  └── discard ──▶ nothing
//!                                 ▼
//!                     interrupted: the staged file is its tail
//! ```
//!
//! It holds no memory of the budget.

use jiff::Timestamp;

use crate::object::copy::staged::{Staged, copy_staged};
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::location::Location;
use crate::object::multipart::{AbortMode, Target, combined_crc, whole_etag};
use crate::object::name_lock::NameLock;
use crate::object::parts::part::Part;
use crate::object::parts::tail::staged_tail;
use crate::object::publish_error::{OnFailure, PublishError};
use crate::object::transfer_id::TransferId;
use crate::object::upload::Published;
use crate::object::upload::publish::SealedUpload;
use crate::object::upload::running::{Input, Origin, Upload};
use crate::object::upload::sending::Sending;
use crate::object::upload::staged_file::StagedFile;

/// The type of the content of a PutObject without one.
const BINARY: &str = "application/octet-stream";

/// An upload whose bytes are all in the store, and not visible. Dropping it keeps it for a resume,
/// if it has a record; else it is removed.
#[derive(Debug)]
pub struct StagedUpload(SealedUpload);

impl Upload {
    /// Whether its bytes go to a staged key, so that it must be [staged](SealedUpload::stage) and
    /// published by a copy.
    pub fn is_staged(&self) -> bool {
        self.target.staged.is_some()
    }
}

impl SealedUpload {
    /// Writes the whole to its staged key: PutObject or CompleteMultipartUpload. If this is dropped
    /// in the middle, the upload is kept as far as it can be.
    ///
    /// # Errors
    /// The store. [`ObjectError::Other`] if the upload has no staged key.
    pub async fn stage(mut self) -> Result<StagedUpload, PublishError> {
        let Some(at) = self.upload.target.staged.clone() else {
            return Err(ObjectError::Other("the upload has no staged key".to_owned()).into());
        };
        let crc32 = self.crc32();
        let written = self.write().await?;
        let etag = match whole_etag(written.etag.as_deref()) {
            Some(etag) => etag.to_owned(),
            None => head(&at).await?.etag,
        };
        let tail = staged_tail(at.key, written.size, etag.clone(), crc32);
        let upload = &mut self.upload;
        if let Some(record) = &mut upload.record {
            if let Some(pieces) = &upload.pieces {
                record.unstored(pieces.key());
            }
            record.staged(tail.clone());
        }
        if let Some(pieces) = &upload.pieces {
            pieces.remove_alongside(pieces.live_but(&[]));
        }
        upload.staged = Some(StagedFile {
            tail,
            etag,
            parts: written.parts,
        });
        // All memory is given back: what follows may take its time.
        upload.sending = Sending::default();
        upload.filling.part = Part::default();
        upload.filling.admission = None;
        self.abort = Some(AbortMode::AtOnce);
        self.put_sent = false;
        Ok(StagedUpload(self))
    }

    /// CRC-32 of the whole, if that of each part is known.
    fn crc32(&self) -> Option<u32> {
        match &self.upload.sending {
            Sending::Single { first: Some(part) } => Some(part),
            Sending::Single { first: None } => Some(&self.upload.filling.part),
            Sending::Multipart(flight) => {
                let mut parts = flight.done.clone();
                parts.sort_unstable_by_key(|part| part.number);
                return combined_crc(&parts);
            }
        }
        .filter(|part| part.pieces().is_empty())
        .map(Part::crc32)
    }
}

impl StagedUpload {
    /// Bytes that the client has sent; old bytes don't count.
    pub fn received(&self) -> u64 {
        self.0.received()
    }

    /// Bytes of the whole object.
    pub fn size(&self) -> u64 {
        self.0.upload.filling.size()
    }

    /// Whether there is more of it than the old bytes of an object: only then it can be kept.
    pub fn holds_new_bytes(&self) -> bool {
        let old = match self.0.upload.origin {
            Origin::Append { old_bytes } => old_bytes,
            Origin::New | Origin::Resumed { .. } => 0,
        };
        self.size() > old
    }

    /// Where it lies.
    pub fn at(&self) -> &Location {
        self.0.upload.target.written_at()
    }

    /// The transfer it was begun by.
    pub fn transfer(&self) -> &TransferId {
        &self.0.upload.target.id
    }

    /// See [`SealedUpload::try_turn`].
    pub fn try_turn(&self) -> Option<NameLock> {
        self.0.try_turn()
    }

    /// See [`SealedUpload::turn`].
    ///
    /// # Errors
    /// As there.
    pub async fn turn(&self) -> Result<NameLock, ObjectError> {
        self.0.turn().await
    }

    /// Removes it: nothing of it stays, and nothing can be resumed.
    pub fn discard(mut self) {
        self.0.on_failure = OnFailure::Remove;
    }

    /// Copies it to the object under the upload's precondition and the lock of the name, which is
    /// held until the store's answer is clear; not over an object of a later upload. Then the staged file is removed, alongside.
    ///
    /// # Errors
    /// As those of [`SealedUpload::publish`].
    pub async fn publish(self, lock: NameLock) -> Result<Published, PublishError> {
        let StagedUpload(mut sealed) = self;
        if !sealed.upload.target.location.is_locked_by(&lock) {
            let error = ObjectError::Other("published under another lock".to_owned());
            return Err(error.into());
        }
        let upload = &sealed.upload;
        let (Some(source), Some(file), Input::Ended(came)) =
            (upload.target.staged.clone(), &upload.staged, &upload.input)
        else {
            return Err(ObjectError::Other("the upload has no staged file".to_owned()).into());
        };
        let came = came.clone();
        let (size, parts) = (file.tail.size, file.parts);
        let crc32 = file.tail.pieces.first().and_then(|whole| whole.crc32);
        let Target {
            location,
            id,
            mut attributes,
            ..
        } = upload.target.as_ref().clone();
        if parts == 0 {
            // As the SDK writes it with the body of a PutObject. A copy has no body.
            let binary = || BINARY.to_owned();
            attributes.content_type.get_or_insert_with(binary);
        }
        let info = ObjectInfo {
            size,
            etag: file.etag.clone(),
            modified: Timestamp::UNIX_EPOCH,
            attributes: attributes.clone(),
        };
        let target = Target::new(location, id, attributes);
        let precondition = upload.precondition.clone();
        // If this is dropped in the middle, it is looked whether the object is there.
        sealed.abort = Some(AbortMode::LookFirst);
        let staged = Staged {
            at: &source,
            info: &info,
            came: &came,
        };
        match Box::pin(copy_staged(staged, &target, &precondition, lock)).await {
            Ok(written) => {
                sealed.published();
                sealed.upload.break_off(None, OnFailure::Remove);
                Ok(Published {
                    size,
                    etag: written.etag,
                    version_id: written.version_id,
                    crc32,
                    parts,
                })
            }
            Err(error) => {
                let error = match error {
                    // The staged file is gone, and nothing was copied.
                    PublishError::Final(ObjectError::NotFound)
                    | PublishError::Temporary(ObjectError::Changed) => ObjectError::Lost.into(),
                    error => error,
                };
                sealed.on_failure = error.on_failure();
                Err(error)
            }
        }
    }
}
