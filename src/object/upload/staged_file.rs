//! [`StagedFile`]: what an upload knows of its whole at the staged key.

use crate::object::parts::tail::TailNote;

/// A whole file at its staged key.
#[derive(Debug)]
pub(super) struct StagedFile {
    /// What a record says of it.
    pub(super) tail: TailNote,
    /// Its ETag.
    pub(super) etag: String,
    /// The number of parts it was sent in.
    pub(super) parts: u32,
}
