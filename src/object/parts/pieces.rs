//! Pieces: what a slow client has sent of a part, stored on its own so that other transfers get the
//! memory.
//!
//! S3's smallest part is 5 MiB, and 300 half parts do not fit into 256 MiB. So an upload that would
//! hold memory for long while others wait stores what it holds as an object of its own below the
//! state prefix, under the names of its tail (`.s3ftpd/tails/…`, the next ones with a number at the
//! end). A part that is full is read back, piece by piece, each compared with its CRC-32, and sent
//! as any other: the schedule of part sizes stays as it is. One part at a time is read back in the
//! process, in memory that is reserved for it, or more if memory is free.
//!
//! If the upload breaks off, its pieces are the beginning of its tail. Pieces are deleted as soon
//! as their bytes are in a part, or in no record of the upload.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::memory::{Budget, CHUNK, Grant};
use crate::object::delete::delete;
use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::{Attributes, ObjectInfo};
use crate::object::location::Location;
use crate::object::parts::part::{Part, RetainedPart, put_part};
use crate::object::parts::piece_support::{PieceAnswer, PieceSupport};
use crate::object::parts::tail::{PieceNote, TailNote};

/// Pieces of one part that are read at once.
const READ_AT_ONCE: usize = 4;

/// Where the pieces of one upload lie.
#[derive(Debug)]
pub(in crate::object) struct Pieces {
    /// The location of the first piece.
    at: Location,
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    next: u32,
    /// The pieces that may be in the store.
    live: BTreeSet<u32>,
}

impl Pieces {
    /// Pieces at this location, of which there are none yet.
    pub(in crate::object) fn new(at: Location) -> Arc<Pieces> {
        Arc::new(Pieces {
            at,
            numbers: Mutex::default(),
        })
    }

    /// The key of the first one, which is that of the tail.
    pub(in crate::object) fn key(&self) -> &str {
        &self.at.key
    }

    /// Where a piece lies.
    pub(in crate::object) fn location(&self, number: u32) -> Location {
        let mut at = self.at.clone();
        if number > 0 {
            at.key = format!("{}.{number}", at.key);
        }
        at
    }

    /// A number for one more.
    pub(in crate::object) fn number(&self) -> u32 {
        let mut numbers = self.numbers();
        let number = numbers.next;
        numbers.next += 1;
        // Also if the request that stores it is cut off: it may have been carried out.
        numbers.live.insert(number);
        number
    }

    /// Whether the store takes them.
    pub(in crate::object) fn support(&self) -> PieceSupport {
        self.at.store.piece_support().of(&self.at.bucket)
    }

    /// Whether this is the first to find out: many uploads may begin to wait at once.
    pub(in crate::object) fn ask(&self) -> bool {
        let first = self.support() == PieceSupport::Unknown;
        if first {
            let known = self.at.store.piece_support();
            known.learn(&self.at.bucket, PieceAnswer::Asked(Instant::now()));
        }
        first
    }

    /// PutObject of what a part has in memory. The caller keeps it until this has ended.
    pub(in crate::object) async fn store(&self, part: Part) -> Result<PieceNote, ObjectError> {
        let number = self.number();
        let (size, crc32) = (part.size(), Some(part.crc32()));
        let known = self.at.store.piece_support();
        match put_part(&self.location(number), part).await {
            Ok(etag) => {
                known.learn(&self.at.bucket, PieceAnswer::Taken);
                Ok(PieceNote {
                    number,
                    size,
                    etag,
                    crc32,
                })
            }
            Err(error) => {
                warn!(key = self.at.key, %error,
                    "what a slow client has sent could not be stored: it stays in memory");
                if !error.transient() {
                    known.learn(&self.at.bucket, PieceAnswer::Refused(Instant::now()));
                }
                Err(error)
            }
        }
    }

    /// Reads the pieces of a part that is to be sent, which is in memory then as a whole. Waits for
    /// its turn and memory.
    pub(in crate::object) async fn read_back(
        &self,
        part: &RetainedPart,
    ) -> Result<Part, ObjectError> {
        let budget = &self.at.store.context().budget;
        let size = part.part().size();
        let memory = match budget.try_recall(size) {
            Some(memory) => memory,
            None => {
                // It may take its time, and others wait for memory.
                self.store_rest(part).await;
                let memory = budget.recall(size).await;
                memory.map_err(|_| ObjectError::Memory)?
            }
        };
        let held = part.part();
        match self.read(&held, memory, budget).await {
            Ok(whole) => Ok(whole),
            Err((piece, error)) => {
                if matches!(error, ObjectError::Integrity(_)) {
                    part.cut_at(piece);
                }
                Err(error)
            }
        }
    }

    async fn store_rest(&self, part: &RetainedPart) {
        if part.part().in_memory() == 0 {
            return;
        }
        let integrity = self.at.store.integrity(&self.at.bucket).await;
        if let Ok(piece) = self.store(part.copy_for_piece(integrity)).await {
            part.stored(piece);
        }
    }

    async fn read(
        &self,
        part: &Part,
        memory: Grant,
        budget: &Budget,
    ) -> Result<Part, (usize, ObjectError)> {
        let mut whole = Part::new(true);
        whole.add_memory(memory);
        let reads: Vec<BoxFuture<'_, _>> = part
            .pieces()
            .iter()
            .map(|piece| self.read_piece(piece, budget).boxed())
            .collect();
        let mut reads = futures::stream::iter(reads).buffered(READ_AT_ONCE);
        let mut index = 0;
        while let Some(read) = reads.next().await {
            let (chunks, crc) = read.map_err(|error| (index, error))?;
            whole.append(chunks, &crc);
            index += 1;
        }
        drop(reads);
        whole.append_memory(part);
        Ok(whole)
    }

    /// One piece, compared with what was stored.
    async fn read_piece(
        &self,
        piece: &PieceNote,
        budget: &Budget,
    ) -> Result<(Vec<Bytes>, crc32fast::Hasher), ObjectError> {
        let wrong = || {
            let key = self.location(piece.number).key;
            ObjectError::Integrity(format!("{key} is not what was stored there"))
        };
        let info = ObjectInfo {
            size: piece.size,
            etag: piece.etag.clone(),
            modified: Timestamp::UNIX_EPOCH,
            attributes: Attributes::default(),
        };
        let at = self.location(piece.number);
        let changed = |error| match error {
            ObjectError::NotFound | ObjectError::Changed | ObjectError::OutOfRange { .. } => {
                wrong()
            }
            error => error,
        };
        let mut body = Download::open_pinned(at, &info, 0..piece.size)
            .await
            .map_err(changed)?;
        let mut crc = crc32fast::Hasher::new();
        let mut chunks = Vec::new();
        let mut rest = piece.size;
        let mut chunk = BytesMut::new();
        while let Some(mut bytes) = body.next().await.map_err(changed)? {
            crc.update(&bytes);
            rest = rest.checked_sub(bytes.len() as u64).ok_or_else(wrong)?;
            while !bytes.is_empty() {
                let room = chunk.capacity() - chunk.len();
                if room == 0 {
                    let full = std::mem::take(&mut chunk);
                    if !full.is_empty() {
                        chunks.push(budget.recycle(full));
                    }
                    let left = rest + bytes.len() as u64;
                    chunk = match usize::try_from(left) {
                        Ok(left) if left < CHUNK => BytesMut::with_capacity(left),
                        _ => budget.chunk(),
                    };
                    continue;
                }
                chunk.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            }
        }
        if !chunk.is_empty() {
            chunks.push(budget.recycle(chunk));
        }
        if rest > 0
            || piece
                .crc32
                .is_some_and(|crc32| crc32 != crc.clone().finalize())
        {
            return Err(wrong());
        }
        Ok((chunks, crc))
    }

    /// DeleteObject of these. The sweep removes those for which it fails.
    pub(in crate::object) async fn remove(&self, numbers: Vec<u32>) {
        self.forget(&numbers);
        for number in numbers {
            let at = self.location(number);
            if let Err(error) = delete(&at, None).await {
                debug!(key = at.key, %error,
                    "a piece could not be removed; it is left for the sweep");
            }
        }
    }

    /// Removes these pieces in a task of its own.
    pub(in crate::object) fn remove_alongside(self: &Arc<Self>, numbers: Vec<u32>) {
        // At once, so that another removal does not remove these pieces too.
        self.forget(&numbers);
        let pieces = Arc::clone(self);
        if !numbers.is_empty()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let cleanups = self.at.store.context().cleanups.clone();
            cleanups.spawn_on(async move { pieces.remove(numbers).await }, &runtime);
        }
    }

    fn forget(&self, numbers: &[u32]) {
        let live = &mut self.numbers().live;
        live.retain(|number| !numbers.contains(number));
    }

    /// A tail of some of them.
    pub(in crate::object) fn note(&self, offset: u64, pieces: &[PieceNote]) -> TailNote {
        TailNote::new(self.at.key.clone(), offset, pieces.to_vec())
    }

    /// Whether a piece may be in the store.
    pub(in crate::object) fn any(&self) -> bool {
        !self.numbers().live.is_empty()
    }

    /// The pieces that may be in the store, except for `but`.
    pub(in crate::object) fn live_but(&self, but: &[u32]) -> Vec<u32> {
        let numbers = self.numbers();
        let live = numbers.live.iter().copied();
        live.filter(|number| !but.contains(number)).collect()
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
