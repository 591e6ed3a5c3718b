//! What becomes of an upload that was broken off: its tail and record are written, or nothing of it
//! stays.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::multipart::{AbortMode, Created};
use crate::object::parts::part::Part;
use crate::object::parts::pieces::Pieces;
use crate::object::parts::tail::{TailNote, staged_tail};
use crate::object::resume::discard::remove_tail;
use crate::object::resume::keys::tail_at;
use crate::object::resume::record::{BaseObject, RecordState};
use crate::object::resume::record_task::event::InterruptedUpload;
use crate::object::resume::record_task::ownership::Ownership;
use crate::object::resume::record_task::tail::gather;
use crate::object::resume::record_task::task::{Earlier, LOOK, PAUSES, ROUNDS, RecordTask};
use crate::object::resume::records::{self, SlotContent};
use crate::object::resume::stored::written_since;
use crate::object::verify::{WriteCheck, look};

/// Parts in flight get this time to end if nothing of the upload will be stored or the process
/// ends. Otherwise only their own deadlines bound them.
const ENDING: Duration = Duration::from_secs(30);

impl RecordTask {
    pub(in crate::object) async fn interrupted(&mut self, mut upload: InterruptedUpload) {
        self.parts_end(&mut upload).await;
        // A Create that is still under way is waited for: its upload would stay open else.
        let mut created = match &upload.create {
            Some(opening) => opening.created().await.ok(),
            None => None,
        };
        if upload.abort == AbortMode::LookFirst {
            let object = self.target.location.clone();
            let at = match (&self.target.staged, &upload.staged) {
                (Some(staged), None) => staged.clone(),
                _ => object.clone(),
            };
            if let WriteCheck::Ours(info) = look(&at, &self.target.id, None).await {
                warn!(key = object.key, transfer = %self.target.id,
                    "the upload was completed after it had been given up");
                if at.same_object(&object) {
                    if let Some(staged) = &upload.staged {
                        self.unstored(&staged.key);
                        remove_tail(&self.at(), staged).await;
                    }
                    return self.published().await;
                }
                // Its parts have become the staged file.
                created = None;
                upload.staged = Some(staged_tail(at.key, info.size, info.etag, None));
            }
        }
        if self.ownership == Ownership::TakenOver {
            return;
        }
        let staged = upload.staged.clone();
        if upload.keep && self.is_keepable() && self.store(&mut upload, created.as_ref()).await {
            return;
        }
        if self.is_resumed_elsewhere().await {
            return;
        }
        if staged.is_some() {
            // It is removed with the record.
            self.record.tail = staged;
        }
        if let Some(created) = created {
            self.target.abort(&created.upload_id, upload.abort).await;
        }
        if let Some(pieces) = &upload.pieces {
            self.unstored(pieces.key());
            pieces.remove(pieces.live_but(&[])).await;
        }
        // An earlier interrupted upload of the name is not the beginning of this one: a client that
        // resumed it with what it has sent here would mix the two.
        self.withdraw(Earlier::Ends).await;
    }

    /// Whether it may be kept, as far as is known without asking.
    fn is_keepable(&self) -> bool {
        !self.is_superseded() && self.record.state != RecordState::Doubtful
    }

    /// Whether another process resumes this upload, of which this one may not have heard.
    async fn is_resumed_elsewhere(&self) -> bool {
        if !self.slot.has_version() {
            return false;
        }
        match records::read(&self.at()).await {
            Ok(SlotContent::Record(found)) => {
                found.record.transfer == self.record.transfer
                    && !found.record.is_same(&self.record)
                    && found.record.state != RecordState::Removing
            }
            Ok(SlotContent::Later(later)) => {
                let ours = self.record.upload.as_ref().map(|upload| &upload.id);
                ours.is_some() && ours == later.names.upload.as_ref().map(|upload| &upload.id)
            }
            _ => false,
        }
    }

    /// Waits until the parts in flight have ended; the record is refreshed meanwhile, so that no
    /// process takes this one for dead.
    async fn parts_end(&mut self, upload: &mut InterruptedUpload) {
        let begun = Instant::now();
        let mut written = begun;
        loop {
            match timeout(LOOK, upload.inflight.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok(Ok(part)))) => upload.done.push(part),
                Ok(Some(_)) | Err(_) => {}
            }
            let kept = upload.keep && self.is_keepable();
            if begun.elapsed() >= ENDING && (!kept || self.process_ends())
                || self.ownership == Ownership::TakenOver
            {
                upload.inflight.abort_all();
                // Some may have ended, and have given their bytes back.
                while let Some(ended) = upload.inflight.join_next().await {
                    upload.done.extend(ended.ok().and_then(Result::ok));
                }
                return;
            }
            if kept && written.elapsed() >= self.replica().refresh {
                written = Instant::now();
                self.write().await;
            }
        }
    }

    /// Whether what is still to be done is waited for by a process that is about to end.
    pub(in crate::object) fn process_ends(&self) -> bool {
        self.target.location.store.context().cleanups.is_closed()
    }

    /// Stores the tail and the record. Whether the multipart upload is to stay.
    async fn store(&mut self, upload: &mut InterruptedUpload, created: Option<&Created>) -> bool {
        if let Some(staged) = upload.staged.take() {
            return self.store_staged(staged, upload.ended).await;
        }
        let object = self.target.location.clone();
        let (run, parts) = gather(upload);
        let pieces = upload.pieces.clone();
        let is_ours = |tail: &TailNote| {
            pieces
                .as_ref()
                .is_some_and(|pieces| pieces.key() == tail.key)
        };
        // The tail before stays good if no more has come than it it holds: the store has
        // refused a part, say.
        let end = run + parts.iter().map(Part::size).sum::<u64>();
        let standing = self.record.tail.clone().filter(|old| {
            !is_ours(old)
                && (old.offset..old.end()).contains(&run)
                && (parts.is_empty() || old.end() >= end)
        });
        let size = standing.as_ref().map_or(end, TailNote::end);
        if size <= self.record.old_bytes || !self.is_newest(upload.ended).await {
            return false;
        }
        self.date();
        // The record names the old tail until there is another: the record may be written
        // meanwhile.
        let old_tail = self.record.tail.clone();
        if standing.is_some() || parts.is_empty() {
            self.record.tail = standing;
        } else {
            let at = || tail_at(&object, &self.scope.state_bucket, &self.scope.user);
            let pieces = pieces.clone().unwrap_or_else(|| Pieces::new(at()));
            let stored = self.put_pieces(&pieces, parts).await;
            let tail = TailNote::new(pieces.key().to_owned(), run, stored);
            if tail.pieces.is_empty() {
                // One of an earlier upload may still be of use.
                self.unstored(&tail.key);
            } else {
                self.record.tail = Some(tail);
            }
        }
        self.record.upload = created.map(|created| self.note(created, upload.copied));
        if self.record.state == RecordState::Running {
            self.record.state = RecordState::Interrupted;
        }
        self.store_record(old_tail, size, pieces.as_deref()).await
    }

    /// A whole file at its staged key is the tail of an upload without parts: the one that resumes
    /// it copies it, or reads it.
    async fn store_staged(&mut self, staged: TailNote, ended: bool) -> bool {
        let size = staged.end();
        if size <= self.record.old_bytes || !self.is_newest(ended).await {
            return false;
        }
        self.date();
        let old_tail = self.record.tail.replace(staged);
        self.record.upload = None;
        if self.record.state == RecordState::Running {
            self.record.state = RecordState::Interrupted;
        }
        self.store_record(old_tail, size, None).await
    }

    /// Whether the object has not been written since the upload began, as far as that can be seen.
    /// It is looked if nothing is known of the object yet, or if the upload was refused when all
    /// its bytes had come: another session may have written it since, and then nothing would ever
    /// resume this one.
    async fn is_newest(&mut self, ended: bool) -> bool {
        let unknown = self.record.base == BaseObject::Unknown;
        if !unknown && !ended {
            return true;
        }
        let object = self.target.location.clone();
        let info = head(&object).await;
        self.date();
        match info {
            Ok(info) if written_since(&self.record, Some(&info)) && !self.is_older(&info) => {
                info!(key = object.key, transfer = %self.target.id,
                    "the object may have been written since the upload began: nothing of it is \
                     kept");
                return false;
            }
            Ok(info) if unknown => self.record.base = BaseObject::Object(info.identity().into()),
            Err(ObjectError::NotFound) if unknown => self.record.base = BaseObject::Absent,
            Ok(_) | Err(ObjectError::NotFound) => {}
            Err(error) => debug!(%error, "the object could not be looked at"),
        }
        true
    }

    /// Whether an object was published in this process before the upload began, which its time may
    /// not show.
    fn is_older(&self, info: &ObjectInfo) -> bool {
        let version = info.identity();
        let (began, replica) = (&self.record.began, self.replica());
        let active = &self.target.location.store.context().active_uploads;
        self.record.base == BaseObject::Unknown
            && began.process == replica.process
            && version
                .transfer()
                .is_some_and(|transfer| active.published_before(transfer, began.serial))
    }

    /// Writes the last record of an interrupted upload, and removes the tail that it does not name
    /// any more: the old one, or the new one if the record could not be written.
    async fn store_record(
        &mut self,
        old_tail: Option<TailNote>,
        size: u64,
        pieces: Option<&Pieces>,
    ) -> bool {
        let object = self.target.location.clone();
        let at = self.at();
        let key = |tail: &Option<TailNote>| tail.as_ref().map(|tail| tail.key.clone());
        let replaced = key(&old_tail) != key(&self.record.tail);
        for round in 1..=ROUNDS {
            let had = self.slot.has_version();
            let claimed = match self.claim().await {
                Ok(()) if self.ownership == Ownership::Ours => self.verify().await,
                claimed => claimed,
            };
            match claimed {
                // The old tail is of use to the process that resumes the upload.
                Ok(()) if self.ownership == Ownership::TakenOver => {
                    if let Some(tail) = self.record.tail.take().filter(|_| replaced) {
                        remove_tail(&at, &tail).await;
                    }
                    return true;
                }
                Ok(()) if !self.is_keepable() => {
                    // A newer one has come meanwhile: the upload goes, and the tails with it.
                    if let Some(tail) = old_tail.filter(|_| replaced) {
                        remove_tail(&at, &tail).await;
                    }
                    return false;
                }
                Ok(()) => {
                    if let Some(tail) = old_tail.filter(|_| replaced) {
                        remove_tail(&at, &tail).await;
                    }
                    if let Some(pieces) = pieces {
                        let named = self.record.tail.iter().flat_map(|tail| &tail.pieces);
                        let named: Vec<u32> = named.map(|piece| piece.number).collect();
                        pieces.remove(pieces.live_but(&named)).await;
                    }
                    self.note_own_record();
                    at.store.context().metrics.upload_interrupted();
                    info!(key = object.key, transfer = %self.target.id, bytes = size,
                        "kept an interrupted upload");
                    return true;
                }
                Err(error) => {
                    warn!(key = object.key, transfer = %self.target.id, %error, round,
                        "the record of a broken upload could not be written");
                    // The one before still names the parts.
                    if round == ROUNDS {
                        if let Some(tail) = self.record.tail.take().filter(|_| replaced) {
                            remove_tail(&at, &tail).await;
                        }
                        return had;
                    }
                }
            }
            PAUSES.pause(round).await;
        }
        false
    }

    /// Checks that the record is still ours, on a store without conditions: another process may have
    /// checked before we wrote it, and have written after that.
    async fn verify(&mut self) -> Result<(), ObjectError> {
        let at = self.at();
        if at.store.conditional_writes(&at.bucket).await {
            return Ok(());
        }
        match records::read(&at).await? {
            SlotContent::Record(found) if found.record.is_same(&self.record) => {}
            SlotContent::Record(found)
                if found.record.transfer == self.record.transfer
                    && found.record.state != RecordState::Removing =>
            {
                self.ownership = Ownership::TakenOver;
            }
            _ => self.ownership = Ownership::Superseded,
        }
        Ok(())
    }
}
