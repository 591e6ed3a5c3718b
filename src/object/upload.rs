//! Upload: chunks → parts → PutObject or a multipart upload. Only `publish` makes anything visible.
//!
//! The caller reads straight into the chunk that [`Upload::space`] gives. Full chunks join the part being filled; a full
//! part is sent by a task of its own while the next is filled, at most `upload_parallel` of them at once. The first
//! part is held back until a byte comes that does not fit in it: an upload that ends before is one PutObject.
//!
//! Memory: each part begins with small chunks out of the admission's memory, so a small file needs no more, and a client
//! that has nothing more to say never waits for a part's memory. When those are full more is waited for (`pressure`),
//! first come first served, with nothing in hand that others could need but parts that come free by themselves. It is
//! given back when the part is in the store, or when what there is of it is stored as a piece (`pieces`).
//!
//! A failed or abandoned upload leaves nothing: the requests in flight are ended first, then the multipart upload is
//! aborted, by a task that outlives the upload. Where a Complete may have been carried out it looks before that.

mod begin;
mod pressure;
mod publish;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::memory::{Admission, CHUNK};
use crate::object::error::ObjectError;
use crate::object::head::ObjectInfo;
use crate::object::multipart::{DonePart, Target};
use crate::object::part_sizes::{MAX_PARTS, PartSizes};
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::part::{Part, RetainedPart, upload_part};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::pieces::Pieces;
use crate::object::precondition::Precondition;
use crate::object::resume::record::ResumeScope;
use crate::object::resume::record_task::{EarlierCheck, InterruptedUpload, RecordHandle};
use crate::object::transfer_id::TransferId;
use crate::object::upload::pressure::Pace;

pub use crate::object::upload::pressure::{GivesBack, Relief};

/// The first chunk of a part, bytes: enough for most of what devices send.
const FIRST_CHUNK: u64 = 32 * 1024;

/// What a part holds before it asks for memory of its own, bytes: the admission covers it, and what is read of an old
/// object at the same time.
const FIRST_CHUNKS: u64 = 96 * 1024;

/// An upload that is still within its first part after so long asks for what is kept of an earlier one: that request is
/// spared where files come fast.
const SLOW: Duration = Duration::from_secs(1);

/// A part's memory is waited for at most this long, if the store does not take pieces. Parts of others come free by
/// themselves within their own deadlines, and a client that stalls with one is cut much sooner.
const PART_WAIT: Duration = Duration::from_secs(300);

/// What must hold when the object is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// No object of the name is there.
    IfAbsent,
}

/// The object whose first bytes the upload begins with.
#[derive(Debug, Clone)]
pub struct AppendTo {
    /// As it was when the upload began; publishing is pinned to its ETag.
    pub info: ObjectInfo,
    /// How many of its first bytes are kept.
    pub keep: u64,
}

/// How to upload.
#[derive(Debug, Clone)]
pub struct UploadOptions {
    /// The transfer's name.
    pub id: TransferId,
    /// What must hold at the end.
    pub condition: Condition,
    /// Begin with the old bytes of the object. Its attributes are kept, but for its `mtime`.
    pub append: Option<AppendTo>,
    /// User metadata beside the transfer id.
    pub metadata: Vec<(String, String)>,
    /// Keep what has arrived when it breaks off; else it is removed.
    pub keep: Option<ResumeScope>,
}

/// A published object.
#[derive(Debug, Clone)]
pub struct Published {
    /// Bytes, old ones included.
    pub size: u64,
    /// ETag with its quotes.
    pub etag: Option<String>,
    /// 0: one PutObject.
    pub parts: u32,
}

/// An upload under way. Dropping it abandons it: nothing becomes visible, a multipart upload is aborted by a task
/// of [`super::StoreContext::cleanups`].
#[derive(Debug)]
pub struct Upload {
    target: Arc<Target>,
    precondition: Precondition,
    /// The sizes of its parts.
    sizes: PartSizes,
    /// Where it is written down, if it is to be kept.
    journal: Option<RecordHandle>,
    /// Covers the first chunk of the part being filled, for as long as the upload lives.
    _admission: Option<Admission>,
    /// The chunk being filled.
    buffer: BytesMut,
    /// The part being filled, and its number.
    part: Part,
    number: u32,
    /// The first part, full, while it is not known whether more follows.
    held: Option<(u32, Part)>,
    /// Part numbers taken by the old bytes of an append: the schedule of sizes begins after them.
    copied: u32,
    /// How many of those are still being copied.
    copying: usize,
    /// Where pieces may be stored.
    pieces: Option<Arc<Pieces>>,
    /// When memory is to be given back.
    relief: Relief,
    /// How fast the client sends.
    pace: Pace,
    /// The multipart upload, once there is one.
    create: Option<PendingCreate>,
    inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// What has been put in flight, by its number, while its bytes are at hand.
    sent: BTreeMap<u32, RetainedPart>,
    done: Vec<DonePart>,
    failure: Option<ObjectError>,
    /// Where parts in flight tell that they have failed.
    failed: watch::Sender<Option<ObjectError>>,
    /// Bytes in all parts but the chunk being filled, old ones included.
    taken: u64,
    /// Bytes that were not the client's.
    old: u64,
    /// Whether the client's bytes have ended.
    ended: bool,
    /// All bytes are in parts.
    sealed: bool,
    /// The number of the last part, which may be smaller than others, so that nothing could follow it: its bytes stay at
    /// hand also when it is stored.
    last: Option<u32>,
    /// Whether it can go on after its failure.
    keepable: bool,
    /// When it began.
    begun: Instant,
    /// Whether an earlier upload of the name was asked for.
    asked: bool,
    /// It goes on from what was kept.
    resumed: bool,
    /// What was kept of it is still being read.
    restoring: bool,
    /// Its multipart upload is the one that was kept.
    reopened: bool,
    /// Whether a Complete has been sent that has no clear answer.
    undecided: bool,
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
    /// Room for the next bytes: a buffer with spare capacity to read into (`read_buf`), never beyond it. Full
    /// chunks and parts are sent off by the next call. Waits for memory and for a free place in flight; fails as
    /// soon as a part has failed, and from then on. Cancel safe.
    pub async fn space(&mut self) -> Result<&mut BytesMut, ObjectError> {
        self.space_and_relief().await.map(|(space, _)| space)
    }

    /// The same, with what is to be waited for alongside the client. Cancel safe.
    pub async fn space_and_relief(&mut self) -> Result<(&mut BytesMut, &mut Relief), ObjectError> {
        self.reap()?;
        let sent = self.received() > 0;
        if let Some(journal) = &mut self.journal {
            journal.received(self.taken + self.buffer.len() as u64, sent);
            if !self.asked && journal.is_idle() && self.begun.elapsed() > SLOW {
                Box::pin(journal.discard_earlier(EarlierCheck::Slow)).await;
                self.asked = true;
            }
        }
        if self.buffer.is_empty() && self.buffer.capacity() > 0 {
            return Ok((&mut self.buffer, &mut self.relief));
        }
        self.check_size()?;
        if self.held.is_some() && self.filled() > 0 {
            self.send_held().await?;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.end_chunk().await?;
            self.new_chunk().await?;
        }
        Ok((&mut self.buffer, &mut self.relief))
    }

    /// Copies `data` in: for sources that are no sockets.
    pub async fn write(&mut self, mut data: Bytes) -> Result<(), ObjectError> {
        while !data.is_empty() {
            let buffer = self.space().await?;
            let room = buffer.capacity() - buffer.len();
            buffer.extend_from_slice(&data.split_to(room.min(data.len())));
        }
        Ok(())
    }

    /// Tells when a part in flight has failed for good: to be waited for beside the client.
    pub fn failure(&self) -> FailureWatch {
        FailureWatch(self.failed.subscribe())
    }

    /// Cancelled when another session of the same user goes on with this upload, which is to be dropped then.
    pub fn stopped(&self) -> CancellationToken {
        self.journal
            .as_ref()
            .map_or_else(CancellationToken::new, RecordHandle::stopped)
    }

    /// The client's bytes have ended.
    pub fn input_ended(&mut self) {
        self.ended = true;
    }

    /// The client's bytes have ended: sends the last part off and waits until all parts are there. What fits in
    /// one part sends nothing yet.
    pub async fn seal(&mut self) -> Result<(), ObjectError> {
        self.ended = true;
        self.reap()?;
        if self.sealed {
            return Ok(());
        }
        self.check_size()?;
        if self.held.is_some() && self.filled() > 0 {
            self.send_held().await?;
        }
        self.end_chunk().await?;
        if self.create.is_some() {
            if self.part.size() > 0 {
                self.slot().await?;
                // From here to where it is in flight nothing is waited for: a part in a local is lost to one who is cut.
                let part = self.next_part();
                self.last = self.journal.is_some().then_some(part.0);
                self.send(part);
            }
            while let Some(ended) = self.inflight.join_next().await {
                self.part_ended(ended);
                self.reap()?;
            }
        }
        self.sealed = true;
        Ok(())
    }

    /// Bytes taken from the client so far; old bytes of an append don't count.
    pub fn received(&self) -> u64 {
        // Fewer than the old ones are there while those are still being read.
        self.size().saturating_sub(self.old)
    }

    /// Gives it up and waits until nothing of it is left in the store.
    pub async fn abandon(mut self) {
        self.keepable = false;
        if self.journal.is_some() {
            return;
        }
        let cleanups = self.target.location.store.context().cleanups.clone();
        if let Some(cleanup) = self.cleanup() {
            // Spawned, so that it goes on where the caller is dropped meanwhile.
            let _ = cleanups.spawn(cleanup.remove()).await;
        }
    }

    /// Bytes of the object so far.
    fn size(&self) -> u64 {
        self.taken + self.buffer.len() as u64
    }

    /// Bytes of the part being filled.
    fn filled(&self) -> u64 {
        self.part.size() + self.buffer.len() as u64
    }

    fn part_size(&self) -> u64 {
        self.sizes.size(self.number - self.copied)
    }

    fn check_size(&mut self) -> Result<(), ObjectError> {
        let limit = self.target.location.store.largest_object();
        if self.size() > limit || (self.number > MAX_PARTS && self.filled() > 0) {
            self.failure = Some(ObjectError::TooLarge { limit });
        }
        self.reap()
    }

    /// Takes the results of parts that have ended; fails where one has failed.
    fn reap(&mut self) -> Result<(), ObjectError> {
        while let Some(ended) = self.inflight.try_join_next() {
            self.part_ended(ended);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn part_ended(&mut self, ended: Result<Result<DonePart, ObjectError>, JoinError>) {
        match ended {
            Ok(Ok(part)) => {
                self.copying -= usize::from(part.number <= self.copied);
                if self.last != Some(part.number) {
                    self.sent.remove(&part.number);
                }
                self.done.push(part);
            }
            Ok(Err(error)) => {
                self.failure.get_or_insert(error);
            }
            Err(error) => {
                self.failure
                    .get_or_insert(ObjectError::Other(format!("a part's task ended: {error}")));
            }
        }
    }

    /// The chunk joins its part; a full part is sent, or held back if it is the first.
    async fn end_chunk(&mut self) -> Result<(), ObjectError> {
        self.push_buffer();
        if self.part.size() >= self.part_size() {
            if self.create.is_some() {
                self.slot().await?;
                let part = self.next_part();
                self.send(part);
            } else if self.held.is_none() {
                self.held = Some(self.next_part());
            }
        }
        Ok(())
    }

    /// The chunk being filled joins its part.
    fn push_buffer(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            // Not more than was given: a caller that reads beyond it makes a part larger, and nothing else.
            let budget = &self.target.location.store.context().budget;
            self.taken += buffer.len() as u64;
            self.part.push(budget.recycle(buffer));
        }
    }

    /// Takes the part out and begins the next.
    fn next_part(&mut self) -> (u32, Part) {
        // One that begins now is not the only one.
        let crc = self.target.location.store.part_may_need_crc();
        let part = std::mem::replace(&mut self.part, Part::new(crc));
        let number = self.number;
        self.number += 1;
        (number, part)
    }

    /// An empty chunk for the next bytes, after waiting for its memory.
    async fn new_chunk(&mut self) -> Result<(), ObjectError> {
        self.pace.begin(self.size());
        if self.room() == 0 {
            self.more_memory().await?;
        }
        let rest = (self.part_size() - self.part.size()).min(self.room());
        self.buffer = if rest >= CHUNK as u64 {
            self.target.location.store.context().budget.chunk()
        } else {
            let first = self.part.in_memory() == 0;
            let size = if first { rest.min(FIRST_CHUNK) } else { rest };
            BytesMut::with_capacity(usize::try_from(size).unwrap_or(CHUNK))
        };
        Ok(())
    }

    /// Waits until fewer parts than allowed are in flight; those that the store copies don't count.
    async fn slot(&mut self) -> Result<(), ObjectError> {
        let parallel = self
            .target
            .location
            .store
            .context()
            .transfer
            .upload_parallel
            .max(1);
        let begun = Instant::now();
        let mut waited = false;
        while self.inflight.len() >= parallel + self.copying {
            waited = true;
            if let Some(ended) = self.inflight.join_next().await {
                self.part_ended(ended);
            }
            self.reap()?;
        }
        if waited {
            self.pace.held_back(begun, self.size());
        }
        Ok(())
    }

    /// More has come than fits in one part: it becomes a multipart upload, and the first part is sent.
    async fn send_held(&mut self) -> Result<(), ObjectError> {
        if self.create.is_none() {
            let create = PendingCreate::start(&self.target, false);
            if let Some(journal) = self.journal.as_mut().filter(|_| !self.restoring) {
                journal.opened(&create, 0);
            }
            self.create = Some(create);
        }
        self.slot().await?;
        if let Some(part) = self.held.take() {
            self.send(part);
        }
        Ok(())
    }

    /// Sends a part by a task of its own.
    fn send(&mut self, (number, part): (u32, Part)) {
        let Some(create) = self.create.clone() else {
            return;
        };
        let target = Arc::clone(&self.target);
        let part = RetainedPart::new(part);
        let keeps = self.journal.is_some();
        if keeps {
            self.sent.insert(number, part.clone());
        }
        let stays = self.last == Some(number);
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
                // Its memory is given back now, not when somebody asks for its end.
                part.take();
            }
            done
        });
    }

    /// Puts a part in flight; its failure is told at once to whoever watches.
    fn spawn(
        &mut self,
        part: impl Future<Output = Result<DonePart, ObjectError>> + Send + 'static,
    ) {
        let failed = self.failed.clone();
        self.inflight.spawn(async move {
            let done = part.await;
            if let Err(error) = &done {
                failed.send_replace(Some(error.clone()));
            }
            done
        });
    }

    /// What has to be removed from the store, if there is anything.
    fn cleanup(&mut self) -> Option<AbortCleanup> {
        let create = self.create.take();
        let pieces = self.pieces.clone().filter(|pieces| pieces.any());
        (create.is_some() || pieces.is_some()).then(|| AbortCleanup {
            target: Arc::clone(&self.target),
            create,
            pieces,
            inflight: std::mem::take(&mut self.inflight),
            look_first: self.undecided,
        })
    }

    /// What there is of it, to be kept or removed.
    fn broken(&mut self) -> InterruptedUpload {
        self.push_buffer();
        if let Some((number, part)) = self.held.take() {
            self.sent.insert(number, RetainedPart::new(part));
        }
        InterruptedUpload {
            create: self.create.take(),
            inflight: std::mem::take(&mut self.inflight),
            sent: std::mem::take(&mut self.sent),
            done: std::mem::take(&mut self.done),
            copied: self.copied,
            last: self.last,
            rest: (self.number, std::mem::take(&mut self.part)),
            pieces: self.pieces.clone().filter(|pieces| pieces.any()),
            ended: self.ended,
            look_first: self.undecided,
            _admission: self._admission.take(),
            keep: self.keepable && self.failure.as_ref().is_none_or(ObjectError::can_go_on),
        }
    }
}

/// Whether a part that failed so would fail again: only those for which the store was out of reach are kept.
fn refused(error: &ObjectError) -> bool {
    !error.transient() || matches!(error, ObjectError::Integrity(_))
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(journal) = self.journal.take() {
            if self.restoring {
                // The kept upload's own parts stay; what was opened for more of the tail than a part goes.
                if self.reopened {
                    self.create = None;
                }
                journal.restored(self.cleanup());
            } else {
                journal.interrupted(self.broken());
            }
            return;
        }
        if let Some(cleanup) = self.cleanup() {
            let cleanups = self.target.location.store.context().cleanups.clone();
            // Without a runtime there is nobody left to do it: the process is ending.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                cleanups.spawn_on(cleanup.remove(), &runtime);
            }
        }
    }
}
