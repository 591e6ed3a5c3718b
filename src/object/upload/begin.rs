//! How an upload begins: anew, or with the old bytes of an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::memory::Admission;
use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::Attributes;
use crate::object::location::Location;
use crate::object::multipart::Target;
use crate::object::part_sizes::{CopyRange, PartSizes};
use crate::object::parts::part::Part;
use crate::object::parts::pending_create::PendingCreate;
use crate::object::precondition::Precondition;
use crate::object::resume::record::BaseObject;
use crate::object::resume::record_task::{EarlierCheck, RecordHandle};
use crate::object::transfer_id::TRANSFER_KEY;
use crate::object::upload::pressure::{Pace, Relief};
use crate::object::upload::{AppendTo, Condition, Upload, UploadOptions};

impl Upload {
    /// Begins; makes no request unless it appends.
    pub async fn begin(
        location: Location,
        admission: Admission,
        options: UploadOptions,
    ) -> Result<Upload, ObjectError> {
        let attributes = options
            .append
            .as_ref()
            .map(|append| append.info.attributes.clone())
            .unwrap_or_default();
        Upload::begin_with(location, Some(admission), options, attributes).await
    }

    /// As [`Upload::begin`], with the attributes the object is to have.
    pub(in crate::object) async fn begin_with(
        location: Location,
        admission: Option<Admission>,
        options: UploadOptions,
        mut attributes: Attributes,
    ) -> Result<Upload, ObjectError> {
        if options.append.is_some() {
            // The time of the old content.
            attributes.metadata.remove("mtime");
        }
        attributes.metadata.extend(options.metadata);
        attributes.metadata.remove(TRANSFER_KEY);
        let precondition = match (&options.append, &options.condition) {
            (Some(append), _) => Precondition::Version(append.info.identity()),
            (None, Condition::IfAbsent) => Precondition::Absent,
            (None, Condition::None) => Precondition::None,
        };
        let base = match (&options.append, &options.condition) {
            (Some(append), _) => BaseObject::Object(append.info.identity().into()),
            (None, Condition::IfAbsent) => BaseObject::Absent,
            (None, Condition::None) => BaseObject::Unknown,
        };
        let sizes = location.store.part_sizes().clone();
        let mut upload = Upload::blank(
            Target::new(location, options.id, attributes),
            precondition,
            admission,
            sizes,
        );
        if let Some(keep) = options.keep {
            upload.may_store_pieces(&keep);
            upload.journal = Some(RecordHandle::new(
                &upload.target,
                keep,
                upload.sizes.sizes(),
                base,
                options.append.as_ref().map_or(0, |append| append.keep),
                upload.failed.clone(),
            ));
            if let Some(journal) = &mut upload.journal {
                Box::pin(journal.discard_earlier(EarlierCheck::First)).await;
            }
        }
        if let Some(append) = options.append {
            Box::pin(upload.keep(append)).await?;
        }
        Ok(upload)
    }

    /// An upload that has nothing yet.
    pub(super) fn blank(
        target: Target,
        precondition: Precondition,
        admission: Option<Admission>,
        sizes: PartSizes,
    ) -> Upload {
        let crc = target.location.store.may_need_crc();
        Upload {
            target: Arc::new(target),
            precondition,
            sizes,
            journal: None,
            last: None,
            keepable: true,
            begun: tokio::time::Instant::now(),
            asked: false,
            resumed: false,
            restoring: false,
            reopened: false,
            _admission: admission,
            buffer: bytes::BytesMut::new(),
            part: Part::new(crc),
            number: 1,
            held: None,
            pieces: None,
            relief: Relief::default(),
            pace: Pace::default(),
            copied: 0,
            copying: 0,
            create: None,
            inflight: JoinSet::new(),
            sent: BTreeMap::new(),
            done: Vec::new(),
            failure: None,
            failed: watch::Sender::new(None),
            taken: 0,
            old: 0,
            ended: false,
            sealed: false,
            undecided: false,
        }
    }

    /// Begins with the first bytes of the old object: copied inside the store where they can be parts, else read.
    async fn keep(&mut self, append: AppendTo) -> Result<(), ObjectError> {
        let keep = append.keep;
        if keep > append.info.size {
            return Err(ObjectError::OutOfRange {
                size: Some(append.info.size),
            });
        }
        let store = Arc::clone(&self.target.location.store);
        let limit = store.largest_object();
        if keep > limit {
            return Err(ObjectError::TooLarge { limit });
        }
        let ranges = store.part_sizes().copied(keep);
        let Some(copied) = ranges.last().map(|last| last.first + last.size) else {
            return self.read_old(&append, 0).await;
        };
        match self.copy_old(&append, ranges).await {
            Err(ObjectError::Unsupported(reason)) => {
                tracing::debug!(
                    store = store.name(),
                    reason,
                    "no UploadPartCopy: the old bytes are streamed through"
                );
                if let Some(cleanup) = self.cleanup() {
                    cleanup.remove().await;
                }
                self.done.clear();
                self.read_old(&append, 0).await
            }
            Err(error) => Err(replaced(error)),
            // Other copies are still under way, and may fail meanwhile.
            Ok(()) => self.read_old(&append, copied).await.map_err(replaced),
        }
    }

    /// UploadPartCopy of the old bytes: the first range at once, since it shows whether the store can do it; the
    /// others beside the client's bytes.
    async fn copy_old(
        &mut self,
        append: &AppendTo,
        ranges: Vec<CopyRange>,
    ) -> Result<(), ObjectError> {
        let create = PendingCreate::start(&self.target, true);
        self.create = Some(create.clone());
        let etag: Arc<str> = append.info.etag.as_str().into();
        // Copies cost the store, not our memory: only so many at once all the same.
        let parallel = self
            .target
            .location
            .store
            .context()
            .transfer
            .upload_parallel
            .max(1);
        let places = Arc::new(tokio::sync::Semaphore::new(parallel));
        let mut numbered = (1..).zip(ranges.iter().copied());
        if let Some((number, range)) = numbered.next() {
            let created = create.created().await?;
            let source = &self.target.location;
            let first = self
                .target
                .copy_part(&created, number, source, &etag, range)
                .await?;
            self.done.push(first);
        }
        self.copied = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        self.number = self.copied + 1;
        if let Some(journal) = &mut self.journal {
            journal.opened(&create, self.copied);
        }
        for (number, range) in numbered {
            self.copying += 1;
            let (target, create) = (Arc::clone(&self.target), create.clone());
            let (places, etag) = (Arc::clone(&places), Arc::clone(&etag));
            self.spawn(async move {
                // Never closed.
                let _place = places.acquire().await;
                let created = create.created().await?;
                let source = &target.location;
                target
                    .copy_part(&created, number, source, &etag, range)
                    .await
            });
        }
        self.taken = ranges.iter().map(|range| range.size).sum();
        Ok(())
    }

    /// The old bytes from one of them on through this process, within the admission's memory.
    async fn read_old(&mut self, append: &AppendTo, from: u64) -> Result<(), ObjectError> {
        self.old = append.keep;
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

/// An old object that is gone or another is a conflict for who appends to it.
fn replaced(error: ObjectError) -> ObjectError {
    match error {
        ObjectError::Changed | ObjectError::NotFound | ObjectError::OutOfRange { .. } => {
            ObjectError::Conflict
        }
        error => error,
    }
}
