//! [`RecordTask`]: the task that writes an upload's record, refreshes it, and does what its outcome
//! asks for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::object::active_uploads::RegistryGuard;
use crate::object::backoff::Backoff;
use crate::object::checksum::Integrity;
use crate::object::error::ObjectError;
use crate::object::head::head;
use crate::object::location::Location;
use crate::object::multipart::{Created, Target, abort_upload};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::tail::TailNote;
use crate::object::record_cache::RecordCache;
use crate::object::replica::Replica;
use crate::object::resume::discard::{end, remove_object, remove_tail, set_aside};
use crate::object::resume::keys::{record_at, set_aside_at, user_hash};
use crate::object::resume::record::{Record, RecordState, UploadNote};
use crate::object::resume::record_task::event::{Outcome, RecordEvent};
use crate::object::resume::record_task::ownership::{Ownership, SlotView};
use crate::object::resume::records::{self, Ended, Leave, SlotContent};
use crate::object::resume::scope::ResumeScope;

/// Between two attempts to write a tail or a record.
pub(in crate::object) const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(500));

/// The number of attempts to write a tail and a record, beyond the SDK's own.
pub(in crate::object) const ROUNDS: u32 = 4;

/// The interval of the checks whether the process ends and whether the record must be refreshed.
pub(in crate::object) const LOOK: Duration = Duration::from_secs(1);

/// What the task works with.
#[derive(Debug)]
pub(in crate::object) struct RecordTask {
    pub(in crate::object) target: Arc<Target>,
    pub(in crate::object) scope: ResumeScope,
    pub(in crate::object) guard: RegistryGuard,
    pub(in crate::object) record: Record,
    /// When the upload began, until its time by the store's clock is known.
    pub(in crate::object) began: Option<Instant>,
    pub(in crate::object) slot: SlotView,
    /// The keys of records that were set aside for ours: their uploads may still run.
    pub(in crate::object) set_aside: Vec<String>,
    pub(in crate::object) ownership: Ownership,
    /// Reports to the upload that it is not ours any more.
    pub(in crate::object) failed: watch::Sender<Option<ObjectError>>,
}

impl RecordTask {
    pub(in crate::object) async fn run(
        mut self: Box<Self>,
        mut events: mpsc::UnboundedReceiver<RecordEvent>,
    ) {
        let refresh = self.replica().refresh;
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(RecordEvent::Opened(create, copied)) => self.opened(&create, copied).await,
                    Some(RecordEvent::Stored(tail)) => self.stored(tail).await,
                    Some(RecordEvent::Unstored(key)) => self.unstored(&key),
                    Some(RecordEvent::Ended(outcome)) => return self.finish(outcome).await,
                    None => return,
                },
                () = sleep(refresh), if self.ownership == Ownership::Ours => self.write().await,
            }
        }
    }

    pub(in crate::object) async fn opened(&mut self, create: &PendingCreate, copied: u32) {
        if let Ok(created) = create.created().await {
            let upload = Some(self.note(&created, copied));
            // A resumed upload has just written it.
            if !self.slot.has_version() || self.record.upload != upload {
                self.record.upload = upload;
                self.write().await;
            }
        }
    }

    /// The record names pieces at once: should this process be killed, the upload resumes after
    /// them.
    async fn stored(&mut self, tail: TailNote) {
        self.date();
        let key = tail.key.clone();
        let old = self.record.tail.replace(tail);
        match self.claim().await {
            Ok(()) if self.ownership == Ownership::Ours => {
                // The tail that this upload was resumed from: its bytes are in parts or in pieces.
                if let Some(old) = old.filter(|old| old.key != key) {
                    remove_tail(&self.at(), &old).await;
                }
            }
            Ok(()) => {}
            Err(error) => warn!(key = self.target.location.key, transfer = %self.target.id, %error,
                "the record of a running upload could not be written; it is tried again"),
        }
    }

    /// The record names no pieces of this tail any more.
    pub(in crate::object) fn unstored(&mut self, key: &str) {
        self.record.tail.take_if(|tail| tail.key == key);
    }

    pub(in crate::object) async fn finish(mut self: Box<Self>, outcome: Outcome) {
        match outcome {
            Outcome::Published => self.published().await,
            Outcome::Interrupted(upload) => self.interrupted(*upload).await,
            Outcome::Restored(cleanup) => {
                if let Some(cleanup) = cleanup {
                    cleanup.remove().await;
                }
                self.record.state = RecordState::Interrupted;
                self.write().await;
                // There is nothing to restore if a newer one has come.
                if self.ownership == Ownership::Superseded {
                    if let Some(upload) = &self.record.upload {
                        let parts = upload.at(&self.target.location, &self.at());
                        abort_upload(&parts, &upload.id).await;
                    }
                    self.withdraw(Earlier::Stays).await;
                }
            }
        }
    }

    /// Writes the record, the first time or again.
    pub(in crate::object) async fn write(&mut self) {
        self.date();
        if let Err(error) = self.claim().await {
            warn!(key = self.target.location.key, transfer = %self.target.id, %error,
                "the record of a running upload could not be written; it is tried again");
        }
    }

    /// The object is there: removes the record and the tail it names, and the interrupted uploads
    /// that it ends.
    pub(in crate::object) async fn published(&mut self) {
        if self.ownership == Ownership::TakenOver {
            return;
        }
        if self.is_superseded() {
            return self.withdraw(Earlier::Stays).await;
        }
        let object = self.target.location.clone();
        let known = self.forget_own_record();
        let others = self.knows_other_records();
        match self.slot.take() {
            Some(etag) => {
                let at = self.at();
                if let Some(tail) = &self.record.tail {
                    remove_tail(&at, tail).await;
                }
                if self.end(&etag).await == Some(Ended::Conflict) {
                    self.ownership = Ownership::Superseded;
                    self.withdraw(Earlier::Stays).await;
                }
            }
            None if self.slot == SlotView::Maybe => self.withdraw(Earlier::Ends).await,
            None if known => self.end_earlier().await,
            None => {}
        }
        if others {
            let ended = self.scope.object_published(&object, &self.target.id).await;
            if let Err(error) = ended {
                warn!(key = object.key, %error, "a record may be left to the sweep");
            }
        } else {
            self.note_unchecked_write();
        }
    }

    /// The object is there without a record of ours: an interrupted upload of the same user ends.
    async fn end_earlier(&mut self) {
        let (object, at) = (self.target.location.clone(), self.at());
        match records::read(&at).await {
            Ok(SlotContent::Record(found)) if self.may_discard(&found) => {
                found.discard(&object).await
            }
            Ok(SlotContent::Later(later)) => set_aside(&at, *later).await,
            Ok(_) => {}
            Err(error) => warn!(key = object.key, %error, "a record may be left to the sweep"),
        }
    }

    /// An upload of which nothing is kept removes its own record and tail, if they are still there,
    /// and the record that was set aside for it.
    pub(in crate::object) async fn withdraw(&mut self, earlier: Earlier) {
        let at = self.at();
        let read = records::read(&at).await;
        self.date();
        let object = &self.target.location;
        if let Some(tail) = &self.record.tail {
            let named = match &read {
                Ok(SlotContent::Record(found)) => found.record.tail.as_ref(),
                _ => None,
            };
            let is_named = named.is_some_and(|named| named.key == tail.key);
            let is_ours = matches!(
                &read,
                Ok(SlotContent::Record(found)) if found.record.is_same(&self.record)
            );
            if !is_named || is_ours {
                remove_tail(&at, tail).await;
            }
        }
        match read {
            Ok(SlotContent::Record(found)) if found.record.is_same(&self.record) => {
                if let Some(tail) = &found.record.tail {
                    remove_tail(&at, tail).await;
                }
                self.end(&found.etag).await;
                return;
            }
            Ok(SlotContent::Record(found))
                if earlier == Earlier::Ends && self.is_earlier(&found) =>
            {
                found.discard(object).await;
            }
            Ok(_) => {}
            Err(error) => warn!(key = object.key, %error, "a record may be left to the sweep"),
        }
        if self.slot != SlotView::Unwritten {
            // A newer upload may have set ours aside. See `end` for the order of these.
            let aside = set_aside_at(&at, &self.record.attempt.id);
            remove_object(&aside, aside.key.clone()).await;
            if at.store.conditional_deletes(&at.bucket).await
                && let Ok(SlotContent::Empty(etag)) = records::read(&at).await
            {
                end(&at, &etag, Leave::Nothing).await;
            }
        }
    }

    /// Ends our record. If another was set aside for it, an empty one stays, by which the upload of
    /// that learns that it was superseded. It removes the other one and then looks for the empty
    /// one; here the empty one is written before it is looked whether the other one is still there.
    /// So one of the two removes the empty one.
    pub(in crate::object) async fn end(&self, etag: &str) -> Option<Ended> {
        let at = self.at();
        if self.set_aside.is_empty() {
            return end(&at, etag, Leave::Nothing).await;
        }
        let ended = end(&at, etag, Leave::Empty).await;
        if ended != Some(Ended::Gone) || !at.store.conditional_deletes(&at.bucket).await {
            return ended;
        }
        for key in &self.set_aside {
            let aside = Location {
                key: key.clone(),
                ..at.clone()
            };
            if !matches!(head(&aside).await, Err(ObjectError::NotFound)) {
                return ended;
            }
        }
        if let Ok(SlotContent::Empty(etag)) = records::read(&at).await {
            end(&at, &etag, Leave::Nothing).await;
        }
        ended
    }

    /// Notes when bytes last arrived, and when the upload began as soon as the store has reported
    /// its time.
    pub(in crate::object) fn date(&mut self) {
        let Some(now) = self.target.location.store.now() else {
            return;
        };
        let ago = |passed: Duration| {
            let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
            now.as_millisecond().saturating_sub(passed)
        };
        self.record.moved_ms = ago(self.guard.idle_for());
        if let Some(began) = self.began.take() {
            self.record.began.at_ms = ago(began.elapsed());
        }
    }

    /// Whether this process knows of records of the object that end with its publication.
    pub(in crate::object) fn knows_records(&self) -> bool {
        self.slot.has_version() || self.knows_own_record() || self.knows_other_records()
    }

    /// Whether this process knows of a record of the user.
    pub(in crate::object) fn knows_own_record(&self) -> bool {
        let own = user_hash(&self.scope.user);
        let object = self.guard.object();
        self.cache().contains(object, |user| user == own)
    }

    fn knows_other_records(&self) -> bool {
        let own = user_hash(&self.scope.user);
        let object = self.guard.object();
        self.cache().contains(object, |user| user != own)
    }

    /// Remembers that the user has a record.
    pub(in crate::object) fn note_own_record(&self) {
        let own = user_hash(&self.scope.user);
        self.cache().insert(self.guard.object(), &own);
    }

    /// Forgets the user's record; returns whether it was known.
    pub(in crate::object) fn forget_own_record(&self) -> bool {
        let own = user_hash(&self.scope.user);
        self.cache().remove(self.guard.object(), &own)
    }

    /// Remembers that the object was written without a look at its records.
    pub(in crate::object) fn note_unchecked_write(&self) {
        self.cache().insert_unchecked_write(self.guard.object());
    }

    fn cache(&self) -> &RecordCache {
        &self.target.location.store.context().record_cache
    }

    /// Whether nothing of the upload may be kept.
    pub(in crate::object) fn is_superseded(&self) -> bool {
        self.ownership == Ownership::Superseded || self.guard.is_superseded()
    }

    /// What the record says of the multipart upload.
    pub(in crate::object) fn note(&self, created: &Created, copied: u32) -> UploadNote {
        UploadNote {
            id: created.upload_id.to_string(),
            key: self.target.staged.as_ref().map(|at| at.key.clone()),
            crc32: created.integrity == Integrity::Crc32,
            copied,
        }
    }

    pub(in crate::object) fn at(&self) -> Location {
        let object = &self.target.location;
        record_at(object, &self.scope.state_bucket, &self.scope.user)
    }

    pub(in crate::object) fn replica(&self) -> &Replica {
        &self.target.location.store.context().replica
    }
}

/// What becomes of an earlier upload of the same user and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum Earlier {
    /// It stays.
    Stays,
    /// It is discarded.
    Ends,
}
