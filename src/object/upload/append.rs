//! An upload that begins with the old bytes of an object.

use std::sync::Arc;

use crate::object::attributes::CustomerKey;
use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::Attributes;
use crate::object::location::Location;
use crate::object::multipart::{AbortMode, CopySource, PartSource};
use crate::object::part_sizes::CopyRange;
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::pending_create::PendingCreate;
use crate::object::upload::AppendTo;
use crate::object::upload::running::{Origin, Upload};
use crate::object::upload::sending::{InFlight, Sending};

impl Upload {
    /// Begins with the first bytes of the old object: copied inside the store where they can be
    /// parts, else read.
    pub(super) async fn append_to(&mut self, append: AppendTo) -> Result<(), ObjectError> {
        let keep = append.keep;
        self.origin = Origin::Append { old_bytes: keep };
        if keep > append.info.size {
            return Err(ObjectError::OutOfRange {
                size: Some(append.info.size),
            });
        }
        let limit = self.target.location.largest_object();
        if keep > limit {
            return Err(ObjectError::TooLarge { limit });
        }
        let object = self.target.location.clone();
        let attributes = &append.info.attributes;
        let copied = self.copy_first(&object, &append.info.etag, attributes, keep);
        match copied.await {
            Err(error) => Err(replaced(error)),
            Ok(0) => self.read_old(&append, 0).await,
            // Other copies are still under way, and may fail meanwhile.
            Ok(copied) => self.read_old(&append, copied).await.map_err(replaced),
        }
    }

    /// Copies the first `keep` bytes of an object of the store, as far as they can be parts; gives
    /// their number. `attributes` are those of the object. Nothing if the store has no
    /// UploadPartCopy.
    pub(super) async fn copy_first(
        &mut self,
        source: &Location,
        etag: &str,
        attributes: &Attributes,
        keep: u64,
    ) -> Result<u64, ObjectError> {
        let store = Arc::clone(&source.store);
        let ranges = source.part_sizes().copied(keep);
        let Some(copied) = ranges.last().map(|last| last.first + last.size) else {
            return Ok(0);
        };
        let key = source.key_of(attributes).cloned();
        match self.copy_old(source, etag, key, ranges).await {
            Err(ObjectError::Unsupported(reason)) => {
                tracing::debug!(
                    store = store.name(),
                    reason,
                    "no UploadPartCopy: the old bytes are streamed through"
                );
                if let Sending::Multipart(flight) = std::mem::take(&mut self.sending) {
                    let cleanup = AbortCleanup {
                        target: Arc::clone(&self.target),
                        create: Some(flight.create),
                        pieces: None,
                        staged: None,
                        inflight: flight.tasks,
                        abort: AbortMode::AtOnce,
                    };
                    cleanup.remove().await;
                }
                Ok(0)
            }
            result => result.map(|()| copied),
        }
    }

    /// UploadPartCopy of the old bytes: the first range at once, since it shows whether the store
    /// can do it; the others alongside the client's bytes.
    async fn copy_old(
        &mut self,
        source: &Location,
        etag: &str,
        key: Option<CustomerKey>,
        ranges: Vec<CopyRange>,
    ) -> Result<(), ObjectError> {
        let create = PendingCreate::start(&self.target, PartSource::Copied);
        self.sending = Sending::Multipart(InFlight::new(create.clone()));
        let etag: Arc<str> = etag.into();
        // Copies cost the store, not our memory: their number is limited all the same.
        let places = Arc::new(tokio::sync::Semaphore::new(self.resources.parallel));
        let mut numbered = (1..).zip(ranges.iter().copied());
        if let Some((number, range)) = numbered.next() {
            let created = create.created().await?;
            let from = CopySource {
                at: source,
                etag: &etag,
                key: key.as_ref(),
            };
            let first = self.target.copy_part(&created, number, from, range).await?;
            if let Some(flight) = self.sending.in_flight() {
                flight.done.push(first);
            }
        }
        let copied = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        if let Some(flight) = self.sending.in_flight() {
            flight.copied = copied;
        }
        self.filling.number = copied + 1;
        if let Some(record) = &mut self.record {
            record.opened(&create, copied);
        }
        for (number, range) in numbered {
            if let Some(flight) = self.sending.in_flight() {
                flight.copying += 1;
            }
            let (target, create) = (Arc::clone(&self.target), create.clone());
            let (places, etag, source) = (Arc::clone(&places), Arc::clone(&etag), source.clone());
            let key = key.clone();
            self.spawn(async move {
                // Never closed.
                let _place = places.acquire().await;
                let created = create.created().await?;
                let from = CopySource {
                    at: &source,
                    etag: &etag,
                    key: key.as_ref(),
                };
                target.copy_part(&created, number, from, range).await
            });
        }
        self.filling.taken = ranges.iter().map(|range| range.size).sum();
        Ok(())
    }

    /// The old bytes from one of them on through this process, within the admission's memory.
    async fn read_old(&mut self, append: &AppendTo, from: u64) -> Result<(), ObjectError> {
        if append.keep > from {
            let location = self.target.location.clone();
            let mut old = Download::open_pinned(location, &append.info, from..append.keep)
                .await
                .map_err(replaced)?;
            let mut rest = append.keep - from;
            while rest > 0 {
                let Some(mut bytes) = old.next().await.map_err(replaced)? else {
                    return Err(ObjectError::Conflict);
                };
                bytes.truncate(usize::try_from(rest).unwrap_or(usize::MAX));
                rest -= bytes.len() as u64;
                self.write(bytes).await?;
            }
        }
        Ok(())
    }
}

/// An old object that is gone or another is a conflict for an append.
fn replaced(error: ObjectError) -> ObjectError {
    match error {
        ObjectError::Changed | ObjectError::NotFound | ObjectError::OutOfRange { .. } => {
            ObjectError::Conflict
        }
        error => error,
    }
}
