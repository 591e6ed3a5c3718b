//! The events that an upload sends to its record task, and how an upload has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::memory::Admission;
use crate::object::error::ObjectError;
use crate::object::multipart::{AbortMode, DonePart};
use crate::object::parts::cleanup::AbortCleanup;
use crate::object::parts::part::{Part, RetainedPart};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::pieces::Pieces;
use crate::object::parts::tail::TailNote;

/// What has happened to the upload.
#[derive(Debug)]
pub(in crate::object) enum RecordEvent {
    /// It has become multipart; this number of parts hold old bytes.
    Opened(PendingCreate, u32),
    /// Bytes of it are in these pieces.
    Stored(TailNote),
    /// The bytes of the tail with this key are elsewhere now.
    Unstored(String),
    /// It has ended.
    Ended(Outcome),
}

/// How an upload has ended.
#[derive(Debug)]
pub(in crate::object) enum Outcome {
    /// Its object is there.
    Published,
    /// It broke off.
    Interrupted(Box<InterruptedUpload>),
    /// It was resumed, and ended before its tail had been read back. What it opened meanwhile is to
    /// be aborted.
    Restored(Option<Box<AbortCleanup>>),
}

/// All that there is of an upload that broke off.
#[derive(Debug)]
pub(in crate::object) struct InterruptedUpload {
    /// The multipart upload, if there is one.
    pub(in crate::object) create: Option<PendingCreate>,
    /// Parts on their way.
    pub(in crate::object) inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// Parts whose bytes are at hand: those on their way or failed, and the last.
    pub(in crate::object) sent: BTreeMap<u32, RetainedPart>,
    /// Parts that are there.
    pub(in crate::object) done: Vec<DonePart>,
    /// The number of its first parts that hold old bytes of the object.
    pub(in crate::object) copied: u32,
    /// The number of the last part, if it is known to be that: it is shorter than others, so
    /// nothing can follow it.
    pub(in crate::object) last: Option<u32>,
    /// The part that was being filled, and its number.
    pub(in crate::object) rest: (u32, Part),
    /// Whether the data connection had ended by itself: the object may have been written since it
    /// began.
    pub(in crate::object) ended: bool,
    /// All of it at its staged key, if it is there. Then there is nothing else of it.
    pub(in crate::object) staged: Option<TailNote>,
    /// How it is aborted: it may have been published all the same.
    pub(in crate::object) abort: AbortMode,
    /// Whether it is to be stored; else removed.
    pub(in crate::object) keep: bool,
    /// Its pieces in the store, if there are any.
    pub(in crate::object) pieces: Option<Arc<Pieces>>,
    /// The memory of the first chunks of the rest.
    pub(in crate::object) _admission: Option<Admission>,
}
