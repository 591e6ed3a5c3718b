//! The S3 side: knows buckets, keys and S3 operations, and nothing of FTP.
//!
//! A [`Store`] holds the SDK's client of one endpoint and what it is known to be able to do.
//! Everything else is said of a [`Location`], a bucket and a key in a store. Data flows through
//! [`Upload`] (chunks → parts → S3) and [`Download`] (ranges → chunks); the rest are single
//! requests or short sequences of them. Errors of the SDK become [`ObjectError`]s in one place.

mod access;
mod active_uploads;
mod answer;
mod applied_attributes;
mod attributes;
mod backoff;
mod capabilities;
mod checksum;
mod client;
mod clock;
mod connector;
mod copy;
mod customer_key;
mod delete;
mod digest;
mod download;
mod echo;
mod error;
mod head;
mod header_value;
mod identity;
mod keys;
mod list;
mod location;
pub mod look;
mod measure;
mod multipart;
mod name_lock;
pub mod options;
mod page_memory;
mod part_sizes;
mod parts;
mod precondition;
mod progress;
mod publish_error;
mod record_cache;
mod replica;
mod resume;
mod retry;
mod temporary;
#[cfg(test)]
mod tests;
mod transfer_id;
mod upload;
mod verify;

pub use active_uploads::{ActiveUploads, EarlierUploads, UploadSnapshot};
pub use attributes::{ContentType, CustomerKey, CustomerKeyError, Encryption, ObjectAttributes};
pub use client::{Store, StoreContext};
pub use connector::trusted_roots;
pub use copy::directory::{DirectoryError, TakesKey, rename_directory};
pub use copy::whole::Written;
pub use copy::{CopyOptions, copy, set_metadata};
pub use delete::{
    CopyOf, DeleteError, Deleted, Expected, delete, delete_keeping_directory, delete_temporary,
    keep_if_empty, make_directory, remove_directory,
};
pub use digest::{Algorithm, digest};
pub use download::{Download, HELD};
pub use error::{NotS3, ObjectError};
pub use head::{Attributes, MTIME_KEY, ObjectInfo, Peek, head, head_with_crc, peek};
pub use header_value::header_value;
pub use identity::ObjectIdentity;
pub use list::{Entry, Listing, Page, directory_exists};
pub use location::Location;
pub use name_lock::{NameLock, NameLocks, NameWatch, Participation};
pub use publish_error::PublishError;
pub use record_cache::RecordCache;
pub use replica::Replica;
pub use resume::{
    Lookup, Recorded, ResumableUpload, ResumeScope, STATE_PREFIX, Staging, StoredRecord,
    SweepOptions, Swept, SweptKind, Unrecorded, refresh_record_cache, sweep, sweep_probes,
    sweep_temporary, sweep_uploads,
};
pub use temporary::temporary_directory;
pub use transfer_id::{TRANSFER_KEY, TransferId};
pub use upload::publish::SealedUpload;
pub use upload::relief::{GivesBack, Relief};
pub use upload::running::{FailureWatch, Upload};
pub use upload::staged::StagedUpload;
pub use upload::{AppendTo, Condition, Published, UploadOptions};
