//! Whether the buckets of a store take pieces of uploads, as far as is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket that has not answered a first piece is asked again after this time.
const ASKED: Duration = Duration::from_secs(60);

/// A bucket that has refused a piece is asked again after this time.
const REFUSED: Duration = Duration::from_secs(600);

/// Whether a bucket takes pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum PieceSupport {
    /// No piece was put there yet.
    Unknown,
    /// The first one is on its way.
    Asked,
    /// It has taken one.
    Yes,
    /// It has refused one.
    No,
}

/// What is known of the buckets of a store.
#[derive(Debug, Default)]
pub(in crate::object) struct PieceSupportCache(Mutex<HashMap<Arc<str>, PieceAnswer>>);

#[derive(Debug)]
pub(in crate::object) enum PieceAnswer {
    Asked(Instant),
    Taken,
    Refused(Instant),
}

impl PieceSupportCache {
    pub(in crate::object) fn of(&self, bucket: &str) -> PieceSupport {
        match self.locked().get(bucket) {
            Some(PieceAnswer::Taken) => PieceSupport::Yes,
            Some(PieceAnswer::Asked(at)) if at.elapsed() < ASKED => PieceSupport::Asked,
            Some(PieceAnswer::Refused(at)) if at.elapsed() < REFUSED => PieceSupport::No,
            _ => PieceSupport::Unknown,
        }
    }

    pub(in crate::object) fn learn(&self, bucket: &Arc<str>, known: PieceAnswer) {
        self.locked().insert(Arc::clone(bucket), known);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<Arc<str>, PieceAnswer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
