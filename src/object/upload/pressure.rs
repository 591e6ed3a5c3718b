//! How an upload gets the memory of the part it is filling, and gives it back for others.
//!
//! A fast client's part gets all of its memory at once. A slow client's part gets as much as the client fills while a
//! half-filled part may be held ([`Budget::hold`]), about half of that, and more when that is full, if more is free. If it is not, the upload
//! stores what it holds as a piece. It does so as well while others wait and it has held memory for that time, and when it
//! has waited for that time itself. See [`crate::memory`] for why no transfer waits for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::memory::{Budget, CHUNK, Grant};
use crate::object::error::ObjectError;
use crate::object::parts::piece_support::PieceSupport;
use crate::object::parts::pieces::Pieces;
use crate::object::resume::record::{ResumeScope, tail_at};
use crate::object::upload::{FIRST_CHUNKS, PART_WAIT, Upload};

/// How fast the client sends.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When it could begin to send, and the bytes that were there before.
    begun: Option<(Instant, u64)>,
    /// When it could go on after the upload last waited, and the bytes that were there.
    since: Option<(Instant, u64)>,
    /// How long the server has held it back.
    held_back: Duration,
}

impl Pace {
    /// The client can send from now on.
    pub(super) fn begin(&mut self, bytes: u64) {
        if self.begun.is_none() {
            self.begun = Some((Instant::now(), bytes));
            self.since = self.begun;
        }
    }

    /// The server has held the client back since `from`.
    pub(super) fn held_back(&mut self, from: Instant, bytes: u64) {
        self.held_back += from.elapsed();
        self.since = Some((Instant::now(), bytes));
    }

    /// Bytes that it sends within a time. What has gathered on the way while it was held back comes at once, so this is the
    /// less of what it has sent on average and since then.
    fn within(&self, time: Duration, bytes: u64) -> u64 {
        let part_of = |since: Option<(Instant, u64)>, less: Duration| {
            let (since, before) = since?;
            let passed = since.elapsed().saturating_sub(less).as_millis().max(1);
            let sent = u128::from(bytes.saturating_sub(before)) * time.as_millis() / passed;
            Some(u64::try_from(sent).unwrap_or(u64::MAX))
        };
        let average = part_of(self.begun, self.held_back);
        let recent = part_of(self.since, Duration::ZERO);
        average.min(recent).unwrap_or(u64::MAX)
    }
}

/// Whether an upload can give a part's memory back while its client stands still.
#[derive(Debug, Clone)]
pub struct GivesBack(Option<Arc<Pieces>>);

impl GivesBack {
    /// As far as is known now.
    pub fn now(&self) -> bool {
        let taken = self.0.as_ref().map(|pieces| pieces.support());
        taken == Some(PieceSupport::Yes)
    }
}

/// Resolves when the upload is to give its memory back.
#[derive(Default)]
pub struct Relief(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl std::fmt::Debug for Relief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relief").field(&self.0.is_some()).finish()
    }
}

impl Relief {
    /// Waits until [`Upload::relieve`] is to be called. Cancel safe.
    pub async fn wanted(&mut self) {
        match &mut self.0 {
            Some(pressed) => {
                pressed.as_mut().await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }

    fn hold(&mut self, budget: &Budget) {
        let (budget, since) = (budget.clone(), Instant::now());
        self.0 = Some(Box::pin(async move { budget.pressed(since).await }));
    }

    /// It holds nothing.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

impl Upload {
    /// Where pieces may be stored while others wait for memory, also if nothing is kept of the upload.
    pub fn may_store_pieces(&mut self, state: &ResumeScope) {
        let object = &self.target.location;
        let at = || tail_at(object, &state.state_bucket, &state.user);
        self.pieces.get_or_insert_with(|| Pieces::new(at()));
    }

    /// To be waited for alongside the client.
    pub fn relief(&mut self) -> &mut Relief {
        &mut self.relief
    }

    /// Gives memory back, for others that wait for it: stores what there is of the part being filled. If that fails it is
    /// kept, and tried again after a while. Cancel safe.
    pub async fn relieve(&mut self) -> Result<(), ObjectError> {
        let begun = Instant::now();
        if self.held.is_some() {
            // It may be all of the file: then it is a multipart upload of one part.
            self.send_held().await?;
        } else if self.piece_support() != PieceSupport::No && self.store_piece().await.is_err() {
            let budget = self.target.location.store.context().budget.clone();
            self.relief.hold(&budget);
        }
        self.pace.held_back(begun, self.size());
        Ok(())
    }

    /// Whether it can give its memory back.
    pub fn gives_back(&self) -> GivesBack {
        let recallable = self.target.location.store.context().budget.recallable();
        GivesBack(self.pieces.clone().filter(|_| recallable > 0))
    }

    fn piece_support(&self) -> PieceSupport {
        let recallable = self.target.location.store.context().budget.recallable();
        match &self.pieces {
            Some(pieces) if self.part_size() <= recallable => pieces.support(),
            _ => PieceSupport::No,
        }
    }

    /// Stores what is in memory of the part being filled, and gives the memory back. Cancel safe.
    async fn store_piece(&mut self) -> Result<(), ObjectError> {
        let Some(pieces) = self.pieces.clone() else {
            return Ok(());
        };
        self.push_buffer();
        if self.part.in_memory() == 0 {
            self.part.release();
            self.relief.end();
            return Ok(());
        }
        let location = pieces.location(0);
        let integrity = location.store.integrity(&location.bucket).await;
        let part = self.part.copy_for_piece(integrity);
        // What is stored while this is cut off is stored again later, under another name.
        let piece = Box::pin(pieces.store(part)).await?;
        self.part.stored(piece);
        self.record_pieces(&pieces);
        self.relief.end();
        Ok(())
    }

    /// The record names the pieces, should the process be killed; unless bytes before them are nowhere else yet.
    fn record_pieces(&mut self, pieces: &Pieces) {
        let before = self.taken - self.part.size();
        let whole = self.inflight.is_empty() && self.held.is_none() && !self.restoring;
        if let Some(journal) = self.journal.as_mut().filter(|_| whole) {
            journal.stored(pieces.note(before, self.part.pieces()));
        }
    }

    /// Waits until more of the part can be taken, in memory or since what was there is stored.
    pub(super) async fn more_memory(&mut self) -> Result<(), ObjectError> {
        let begun = Instant::now();
        let more = Box::pin(self.more_memory_or_piece(begun)).await;
        self.pace.held_back(begun, self.size());
        more
    }

    async fn more_memory_or_piece(&mut self, begun: Instant) -> Result<(), ObjectError> {
        let budget = self.target.location.store.context().budget.clone();
        let mut failed = None;
        loop {
            let takes = self.piece_support();
            let holds = self.part.granted() > 0;
            let bytes = self.wanted(takes, &budget);
            if !budget.can_hold(bytes) {
                // An upload that was begun by a server with more memory. Whatever is waited for, it does not come.
                return Err(ObjectError::Memory);
            }
            if let Some(grant) = budget.try_grant(bytes) {
                self.granted(grant, &budget);
                return Ok(());
            }
            // Memory in hand is not to be held while waiting; and whether the store takes pieces is to be known soon.
            let at_once = match takes {
                PieceSupport::Unknown => self.pieces.as_ref().is_some_and(|pieces| pieces.ask()),
                PieceSupport::Yes => holds,
                PieceSupport::Asked | PieceSupport::No => false,
            };
            if failed.is_some() || !at_once {
                let patience = match takes {
                    PieceSupport::No => PART_WAIT,
                    PieceSupport::Unknown | PieceSupport::Asked | PieceSupport::Yes => {
                        budget.hold()
                    }
                };
                if let Some(grant) = self.memory(bytes, patience).await? {
                    self.granted(grant, &budget);
                    return Ok(());
                }
            }
            if takes != PieceSupport::No {
                match self.store_piece().await {
                    Ok(()) => return Ok(()),
                    Err(error) => failed = Some(error),
                }
            }
            if begun.elapsed() >= PART_WAIT {
                return Err(failed.unwrap_or(ObjectError::Memory));
            }
        }
    }

    /// How much memory to ask for.
    fn wanted(&self, takes: PieceSupport, budget: &Budget) -> u64 {
        let rest = self.part_size().saturating_sub(self.part.size());
        let more = match takes {
            PieceSupport::Yes => {
                // Half of it: what rounding adds is not to be held for longer.
                let soon = self.pace.within(budget.hold() / 2, self.size());
                soon.max(1)
                    .checked_next_multiple_of(CHUNK as u64)
                    .unwrap_or(u64::MAX)
                    .min(rest)
            }
            PieceSupport::Unknown | PieceSupport::Asked | PieceSupport::No => rest,
        };
        match self.part.granted() {
            // What the admission's memory holds is given back to it.
            0 => self.part.in_memory() + more,
            _ => more,
        }
    }

    fn granted(&mut self, grant: Grant, budget: &Budget) {
        if self.part.granted() == 0 {
            self.relief.hold(budget);
        }
        self.part.add_memory(grant);
    }

    /// Bytes that may still be read into memory that is there.
    pub(super) fn room(&self) -> u64 {
        self.part
            .granted()
            .max(FIRST_CHUNKS)
            .saturating_sub(self.part.in_memory())
    }

    /// Parts that have failed hold theirs until the upload ends, so it must not wait for that.
    async fn memory(&self, bytes: u64, wait: Duration) -> Result<Option<Grant>, ObjectError> {
        let budget = &self.target.location.store.context().budget;
        let mut failure = self.failure();
        tokio::select! {
            biased;
            granted = budget.part(bytes, wait) => Ok(granted.ok()),
            error = failure.wait() => Err(error),
        }
    }
}
