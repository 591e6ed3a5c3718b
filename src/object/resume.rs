//! Interrupted uploads: what is stored of them, so that any process can resume them to the byte.
//!
//! All state is in the store; docs/design/resume-protocol.md describes it. A user's upload of an
//! object has one **record** (`record`, at a key of `keys`), which names the open multipart upload
//! and the **tail**, the bytes after the last whole part. The record is written and read by
//! requests under a condition (`records`).
//!
//! ```text
//!            first part full,                     Complete
//!   filling ──────────────────▶ Running ─────────────────────▶ published: tail and record go
//!      │     or a piece stored   │   │
//!      │                         │   │ another upload may be the newer one
//!      │ breaks off              │   └──────────▶ Doubtful ──── breaks off ───┐
//!      │                         │                                            │
//!      │              breaks off │ or its process dies                        │
//!      ▼                         ▼                                            ▼
//!      └─────────────────▶ Interrupted ──────────────────────────────────▶ Removing
//!         tail, then record  │   ▲     newer upload, object written or deleted,  │
//!                            │   │     too old                                   ▼
//!                     resume │   │ resume broke off                   abort, tail, record
//!                            ▼   │
//!                           Running
//! ```
//!
//! The capitalized words are the record's states (`record::RecordState`). A process that dies
//! leaves `Running`; after 2.5 refresh times that counts as interrupted (`stored`).
//!
//! 1. **While an upload runs** one task (`record_task`) makes all requests for its record, so that
//!    no record is overtaken by an older one of itself. It writes the record alongside the first
//!    part, refreshes it once a minute and removes it after the object is published. When the
//!    upload breaks off, it stores the tail, and then the record that names it.
//! 2. **One record a user and object.** The newest upload has it. `record_task::claim` decides what
//!    happens when two uploads meet, and `order` which of them is the newer one: the process's own
//!    count, and between processes the store's clock alone. If that does not decide, both are
//!    `Doubtful`: neither is stored when it breaks off. Records of other users are not touched
//!    until the object is written.
//! 3. **A client asks** with SIZE, REST or APPE: a session's `scope::ResumeScope` looks the record
//!    up, and `lookup` judges it by what the store has. The parts come from ListParts, never from
//!    the record. An upload can be resumed as long as the object has not been written since it
//!    began. The result is a `resumable::ResumableUpload`.
//! 4. **A resume** takes the record over under a condition on what was read: of two processes one
//!    fails. Running uploads of this process are found in `active_uploads`, those of others by
//!    their records.
//! 5. **The rest** is removed by `discard`, in the order upload, tail, record, and by the `sweep`
//!    later.
//!
//! **A staged file.** With a check before the publication an upload goes to a staged key
//! (`upload::staged`), whose multipart upload the record names. Once it is whole there, the staged
//! file is the tail of the upload.
//!
//! **The last byte.** A client that sees the length of its whole file takes the file for stored,
//! and sends nothing more (curl -C -, lftp put -c); the upload would never be published. So the
//! length reported is one less than what is there. The client that resumes sends that byte again,
//! and the server skips it.

pub(in crate::object) mod discard;
pub(in crate::object) mod expired;
pub(in crate::object) mod keys;
pub(in crate::object) mod lookup;
pub(in crate::object) mod order;
pub(in crate::object) mod record;
pub(in crate::object) mod record_task;
pub(in crate::object) mod records;
pub(in crate::object) mod resumable;
pub(in crate::object) mod scope;
pub(in crate::object) mod stored;
pub(in crate::object) mod sweep;

pub use crate::object::resume::expired::sweep_temporary;
pub use crate::object::resume::keys::STATE_PREFIX;
pub use crate::object::resume::lookup::Lookup;
pub use crate::object::resume::lookup::Staging;
pub use crate::object::resume::resumable::ResumableUpload;
pub use crate::object::resume::scope::ResumeScope;
pub use crate::object::resume::stored::StoredRecord;
pub use crate::object::resume::sweep::{
    Recorded, SweepOptions, Swept, SweptKind, Unrecorded, refresh_record_cache, sweep,
    sweep_probes, sweep_uploads,
};
