//! What is kept of uploads that were broken off, so that they can go on (DESIGN 5). All of it is in the store.
//!
//! ```text
//!   .s3ftpd/uploads/<hash of bucket and key>     the record: who, which multipart upload, which tail (record)
//!   .s3ftpd/tails/<the same hash>/<random>       the tail: what had arrived beyond the last whole part
//!   the open multipart upload of the key         the parts
//! ```
//!
//! **While an upload runs** (journal): when it becomes multipart its record is written beside the first part, refreshed
//! now and then, and removed behind the published object. An upload that breaks off writes its tail, then a record that
//! names it. Whatever the process was doing when it was killed, the last record still tells what the store has.
//!
//! **What is kept** (find): the unbroken run of parts from the first, and the tail where it begins at the end of that
//! run. The store is asked for the parts (ListParts), never the record. It belongs to the user who sent it, as long as
//! nobody has written the object since: its ETag is still the one in the record, or where the record has none (the
//! process was killed) it is not younger than the upload by the store's clock.
//!
//! **One record a key.** The newest upload of a key takes the record over. Of those before it: one that was broken off
//! is given up and removed; one that still runs goes on without a record, and its upload is named by the new record, so
//! that the sweep finds it, should it die. Who writes a record says which one he replaces (`If-Match`); where the
//! store ignores that he looks right before.
//!
//! **Which process.** A running upload of this process is found in [`Running`], of another by its record: while that is
//! refreshed its process lives. A record by our own replica's name and of another process is of one that is dead.
//!
//! **The last byte.** A client takes a file for stored whole when SIZE tells all of its bytes, and sends nothing more
//! (curl -C -, lftp put -c): then it would never be published. Where all bytes may have come (the data connection had
//! ended, or the process was killed) the length told is one less than what is there; who goes on from there sends that
//! byte again, and it is passed over.

mod find;
mod journal;
mod record;
mod running;
mod sweep;

pub use self::find::{Found, Kept, Stored};
pub(super) use self::journal::{Broken, Journal};
pub(super) use self::record::{Base, TailNote};
pub use self::record::{Keep, Replica};
pub use self::running::{Older, Running};
pub use self::sweep::{
    Recorded, SweepOptions, Swept, SweptKind, Unrecorded, learn, sweep, sweep_probes, sweep_uploads,
};
