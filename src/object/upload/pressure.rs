//! How an upload gets the memory of the part it is filling, and gives it back for others.
//!
//! A fast client's part gets all of its memory at once. A slow client's part gets as much as the
//! client fills while a half-filled part may be held ([`Budget::hold`]), about half of that, and
//! more when that is full, if more is free. If it is not, the upload stores what it holds as a
//! piece. It does so as well while others wait and it has held memory for that time, and when it
//! has waited for that time itself. See [`crate::memory`] for why no transfer waits for ever.

use std::time::Duration;

use tokio::time::Instant;

use crate::memory::{Budget, CHUNK, Grant};
use crate::object::error::ObjectError;
use crate::object::parts::piece_support::PieceSupport;
use crate::object::parts::pieces::Pieces;
use crate::object::resume::keys::tail_at;
use crate::object::resume::scope::ResumeScope;
use crate::object::upload::relief::{GivesBack, Relief};
use crate::object::upload::running::Upload;

/// A part's memory is waited for at most this long, if the store does not take pieces. Parts of
/// others come free by themselves within their own deadlines, and a client that stalls with one is
/// cut much sooner.
const PART_WAIT: Duration = Duration::from_secs(300);

impl Upload {
    /// The place of pieces that are stored while others wait for memory, also if the upload cannot
    /// be resumed.
    pub fn may_store_pieces(&mut self, state: &ResumeScope) {
        let object = &self.target.location;
        let at = || tail_at(object, &state.state_bucket, &state.user);
        self.pieces.get_or_insert_with(|| Pieces::new(at()));
    }

    /// To be waited for alongside the client.
    pub fn relief(&mut self) -> &mut Relief {
        &mut self.relief
    }

    /// Gives memory back, for others that wait for it: stores what there is of the part being
    /// filled. If that fails it is kept, and tried again after a while. Cancel safe.
    pub async fn relieve(&mut self) -> Result<(), ObjectError> {
        let begun = Instant::now();
        if self.sending.holds_first() {
            // It may be all of the file: then it is a multipart upload of one part.
            self.send_first();
        } else if self.piece_support() != PieceSupport::No && self.store_piece().await.is_err() {
            self.relief.hold(&self.resources.budget);
        }
        self.pace.held_back(begun, self.filling.size());
        Ok(())
    }

    /// Whether it can give its memory back.
    pub fn gives_back(&self) -> GivesBack {
        let recallable = self.resources.budget.recallable();
        GivesBack(self.pieces.clone().filter(|_| recallable > 0))
    }

    fn piece_support(&self) -> PieceSupport {
        let recallable = self.resources.budget.recallable();
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
        if self.filling.part.in_memory() == 0 {
            self.filling.part.release();
            self.relief.end();
            return Ok(());
        }
        let location = pieces.location(0);
        let integrity = location.store.integrity(&location.bucket).await;
        let part = self.filling.part.copy_for_piece(integrity);
        // What is stored while this is cut off is stored again later, under another name.
        let piece = Box::pin(pieces.store(part)).await?;
        self.filling.part.stored(piece);
        self.record_pieces(&pieces);
        self.relief.end();
        Ok(())
    }

    /// The record names the pieces, should the process be killed; unless bytes before them are
    /// nowhere else yet.
    fn record_pieces(&mut self, pieces: &Pieces) {
        let before = self.filling.taken - self.filling.part.size();
        let unstored = self.sending.has_unstored();
        if let Some(record) = self.record.as_mut().filter(|_| !unstored) {
            record.stored(pieces.note(before, self.filling.part.pieces()));
        }
    }

    /// Waits until more of the part can be taken, in memory or since what was there is stored.
    pub(super) async fn more_memory(&mut self) -> Result<(), ObjectError> {
        let begun = Instant::now();
        let more = Box::pin(self.more_memory_or_piece(begun)).await;
        self.pace.held_back(begun, self.filling.size());
        more
    }

    async fn more_memory_or_piece(&mut self, begun: Instant) -> Result<(), ObjectError> {
        let budget = self.resources.budget.clone();
        let mut failed = None;
        loop {
            let takes = self.piece_support();
            let holds = self.filling.part.granted() > 0;
            let bytes = self.wanted(takes, &budget);
            if !budget.can_hold(bytes) {
                // An upload that was begun by a server with more memory. Whatever is waited for, it
                // does not come.
                return Err(ObjectError::Memory);
            }
            if let Some(grant) = budget.try_grant(bytes) {
                self.granted(grant, &budget);
                return Ok(());
            }
            // Memory in hand is not to be held while waiting; and whether the store takes pieces is
            // to be known soon.
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
        let rest = self.part_size().saturating_sub(self.filling.part.size());
        let more = match takes {
            PieceSupport::Yes => {
                // Half of it: what rounding adds is not to be held for longer.
                let soon = self.pace.within(budget.hold() / 2, self.filling.size());
                soon.max(1)
                    .checked_next_multiple_of(CHUNK as u64)
                    .unwrap_or(u64::MAX)
                    .min(rest)
            }
            PieceSupport::Unknown | PieceSupport::Asked | PieceSupport::No => rest,
        };
        match self.filling.part.granted() {
            // What the admission's memory holds is given back to it.
            0 => self.filling.part.in_memory() + more,
            _ => more,
        }
    }

    fn granted(&mut self, grant: Grant, budget: &Budget) {
        if self.filling.part.granted() == 0 {
            self.relief.hold(budget);
        }
        self.filling.part.add_memory(grant);
    }

    /// Parts that have failed hold theirs until the upload ends, so it must not wait for that.
    async fn memory(&self, bytes: u64, wait: Duration) -> Result<Option<Grant>, ObjectError> {
        let budget = &self.resources.budget;
        let mut failure = self.failure();
        tokio::select! {
            biased;
            granted = budget.part(bytes, wait) => Ok(granted.ok()),
            error = failure.wait() => Err(error),
        }
    }
}
