//! The tail of an interrupted upload: what cannot be a part is stored as pieces.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::object::checksum::Integrity;
use crate::object::error::ObjectError;
use crate::object::location::Location;
use crate::object::parts::part::{Part, put_part};
use crate::object::parts::pieces::Pieces;
use crate::object::parts::tail::PieceNote;
use crate::object::resume::record_task::event::InterruptedUpload;
use crate::object::resume::record_task::ownership::Ownership;
use crate::object::resume::record_task::task::{LOOK, PAUSES, ROUNDS, RecordTask};

/// A tail that is on its way when the process ends gets this time: the record has to be written
/// after it.
const LAST_TAIL: Duration = Duration::from_secs(10);

impl RecordTask {
    /// Stores what is in memory of some parts next to the pieces that there are of them; gives all
    /// of them in order, up to the first that could not be stored.
    pub(in crate::object) async fn put_pieces(
        &mut self,
        pieces: &Pieces,
        parts: Vec<Part>,
    ) -> Vec<PieceNote> {
        let mut stored = Vec::new();
        let mut in_memory = Vec::new();
        for mut part in parts {
            let in_store = part.take_pieces();
            if !in_store.is_empty() && !self.put_piece(pieces, &mut in_memory, &mut stored).await {
                return stored;
            }
            stored.extend(in_store);
            in_memory.push(part);
        }
        self.put_piece(pieces, &mut in_memory, &mut stored).await;
        stored
    }

    /// Stores some parts as one piece; whether nothing is left of them.
    async fn put_piece(
        &mut self,
        pieces: &Pieces,
        parts: &mut Vec<Part>,
        stored: &mut Vec<PieceNote>,
    ) -> bool {
        let Some(part) = Part::joined(std::mem::take(parts)) else {
            return true;
        };
        let (number, size, crc32) = (pieces.number(), part.size(), Some(part.crc32()));
        match self.put_tail(&pieces.location(number), part).await {
            Ok(etag) => {
                stored.push(PieceNote {
                    number,
                    size,
                    etag,
                    crc32,
                });
                true
            }
            Err(error) => {
                warn!(key = pieces.key(), transfer = %self.target.id, %error,
                    "the tail of a broken upload could not be stored");
                false
            }
        }
    }

    /// Stores a tail, also if the store is gone for some seconds: its bytes are nowhere else, and
    /// its length may have been reported. It gives up if a newer upload has come.
    async fn put_tail(&mut self, at: &Location, mut tail: Part) -> Result<String, ObjectError> {
        if at.store.integrity(&at.bucket).await == Integrity::Signed {
            tail.join();
        }
        let mut round = 1;
        loop {
            let error = match self.put_tail_once(at, tail.clone()).await {
                Err(error)
                    if error.transient() && round < ROUNDS && !self.guard.is_superseded() =>
                {
                    error
                }
                result => return result,
            };
            debug!(key = at.key, %error, round, "the tail of a broken upload is tried again");
            PAUSES.pause(round).await;
            round += 1;
        }
    }

    /// The record is refreshed meanwhile, so that no process takes this one for dead.
    async fn put_tail_once(&mut self, at: &Location, tail: Part) -> Result<String, ObjectError> {
        let mut written = Instant::now();
        let mut ends = None;
        let mut put = pin!(put_part(at, tail));
        loop {
            if let Ok(result) = timeout(LOOK, &mut put).await {
                return result;
            }
            if self.process_ends() {
                let since: &mut Instant = ends.get_or_insert_with(Instant::now);
                if since.elapsed() >= LAST_TAIL {
                    return Err(ObjectError::Other("the process ends".to_owned()));
                }
            }
            if written.elapsed() >= self.replica().refresh {
                written = Instant::now();
                self.write().await;
                if self.ownership != Ownership::Ours {
                    return Err(ObjectError::Superseded);
                }
            }
        }
    }
}

/// Bytes in the unbroken run of parts from the first, and what is at hand after that run without a
/// gap. A part that the store has after one that failed is not at hand any more, and lost with what
/// follows it.
pub(in crate::object) fn gather(upload: &mut InterruptedUpload) -> (u64, Vec<Part>) {
    let (last, mut next) = (upload.last, 1);
    upload.done.retain(|part| Some(part.number) != last);
    upload.done.sort_unstable_by_key(|part| part.number);
    let mut run = 0;
    for part in &upload.done {
        if part.number != next {
            break;
        }
        run += part.size;
        next += 1;
    }
    let mut tail = Vec::new();
    let mut cut = false;
    while !cut
        && let Some(part) = upload.sent.remove(&next).map(|part| part.take())
        && part.size() > 0
    {
        cut = part.is_cut();
        tail.push(part);
        next += 1;
    }
    let (number, rest) = std::mem::take(&mut upload.rest);
    if number == next && rest.size() > 0 && !cut {
        tail.push(rest);
    }
    upload.sent.clear();
    (run, tail)
}
