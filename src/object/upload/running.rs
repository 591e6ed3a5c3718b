//! [`Upload`]: takes the client's bytes, and sends each part that is full.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::memory::{Admission, CHUNK};
use crate::object::error::ObjectError;
use crate::object::multipart::{AbortMode, DonePart, PartSource, Target};
use crate::object::part_sizes::{MAX_PARTS, PartSizes};
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::part::{Part, RetainedPart, upload_part};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::pieces::Pieces;
use crate::object::precondition::Precondition;
use crate::object::publish_error::OnFailure;
use crate::object::resume::record_task::{EarlierCheck, InterruptedUpload, RecordHandle};
use crate::object::transfer_id::TransferId;
use crate::object::upload::filling::Filling;
use crate::object::upload::relief::{Pace, Relief};
use crate::object::upload::resources::Resources;
use crate::object::upload::sending::{InFlight, Sending};
use crate::object::upload::staged_file::StagedFile;

/// The first chunk of a part, bytes: enough for most of what devices send.
const FIRST_CHUNK: u64 = 32 * 1024;

/// An upload under way. Dropping it abandons it: nothing becomes visible, and a task of
/// [`StoreContext::cleanups`](crate::object::StoreContext::cleanups) stores what can be resumed, or
/// aborts the multipart upload.
#[derive(Debug)]
pub struct Upload {
    pub(super) target: Arc<Target>,
    pub(super) resources: Resources,
    pub(super) precondition: Precondition,
    /// The sizes of its parts.
    pub(super) sizes: PartSizes,
    pub(super) origin: Origin,
    pub(super) input: Input,
    pub(super) filling: Filling,
    pub(super) sending: Sending,
    /// Its resume record, if it can be resumed.
    pub(super) record: Option<RecordHandle>,
    pub(super) retention: Retention,
    /// Where pieces may be stored.
    pub(super) pieces: Option<Arc<Pieces>>,
    /// All of it at its staged key, once it is there.
    pub(super) staged: Option<StagedFile>,
    /// When memory is to be given back.
    pub(super) relief: Relief,
    /// How fast the client sends.
    pub(super) pace: Pace,
    /// The largest size, if it is smaller than what the store takes.
    pub(super) limit: Option<u64>,
    pub(super) failure: Option<ObjectError>,
    /// Where parts in flight report that they have failed.
    pub(super) failed: watch::Sender<Option<ObjectError>>,
}

/// Which bytes of the object did not come from this client now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// None: all bytes come from this client now.
    New,
    /// The first bytes of the old object.
    Append { old_bytes: u64 },
    /// All that an interrupted upload has stored.
    Resumed { old_bytes: u64 },
}

/// Whether the client sends more.
#[derive(Debug)]
pub(super) enum Input {
    /// It may.
    Open,
    /// Its bytes have ended: an id of that time, which sorts before those of later transfers.
    Ended(TransferId),
}

impl Input {
    /// Called again, it changes nothing.
    fn end(&mut self) {
        if let Input::Open = self {
            *self = Input::Ended(TransferId::generate());
        }
    }
}

/// How long the bytes of a part that is sent stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Until it is stored, or has failed.
    WhileSent,
    /// Until it is stored: a part that the store was out of reach for can be stored when the upload
    /// is interrupted.
    UntilStored,
}

/// See [`Upload::failure`].
#[derive(Debug)]
pub struct FailureWatch(watch::Receiver<Option<ObjectError>>);

impl FailureWatch {
    /// Resolves when a part in flight has failed for good. Cancel safe.
    pub async fn wait(&mut self) -> ObjectError {
        if let Ok(failure) = self.0.wait_for(Option::is_some).await
            && let Some(error) = failure.clone()
        {
            return error;
        }
        // The upload is gone, and with it all that could fail.
        std::future::pending().await
    }
}

impl Upload {
    /// An upload that has nothing yet.
    pub(super) fn blank(
        target: Target,
        precondition: Precondition,
        admission: Option<Admission>,
        sizes: PartSizes,
    ) -> Upload {
        let crc = target.location.store.may_need_crc();
        Upload {
            resources: Resources::of(&target.location),
            target: Arc::new(target),
            precondition,
            sizes,
            origin: Origin::New,
            input: Input::Open,
            filling: Filling::new(Part::new(crc), admission),
            sending: Sending::default(),
            record: None,
            retention: Retention::WhileSent,
            pieces: None,
            staged: None,
            relief: Relief::default(),
            pace: Pace::default(),
            limit: None,
            failure: None,
            failed: watch::Sender::new(None),
        }
    }

    /// Refuses an object of more than this number of bytes, old ones included: the upload fails by
    /// [`ObjectError::TooLarge`] as soon as one byte more was taken, and nothing is kept of it.
    pub fn limit_to(&mut self, limit: u64) {
        self.limit = Some(limit);
    }

    /// Room for the next bytes: a buffer with spare capacity to read into (`read_buf`), never
    /// beyond it. Full chunks and parts are sent off by the next call. Waits for memory and for a
    /// free place in flight; fails as soon as a part has failed, and from then on. Cancel safe.
    pub async fn space(&mut self) -> Result<&mut BytesMut, ObjectError> {
        self.space_and_relief().await.map(|(space, _)| space)
    }

    /// [`space`](Self::space), with what the caller must wait for alongside the client. Cancel
    /// safe.
    pub async fn space_and_relief(&mut self) -> Result<(&mut BytesMut, &mut Relief), ObjectError> {
        self.reap()?;
        self.check_limit()?;
        let sent = self.received() > 0;
        if let Some(record) = &mut self.record {
            record.received(self.filling.size(), sent);
            if record.check_is_due() {
                Box::pin(record.discard_earlier(EarlierCheck::WhileFilling)).await;
            }
        }
        let buffer = &self.filling.buffer;
        if buffer.is_empty() && buffer.capacity() > 0 {
            return Ok((&mut self.filling.buffer, &mut self.relief));
        }
        self.check_size()?;
        if self.filling.filled() > 0 {
            self.send_first();
        }
        let buffer = &self.filling.buffer;
        if buffer.len() == buffer.capacity() {
            self.end_chunk().await?;
            self.new_chunk().await?;
        }
        Ok((&mut self.filling.buffer, &mut self.relief))
    }

    /// Copies `data` in: for sources that are not sockets.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), ObjectError> {
        while !data.is_empty() {
            let buffer = self.space().await?;
            let room = buffer.capacity() - buffer.len();
            buffer.extend_from_slice(&data.split_to(room.min(data.len())));
        }
        self.check_limit()
    }

    /// Reports when a part in flight has failed for good: to be waited for alongside the client.
    pub fn failure(&self) -> FailureWatch {
        FailureWatch(self.failed.subscribe())
    }

    /// Cancelled when another session of the same user resumes this upload, which is to be dropped
    /// then.
    pub fn stopped(&self) -> CancellationToken {
        self.record
            .as_ref()
            .map_or_else(CancellationToken::new, RecordHandle::stopped)
    }

    /// The client's bytes have ended.
    pub fn input_ended(&mut self) {
        self.input.end();
    }

    /// The client's bytes have ended: sends the last part off and waits until all parts are there.
    /// What fits in one part sends nothing yet. Calling it again does nothing.
    pub(in crate::object) async fn store_parts(&mut self) -> Result<(), ObjectError> {
        self.input.end();
        self.reap()?;
        self.check_size()?;
        if self.filling.filled() > 0 {
            self.send_first();
        }
        self.end_chunk().await?;
        if self.sending.is_multipart() && self.filling.part.size() > 0 {
            self.slot().await?;
            // Until the part is in flight nothing is awaited: if this is dropped, a part in a local
            // variable is lost.
            let part = self.next_part();
            let keeps = self.retention == Retention::UntilStored;
            if let Some(flight) = self.sending.in_flight() {
                flight.last = keeps.then_some(part.0);
            }
            self.send(part);
        }
        while let Some(flight) = self.sending.in_flight()
            && let Some(ended) = flight.tasks.join_next().await
        {
            let ended = flight.part_ended(ended);
            self.note(ended);
            self.reap()?;
        }
        Ok(())
    }

    /// Bytes taken from the client so far; old bytes don't count.
    pub fn received(&self) -> u64 {
        let old = match self.origin {
            Origin::New => 0,
            Origin::Append { old_bytes } | Origin::Resumed { old_bytes } => old_bytes,
        };
        // Fewer than the old ones are there while those are still being read.
        self.filling.size().saturating_sub(old)
    }

    /// Gives it up and waits until nothing of it is left in the store.
    pub async fn abandon(mut self) {
        if self.record.is_some() {
            return self.break_off(Some(AbortMode::AtOnce), OnFailure::Remove);
        }
        let cleanups = self.resources.cleanups.clone();
        if let Some(cleanup) = self.take_cleanup(Some(AbortMode::AtOnce)) {
            // Spawned, so that it is carried out also if the caller is dropped meanwhile.
            let _ = cleanups.spawn(cleanup.remove().in_current_span()).await;
        }
    }

    /// The size of the part being filled, when it is full.
    pub(super) fn part_size(&self) -> u64 {
        self.sizes.size(self.filling.number - self.sending.copied())
    }

    /// Before the chunk is full: a client that has sent too much may pause.
    fn check_limit(&mut self) -> Result<(), ObjectError> {
        match self.limit {
            Some(limit) if self.filling.size() > limit => self.check_size(),
            _ => Ok(()),
        }
    }

    fn check_size(&mut self) -> Result<(), ObjectError> {
        let largest = self.target.location.largest_object();
        let limit = self.limit.map_or(largest, |limit| limit.min(largest));
        let filling = &self.filling;
        if filling.size() > limit || (filling.number > MAX_PARTS && filling.filled() > 0) {
            self.failure = Some(ObjectError::TooLarge { limit });
        }
        self.reap()
    }

    /// Takes the results of parts that have ended; fails if one has failed.
    fn reap(&mut self) -> Result<(), ObjectError> {
        while let Some(flight) = self.sending.in_flight()
            && let Some(ended) = flight.tasks.try_join_next()
        {
            let ended = flight.part_ended(ended);
            self.note(ended);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// The first failure of a part is that of the upload.
    fn note(&mut self, ended: Result<(), ObjectError>) {
        if let Err(error) = ended {
            self.failure.get_or_insert(error);
        }
    }

    /// The chunk joins its part; a full part is sent, or held back if it is the first.
    async fn end_chunk(&mut self) -> Result<(), ObjectError> {
        self.push_buffer();
        if self.filling.part.size() < self.part_size() {
            return Ok(());
        }
        if self.sending.is_multipart() {
            self.slot().await?;
            let part = self.next_part();
            self.send(part);
        } else if !self.sending.holds_first() {
            let (_, part) = self.next_part();
            self.sending = Sending::Single { first: Some(part) };
        }
        Ok(())
    }

    /// The chunk being filled joins its part.
    pub(super) fn push_buffer(&mut self) {
        self.filling.push_buffer(&self.resources.budget);
    }

    /// Takes the part out and begins the next.
    fn next_part(&mut self) -> (u32, Part) {
        // One that begins now is not the only one.
        let crc = self.target.location.store.part_may_need_crc();
        self.filling.next_part(crc)
    }

    /// An empty chunk for the next bytes, after waiting for its memory.
    async fn new_chunk(&mut self) -> Result<(), ObjectError> {
        self.pace.begin(self.filling.size());
        if self.filling.room() == 0 {
            self.more_memory().await?;
        }
        let rest = self.part_size() - self.filling.part.size();
        let rest = rest.min(self.filling.room());
        self.filling.buffer = if rest >= CHUNK as u64 {
            self.resources.budget.chunk()
        } else {
            let first = self.filling.part.in_memory() == 0;
            let size = if first { rest.min(FIRST_CHUNK) } else { rest };
            BytesMut::with_capacity(usize::try_from(size).unwrap_or(CHUNK))
        };
        Ok(())
    }

    /// Waits until fewer parts than allowed are in flight; those that the store copies don't count.
    async fn slot(&mut self) -> Result<(), ObjectError> {
        let parallel = self.resources.parallel;
        let begun = Instant::now();
        let mut waited = false;
        while let Some(flight) = self.sending.in_flight()
            && flight.tasks.len() >= parallel + flight.copying
        {
            waited = true;
            if let Some(ended) = flight.tasks.join_next().await {
                let ended = flight.part_ended(ended);
                self.note(ended);
            }
            self.reap()?;
        }
        if waited {
            self.pace.held_back(begun, self.filling.size());
        }
        Ok(())
    }

    /// More has come than fits in one part: it becomes a multipart upload, and the first part is
    /// sent, if it is held back.
    pub(super) fn send_first(&mut self) {
        let Sending::Single { first } = &mut self.sending else {
            return;
        };
        let Some(part) = first.take() else {
            return;
        };
        let create = PendingCreate::start(&self.target, PartSource::Sent);
        if let Some(record) = &mut self.record {
            record.opened(&create, 0);
        }
        self.sending = Sending::Multipart(InFlight::new(create));
        self.send((1, part));
    }

    /// Sends a part by a task of its own.
    fn send(&mut self, (number, part): (u32, Part)) {
        let keeps = self.retention == Retention::UntilStored;
        let Some(flight) = self.sending.in_flight() else {
            return;
        };
        let create = flight.create.clone();
        let target = Arc::clone(&self.target);
        let part = RetainedPart::new(part);
        if keeps {
            flight.sent.insert(number, part.clone());
        }
        let stays = flight.last == Some(number);
        let pieces = self.pieces.clone().filter(|_| part.has_pieces());
        self.relief.end();
        self.spawn(async move {
            let done = async {
                let created = create.created().await?;
                let sent = match &pieces {
                    Some(pieces) => Box::pin(pieces.read_back(&part)).await?,
                    None => part.to_send(created.integrity),
                };
                upload_part(&target, &created, number, sent).await
            };
            let done = done.await;
            if let Some(pieces) = pieces
                && done.is_ok()
                && !stays
            {
                let stored = part.take().take_pieces();
                pieces.remove_alongside(stored.iter().map(|piece| piece.number).collect());
            }
            if !keeps || !stays && !part.is_cut() && done.as_ref().map_or_else(refused, |_| true) {
                // Its memory is given back now, not when the upload takes its result.
                part.take();
            }
            done
        });
    }

    /// Puts a part in flight; its failure is reported at once to those that watch.
    pub(super) fn spawn(
        &mut self,
        part: impl Future<Output = Result<DonePart, ObjectError>> + Send + 'static,
    ) {
        let Some(flight) = self.sending.in_flight() else {
            return;
        };
        let failed = self.failed.clone();
        let sent = async move {
            let done = part.await;
            if let Err(error) = &done {
                failed.send_replace(Some(error.clone()));
            }
            done
        };
        flight.tasks.spawn(sent.in_current_span());
    }

    /// Ends it before it is published: a task stores what can be resumed, or removes it from the
    /// store. `abort`: how the multipart upload is aborted, if it is; `None` if it is not open any
    /// more. Nothing is left to be done after that.
    pub(super) fn break_off(&mut self, abort: Option<AbortMode>, on_failure: OnFailure) {
        if let Some(record) = self.record.take() {
            return record.interrupted(self.take_interrupted(abort, on_failure));
        }
        if let Some(cleanup) = self.take_cleanup(abort) {
            // Without a runtime nothing can be done any more: the process is ending.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let removed = cleanup.remove().in_current_span();
                self.resources.cleanups.spawn_on(removed, &runtime);
            }
        }
    }

    /// Takes out what has to be removed from the store, if there is anything.
    pub(super) fn take_cleanup(&mut self, abort: Option<AbortMode>) -> Option<AbortCleanup> {
        let pieces = self.pieces.take().filter(|pieces| pieces.any());
        let (create, inflight) = match std::mem::take(&mut self.sending) {
            Sending::Single { .. } => (None, JoinSet::new()),
            Sending::Multipart(flight) => (Some(flight.create), flight.tasks),
        };
        let create = create.filter(|_| abort.is_some());
        let staged = self.staged.take().and(self.target.staged.clone());
        let any = create.is_some() || pieces.is_some() || staged.is_some();
        any.then(|| AbortCleanup {
            target: Arc::clone(&self.target),
            create,
            pieces,
            staged,
            inflight,
            abort: abort.unwrap_or(AbortMode::LookFirst),
        })
    }

    /// Takes out what there is of it, to be kept or removed.
    fn take_interrupted(
        &mut self,
        abort: Option<AbortMode>,
        on_failure: OnFailure,
    ) -> InterruptedUpload {
        self.push_buffer();
        let resumable = self.failure.as_ref().is_none_or(ObjectError::can_go_on);
        let rest = (self.filling.number, std::mem::take(&mut self.filling.part));
        let mut interrupted = InterruptedUpload {
            create: None,
            inflight: JoinSet::new(),
            sent: BTreeMap::new(),
            done: Vec::new(),
            copied: 0,
            last: None,
            rest,
            pieces: self.pieces.take().filter(|pieces| pieces.any()),
            ended: matches!(self.input, Input::Ended(_)),
            staged: self.staged.take().map(|staged| staged.tail),
            abort: abort.unwrap_or(AbortMode::LookFirst),
            _admission: self.filling.admission.take(),
            keep: on_failure == OnFailure::Keep && resumable,
        };
        match std::mem::take(&mut self.sending) {
            Sending::Single { first } => {
                let first = first.map(|part| (1, RetainedPart::new(part)));
                interrupted.sent.extend(first);
            }
            Sending::Multipart(flight) => {
                interrupted.create = Some(flight.create).filter(|_| abort.is_some());
                interrupted.inflight = flight.tasks;
                interrupted.sent = flight.sent;
                interrupted.done = flight.done;
                interrupted.copied = flight.copied;
                interrupted.last = flight.last;
            }
        }
        interrupted
    }
}

/// Whether a part that failed so would fail again: only those for which the store was out of reach
/// are kept.
fn refused(error: &ObjectError) -> bool {
    !error.transient() || matches!(error, ObjectError::Integrity(_))
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.break_off(Some(AbortMode::AtOnce), OnFailure::Keep);
    }
}
