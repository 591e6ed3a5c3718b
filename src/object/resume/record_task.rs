//! [`RecordHandle`]: the record of one upload, from its first part until the object is published or what is kept is stored.
//!
//! One task an upload does all that is written beside it, one request after the other, so that a record is never
//! overtaken by an older one of itself. It outlives the upload: it ends with an [`Outcome`].
//!
//! The task and its requests are in `writer`, the order of two uploads of one user in `claim`, and what becomes of an
//! interrupted upload in `keeping`.

mod claim;
mod interrupted;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::memory::Admission;
use crate::object::active_uploads::{ActiveUploads, StatusHandle, name_of};
use crate::object::error::ObjectError;
use crate::object::multipart::{AbortMode, DonePart, Target};
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::part::{Part, RetainedPart};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::pieces::Pieces;
use crate::object::resume::discard::{discard, set_aside};
use crate::object::resume::order::Began;
use crate::object::resume::record::{
    AttemptNote, BaseObject, FORMAT, Record, RecordState, Replica, ResumeScope, ScheduleNote,
    TailNote, new_attempt,
};
use crate::object::resume::records::{self, SaveError, SlotContent};
use task::{RecordTask, Standing};

/// An upload's record in the making. Dropped without an ending, nothing more is done.
#[derive(Debug)]
pub(in crate::object) struct RecordHandle {
    /// What the task will work with, until it begins.
    idle: Option<Box<RecordTask>>,
    /// To the task, once it has begun: how the upload began and ends, and each piece of a slow client.
    tell: Option<mpsc::UnboundedSender<RecordEvent>>,
    status: StatusHandle,
}

/// What the task is told.
#[derive(Debug)]
enum RecordEvent {
    /// The upload has become multipart; so many parts hold old bytes.
    Opened(PendingCreate, u32),
    /// Bytes of it are in these pieces.
    Stored(TailNote),
    /// Those of this tail are elsewhere now.
    Unstored(String),
    /// The upload has ended.
    Ended(Outcome),
}

/// How an upload has ended.
#[derive(Debug)]
enum Outcome {
    Published,
    Interrupted(Box<InterruptedUpload>),
    Restored(Option<Box<AbortCleanup>>),
}

/// When an upload asks for an earlier one of its user and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum EarlierCheck {
    /// Before its first byte, if this process knows of one.
    First,
    /// While its first part is still being filled.
    Slow,
}

/// An upload that was broken off.
#[derive(Debug)]
pub(in crate::object) struct InterruptedUpload {
    /// The multipart upload, if there is one.
    pub(in crate::object) create: Option<PendingCreate>,
    /// Parts on their way.
    pub(in crate::object) inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// Parts whose bytes are at hand: those on their way or failed, and the last.
    pub(in crate::object) sent: BTreeMap<u32, RetainedPart>,
    /// Parts that are there.
    pub(in crate::object) done: Vec<DonePart>,
    /// Its first parts that hold old bytes of the object.
    pub(in crate::object) copied: u32,
    /// The number of the last part, if it is known to be that: it is shorter than others, so nothing can follow it.
    pub(in crate::object) last: Option<u32>,
    /// The part that was being filled, and its number.
    pub(in crate::object) rest: (u32, Part),
    /// Whether the data connection had ended by itself: the object may have been written since it began.
    pub(in crate::object) ended: bool,
    /// How it is aborted: it may have been published all the same.
    pub(in crate::object) abort: AbortMode,
    /// Whether it is to be kept; else removed.
    pub(in crate::object) keep: bool,
    /// Where pieces of it lie, if there are any.
    pub(in crate::object) pieces: Option<Arc<Pieces>>,
    /// The memory of the first chunks of the rest.
    pub(in crate::object) _admission: Option<Admission>,
}

/// A writer that begins in this process.
fn attempt_of(replica: &Replica) -> AttemptNote {
    AttemptNote {
        id: new_attempt(),
        generation: 0,
        replica: replica.name.clone(),
        process: replica.process.clone(),
        refresh_ms: u64::try_from(replica.refresh.as_millis()).unwrap_or(u64::MAX),
    }
}

impl RecordHandle {
    /// The journal of an upload that begins anew.
    pub(in crate::object) fn new(
        target: &Arc<Target>,
        keep: ResumeScope,
        sizes: (u64, u64),
        base: BaseObject,
        old_bytes: u64,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> RecordHandle {
        let replica = &target.location.store.context().replica;
        let record = Record {
            format: FORMAT,
            bucket: target.location.bucket.to_string(),
            key: target.location.key.clone(),
            user: keep.user.to_string(),
            peer: keep.peer,
            transfer: target.id.as_str().to_owned(),
            state: RecordState::Running,
            // The rest of it is known when it has been entered.
            began: Began {
                process: replica.process.clone(),
                serial: 0,
                at_ms: 0,
            },
            moved_ms: 0,
            attempt: attempt_of(replica),
            upload: None,
            schedule: ScheduleNote {
                first: sizes.0,
                largest: sizes.1,
            },
            tail: None,
            base,
            old_bytes,
            attributes: target.attributes.clone(),
        };
        let mut journal = RecordHandle::of(target, keep, record, failed);
        if let Some(task) = &mut journal.idle {
            task.record.began.serial = task.guard.serial();
            task.began = Some(Instant::now());
        }
        journal
    }

    /// Takes an interrupted upload's record over. [`ObjectError::Conflict`] if another process was quicker.
    pub(in crate::object) async fn take_over(
        target: &Arc<Target>,
        keep: ResumeScope,
        kept: &super::ResumableUpload,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> Result<RecordHandle, ObjectError> {
        let record = Record {
            peer: keep.peer,
            state: RecordState::Running,
            attempt: attempt_of(&target.location.store.context().replica),
            ..kept.record.clone()
        };
        // Entered before it is waited for, so that of two sessions here the later finds the earlier.
        let mut journal = RecordHandle::of(target, keep, record, failed);
        journal.status.received(kept.size(), false);
        if let Some(task) = &mut journal.idle {
            task.date();
            let at = task.at();
            match Box::pin(records::save(&at, &task.record, Some(&kept.record_etag))).await {
                Ok(etag) => task.saved = Some(etag),
                Err(SaveError::Conflict(_)) => return Err(ObjectError::Conflict),
                Err(SaveError::Object(error)) => return Err(error),
            }
            task.recorded = true;
            journal.status.supersede_earlier();
        }
        Ok(journal)
    }

    fn of(
        target: &Arc<Target>,
        keep: ResumeScope,
        record: Record,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> RecordHandle {
        let location = &target.location;
        let replica = &location.store.context().replica;
        let guard = ActiveUploads::enter(replica, name_of(location), &keep, &record);
        RecordHandle {
            status: guard.status(),
            tell: None,
            idle: Some(Box::new(RecordTask {
                target: Arc::clone(target),
                keep,
                guard,
                record,
                began: None,
                saved: None,
                recorded: false,
                set_aside: Vec::new(),
                standing: Standing::Ours,
                failed,
            })),
        }
    }

    /// Gives up an interrupted upload of the name by the same user, if this process knows of it or if bytes come slowly
    /// and leave the time to ask (`when`). What is sent from here on does not continue that upload, and must not be taken
    /// for it if this process is killed.
    pub(in crate::object) async fn discard_earlier(&mut self, when: EarlierCheck) {
        let Some(task) = &mut self.idle else {
            return;
        };
        if task.saved.is_some() || !(when == EarlierCheck::Slow || task.guard.hinted()) {
            return;
        }
        let at = task.at();
        let read = records::read(&at).await;
        task.date();
        let object = &task.target.location;
        match read {
            Ok(SlotContent::Record(found)) => {
                // Before the first byte has come, one that has broken off is the earlier one, whatever any clock says.
                let earlier = match when {
                    EarlierCheck::First => task.ends(&found),
                    EarlierCheck::Slow => task.is_earlier(&found),
                };
                if earlier {
                    task.guard.take_hint();
                    discard(object, &found).await;
                    if when == EarlierCheck::Slow {
                        task.doubt(&found);
                    }
                }
            }
            Ok(SlotContent::Later(later)) => set_aside(&at, *later).await,
            Ok(SlotContent::Nothing | SlotContent::Empty(_)) => {
                task.guard.take_hint();
            }
            Ok(SlotContent::Garbage(_)) => {}
            Err(error) => debug!(%error, "the record of an earlier upload could not be looked for"),
        }
    }

    /// Whether it has not become multipart.
    pub(in crate::object) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// The upload has become multipart: the record is written as soon as its id is known, and refreshed from then on.
    pub(in crate::object) fn opened(&mut self, opening: &PendingCreate, copied: u32) {
        self.start_task();
        self.tell(RecordEvent::Opened(opening.clone(), copied));
    }

    /// Bytes of the upload are in these pieces, and all before them in parts: the record names them.
    pub(in crate::object) fn stored(&mut self, tail: TailNote) {
        self.start_task();
        self.tell(RecordEvent::Stored(tail));
    }

    /// The pieces of a tail are removed: their bytes are elsewhere.
    pub(in crate::object) fn unstored(&mut self, key: &str) {
        self.tell(RecordEvent::Unstored(key.to_owned()));
    }

    fn tell(&self, news: RecordEvent) {
        if let Some(tell) = &self.tell {
            // The task ends with its ending, and not before.
            let _ = tell.send(news);
        }
    }

    /// The record is refreshed from now on.
    pub(in crate::object) fn start_task(&mut self) {
        let Some(task) = self.idle.take() else {
            return;
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a request to the store precedes each event"
        )]
        let (tell, news) = mpsc::unbounded_channel();
        self.tell = Some(tell);
        let cleanups = task.target.location.store.context().cleanups.clone();
        cleanups.spawn(task.run(news));
    }

    /// Tells how much of the object has arrived.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        self.status.received(size, sent);
    }

    /// Cancelled when another session goes on with this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.status.stopped()
    }

    /// The object is there: the record goes, and whatever else was kept under its name.
    pub(in crate::object) fn published(mut self) {
        self.status.published();
        let known = self.idle.as_ref().is_some_and(|task| task.knows_records());
        if known || self.tell.is_some() {
            self.end(Outcome::Published);
        } else if let Some(task) = &self.idle {
            task.guard.wrote();
        }
    }

    /// The upload was broken off.
    pub(in crate::object) fn interrupted(mut self, upload: InterruptedUpload) {
        self.status.ending();
        self.end(Outcome::Interrupted(Box::new(upload)));
    }

    /// A resumed upload ended before what was kept of it had been read again: everything stays as it was, but for an
    /// upload that was opened meanwhile.
    pub(in crate::object) fn restored(mut self, opened: Option<AbortCleanup>) {
        self.status.ending();
        self.end(Outcome::Restored(opened.map(Box::new)));
    }

    fn end(&mut self, ending: Outcome) {
        if let Some(tell) = self.tell.take() {
            // The task ends with this, and not before.
            let _ = tell.send(RecordEvent::Ended(ending));
        } else if let Some(task) = self.idle.take()
            // Without a runtime there is nobody left to do it: the process is ending.
            && tokio::runtime::Handle::try_current().is_ok()
        {
            let cleanups = task.target.location.store.context().cleanups.clone();
            cleanups.spawn(task.finish(ending));
        }
    }
}
