//! Upload: chunks → parts → PutObject or a multipart upload. Only `publish` makes anything visible.
//!
//! The caller reads straight into the chunk that [`Upload::space`](running::Upload::space) gives.
//! Full chunks join the part being filled; a full part is sent by a task of its own while the next
//! is filled, at most `upload_parallel` of them at once. The first part is held back until a byte
//! comes that does not fit in it: an upload that ends before is one PutObject.
//!
//! Memory: each part begins with small chunks out of the admission's memory, so a small file needs
//! no more, and a client that has nothing more to say never waits for a part's memory. When those
//! are full more is waited for (`pressure`), first come first served, with nothing in hand that
//! others could need but parts that come free by themselves. It is given back when the part is in
//! the store, or when what there is of it is stored as a piece (`pieces`).
//!
//! A failed or abandoned upload leaves nothing: the requests in flight are ended first, then the
//! multipart upload is aborted, by a task that outlives the upload. If a Complete may have been
//! carried out, it looks first.

pub(in crate::object) mod append;
pub(in crate::object) mod begin;
pub(in crate::object) mod filling;
pub(in crate::object) mod pressure;
pub(in crate::object) mod publish;
pub(in crate::object) mod relief;
pub(in crate::object) mod resources;
pub(in crate::object) mod restore;
pub(in crate::object) mod running;
pub(in crate::object) mod sending;
pub(in crate::object) mod staged;
mod staged_file;

use crate::object::head::ObjectInfo;
use crate::object::location::Location;
use crate::object::resume::scope::ResumeScope;
use crate::object::transfer_id::TransferId;

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
    /// User metadata next to the transfer id.
    pub metadata: Vec<(String, String)>,
    /// The staged key that its bytes go to; it is published by a copy then. `None`: the object.
    pub staged: Option<Location>,
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
    /// The version that was written, if the store keeps versions and has said which.
    pub version_id: Option<String>,
    /// The CRC-32 of all bytes, if each was computed.
    pub crc32: Option<u32>,
    /// 0: one PutObject.
    pub parts: u32,
}
