//! [`RecordHandle`]: the record of one upload, from its first part until the object is published or
//! the interrupted upload is stored.
//!
//! One task an upload makes all requests for its record, one after the other, so that a record is
//! never overtaken by an older one of itself. It outlives the upload and ends with an [`Outcome`].
//!
//! The task and its requests are in `task`, what it knows of its place in the store in `ownership`,
//! the order of two uploads of one user in `claim`, and what becomes of an interrupted upload in
//! `interrupted` and `tail`.

mod claim;
mod event;
mod interrupted;
mod ownership;
mod tail;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug};

use crate::object::active_uploads::{ActiveUploads, NewUpload, StatusHandle};
use crate::object::error::ObjectError;
use crate::object::multipart::Target;
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::tail::TailNote;
use crate::object::replica::Replica;
use crate::object::resume::discard::set_aside;
use crate::object::resume::keys::name_of;
use crate::object::resume::order::Began;
use crate::object::resume::record::{
    AttemptNote, BaseObject, FORMAT, Record, RecordState, ScheduleNote, new_attempt,
};
use crate::object::resume::record_task::event::{Outcome, RecordEvent};
use crate::object::resume::record_task::ownership::{Ownership, SlotView};
use crate::object::resume::record_task::task::RecordTask;
use crate::object::resume::records::{self, SaveError, SlotContent};
use crate::object::resume::resumable::ResumableUpload;
use crate::object::resume::scope::ResumeScope;

pub(in crate::object) use crate::object::resume::record_task::event::InterruptedUpload;

/// An upload that is still within its first part after this time looks for an interrupted upload of
/// the same name. Files that come faster spare that request.
const SLOW: Duration = Duration::from_secs(1);

/// An upload's side of its record. Dropped without an outcome, nothing more is done.
#[derive(Debug)]
pub(in crate::object) struct RecordHandle {
    work: Work,
    earlier: EarlierLookup,
    status: StatusHandle,
}

/// The work on a record.
#[derive(Debug)]
enum Work {
    /// It has not begun: the upload is within its first part.
    Waiting(Box<RecordTask>),
    /// The task is running. It gets events: how the upload became multipart, each piece of a slow
    /// client, how the upload ended.
    Begun(mpsc::UnboundedSender<RecordEvent>),
    /// The upload has ended.
    Over,
}

/// Whether an earlier upload of the user and name was looked for while this one was slow.
#[derive(Debug, Clone, Copy)]
enum EarlierLookup {
    /// Not yet; this one began at this time.
    Due(Instant),
    /// It was, or there is none: the upload resumes it.
    Done,
}

/// When an upload looks for an earlier one of its user and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum EarlierCheck {
    /// Before its first byte, if this process knows of one.
    AtBegin,
    /// While its first part is still being filled.
    WhileFilling,
}

impl RecordHandle {
    /// The record of an upload that begins anew.
    pub(in crate::object) fn new(
        target: &Arc<Target>,
        scope: ResumeScope,
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
            user: scope.user.to_string(),
            peer: scope.peer,
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
        let (mut task, status) = enter(target, scope, record, failed);
        task.record.began.serial = task.guard.serial();
        let now = Instant::now();
        task.began = Some(now);
        RecordHandle {
            work: Work::Waiting(task),
            earlier: EarlierLookup::Due(now),
            status,
        }
    }

    /// Takes an interrupted upload's record over. [`ObjectError::Conflict`] if another process was
    /// quicker.
    pub(in crate::object) async fn take_over(
        target: &Arc<Target>,
        scope: ResumeScope,
        upload: &ResumableUpload,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> Result<RecordHandle, ObjectError> {
        let record = Record {
            peer: scope.peer,
            state: RecordState::Running,
            attempt: attempt_of(&target.location.store.context().replica),
            ..upload.record.clone()
        };
        let (mut task, status) = enter(target, scope, record, failed);
        status.received(upload.size(), false);
        task.date();
        let at = task.at();
        match Box::pin(records::save(&at, &task.record, Some(&upload.record_etag))).await {
            Ok(etag) => task.slot = SlotView::Version(etag),
            Err(SaveError::Conflict(_)) => return Err(ObjectError::Conflict),
            Err(SaveError::Object(error)) => return Err(error),
        }
        status.supersede_earlier();
        Ok(RecordHandle {
            work: Work::Waiting(task),
            earlier: EarlierLookup::Done,
            status,
        })
    }

    /// Gives up an interrupted upload of the name by the same user, if this process knows of it or
    /// if bytes come slowly and leave the time to ask (`when`). What is sent from here on does not
    /// continue that upload, and must not be taken for it if this process is killed.
    pub(in crate::object) async fn discard_earlier(&mut self, when: EarlierCheck) {
        self.look_for_earlier(when).await;
        if when == EarlierCheck::WhileFilling {
            self.earlier = EarlierLookup::Done;
        }
    }

    /// Whether the upload has been within its first part for so long that it is to look for an
    /// earlier one.
    pub(in crate::object) fn check_is_due(&self) -> bool {
        let EarlierLookup::Due(begun) = self.earlier else {
            return false;
        };
        self.is_waiting() && begun.elapsed() > SLOW
    }

    async fn look_for_earlier(&mut self, when: EarlierCheck) {
        let Work::Waiting(task) = &mut self.work else {
            return;
        };
        let asks = when == EarlierCheck::WhileFilling || task.knows_own_record();
        if task.slot.has_version() || !asks {
            return;
        }
        let at = task.at();
        let read = records::read(&at).await;
        task.date();
        let object = &task.target.location;
        match read {
            Ok(SlotContent::Record(found)) => {
                // Before the first byte has come, one that has broken off is the earlier one,
                // whatever any clock says.
                let earlier = match when {
                    EarlierCheck::AtBegin => task.may_discard(&found),
                    EarlierCheck::WhileFilling => task.is_earlier(&found),
                };
                if earlier {
                    task.forget_own_record();
                    found.discard(object).await;
                    if when == EarlierCheck::WhileFilling {
                        task.doubt(&found);
                    }
                }
            }
            Ok(SlotContent::Later(later)) => set_aside(&at, *later).await,
            Ok(SlotContent::Nothing | SlotContent::Empty(_)) => {
                task.forget_own_record();
            }
            Ok(SlotContent::Garbage(_)) => {}
            Err(error) => debug!(%error, "the record of an earlier upload could not be looked for"),
        }
    }

    /// Whether the upload is within its first part, and nothing of it is recorded.
    fn is_waiting(&self) -> bool {
        matches!(self.work, Work::Waiting(_))
    }

    /// The upload has become multipart: the record is written as soon as its id is known, and
    /// refreshed from then on.
    pub(in crate::object) fn opened(&mut self, opening: &PendingCreate, copied: u32) {
        self.start_task();
        self.send(RecordEvent::Opened(opening.clone(), copied));
    }

    /// Bytes of the upload are in these pieces, and all before them in parts: the record names
    /// them.
    pub(in crate::object) fn stored(&mut self, tail: TailNote) {
        self.start_task();
        self.send(RecordEvent::Stored(tail));
    }

    /// The whole file is at its staged key. A record that there is names it, should the process be
    /// killed; for a small file none is written.
    pub(in crate::object) fn staged(&mut self, whole: TailNote) {
        self.send(RecordEvent::Stored(whole));
    }

    /// The pieces of a tail are removed: their bytes are elsewhere.
    pub(in crate::object) fn unstored(&mut self, key: &str) {
        self.send(RecordEvent::Unstored(key.to_owned()));
    }

    fn send(&self, event: RecordEvent) {
        if let Work::Begun(task) = &self.work {
            // The task ends with its outcome, and not before.
            let _ = task.send(event);
        }
    }

    /// The record is refreshed from now on.
    pub(in crate::object) fn start_task(&mut self) {
        if !self.is_waiting() {
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a request to the store precedes each event"
        )]
        let (sender, events) = mpsc::unbounded_channel();
        if let Work::Waiting(task) = std::mem::replace(&mut self.work, Work::Begun(sender)) {
            let cleanups = task.target.location.store.context().cleanups.clone();
            cleanups.spawn(task.run(events).in_current_span());
        }
    }

    /// Notes how much of the object has arrived. `sent`: whether the client has sent any of it.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        self.status.received(size, sent);
    }

    /// Cancelled when another session resumes this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.status.stopped()
    }

    /// The object is there: the record is removed, and the interrupted uploads of its name.
    pub(in crate::object) fn published(mut self) {
        self.status.published();
        match &self.work {
            Work::Waiting(task) if !task.knows_records() => task.note_unchecked_write(),
            Work::Waiting(_) | Work::Begun(_) | Work::Over => self.end(Outcome::Published),
        }
    }

    /// The upload broke off.
    pub(in crate::object) fn interrupted(mut self, upload: InterruptedUpload) {
        self.status.ending();
        self.end(Outcome::Interrupted(Box::new(upload)));
    }

    /// A resumed upload ended before its tail had been read back: everything stays as it was,
    /// except an upload that was opened meanwhile.
    pub(in crate::object) fn restored(mut self, opened: Option<AbortCleanup>) {
        self.status.ending();
        self.end(Outcome::Restored(opened.map(Box::new)));
    }

    fn end(&mut self, outcome: Outcome) {
        match std::mem::replace(&mut self.work, Work::Over) {
            Work::Begun(task) => {
                // The task ends with this, and not before.
                let _ = task.send(RecordEvent::Ended(outcome));
            }
            // Without a runtime nothing can be done: the process is ending.
            Work::Waiting(task) if tokio::runtime::Handle::try_current().is_ok() => {
                let cleanups = task.target.location.store.context().cleanups.clone();
                cleanups.spawn(task.finish(outcome).in_current_span());
            }
            Work::Waiting(_) | Work::Over => {}
        }
    }
}

/// Enters an upload in the registry, before anything is waited for: of two sessions of this process
/// the later one finds the earlier one.
fn enter(
    target: &Arc<Target>,
    scope: ResumeScope,
    record: Record,
    failed: watch::Sender<Option<ObjectError>>,
) -> (Box<RecordTask>, StatusHandle) {
    let object = &target.location;
    let new = NewUpload {
        object: name_of(object),
        user: Arc::clone(&scope.user),
        peer: scope.peer,
        old_bytes: record.old_bytes,
        attempt: record.attempt.id.clone(),
        transfer: record.transfer.clone(),
    };
    let guard = ActiveUploads::enter(&object.store.context().active_uploads, new);
    let status = guard.status();
    let task = RecordTask {
        target: Arc::clone(target),
        scope,
        guard,
        record,
        began: None,
        slot: SlotView::Unwritten,
        set_aside: Vec::new(),
        ownership: Ownership::Ours,
        failed,
    };
    (Box::new(task), status)
}

/// An attempt that begins in this process.
fn attempt_of(replica: &Replica) -> AttemptNote {
    AttemptNote {
        id: new_attempt(),
        generation: 0,
        replica: replica.name.clone(),
        process: replica.process.clone(),
        refresh_ms: u64::try_from(replica.refresh.as_millis()).unwrap_or(u64::MAX),
    }
}
