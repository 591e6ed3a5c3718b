//! Interrupted uploads, stored so that they can be resumed. All state is in the store.
//! docs/design/resume-protocol.md is the overview.
//!
//! ```text
//!   .s3ftpd/uploads/<hash of bucket and key>/<hash of user>          the record: which multipart upload, which tail
//!   .s3ftpd/tails/<hash of bucket and key>/<hash of user>/<random>   the tail: the bytes after the last whole part
//!   the open multipart upload of the key                             the parts
//! ```
//!
//! **While an upload runs** (journal): when it becomes multipart its record is written alongside the first part, refreshed
//! once a minute, and removed after the object is published. An upload that breaks off writes its tail, then a record
//! that names it. Whatever the process was doing when it was killed, the last record still says what the store has.
//!
//! **What is resumed** (find): the unbroken run of parts from the first, and the tail if it begins at the end of that
//! run. The store is asked for the parts (ListParts), never the record. An interrupted upload belongs to the user who
//! sent it, as long as no other write of the object has happened: the object is still the one in the record, or, if the
//! record has none (the process was killed), it is older than the upload by the store's clock.
//!
//! **One record a user and key** (claim). The user's newest upload has it. An earlier one that broke off is discarded; one
//! that still runs goes on, and its record is set aside under a name of its own, so that the sweep finds it if its
//! process dies. Which one is newer is decided by the process's own count, and between processes by the store's clock
//! alone (order); if that cannot tell, neither is kept. Other users' records are not touched until the object is written.
//!
//! **Which process.** A running upload of this process is found in [`ActiveUploads`], of another by its record: while that is
//! refreshed its process lives. A record by our own replica's name and of another process belongs to a dead one.
//!
//! **The last byte.** A client that is told all of its bytes takes the file for stored, and sends nothing more (curl -C -,
//! lftp put -c): then it would never be published. So the length reported is one less than what is there. The client
//! that resumes sends that byte again, and it is passed over.

pub(in crate::object) mod discard;
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

pub use crate::object::resume::lookup::Lookup;
pub use crate::object::resume::resumable::ResumableUpload;
pub use crate::object::resume::scope::ResumeScope;
pub use crate::object::resume::stored::StoredRecord;
pub use crate::object::resume::sweep::{
    Recorded, SweepOptions, Swept, SweptKind, Unrecorded, refresh_record_cache, sweep,
    sweep_probes, sweep_uploads,
};
