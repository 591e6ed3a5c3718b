//! A small S3 server in the process: what `s3ftpd demo` stores into, and what the tests store into.
//!
//! [`EmbeddedStore`] listens: s3s reads requests and checks signatures, [`Backend`] does the work.
//! s3s-fs, the file-system backend of the s3s project, is not used: it maps keys onto paths, so `x`
//! and `x/y` cannot both exist, `a//b` and `..` become other keys, markers (`dir/`) are missing
//! from listings, and an element over 255 bytes fails. It walks the whole bucket for each page of a
//! listing and returns no ETags there. It neither compares parts with the ETags, sizes and
//! checksums that Complete names, nor lists uploads (ListMultipartUploads). A store that tests a
//! gateway has to be as strict and as free as S3 is. [`Behaviour`] has a switch for each known
//! difference between real stores.
//!
//! ```text
//! store      listener, connections, interception      service    s3s's trait → the operations below
//! backend    the index, publishing under conditions   objects    Put, Get, Head, Delete, tags
//! blob       bytes, in memory or in files             copy       CopyObject, UploadPartCopy
//! encryption the keys of SSE-C
//! disk       the data directory, its records          multipart  uploads          listing   pages
//! ```
//!
//! With the feature `faults` a test can make single requests fail: see the module of that name.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod backend;
mod behaviour;
mod blob;
mod checksum;
mod copy;
mod disk;
mod encryption;
#[cfg(feature = "faults")]
pub mod faults;
mod index;
mod listing;
mod multipart;
mod objects;
mod record;
mod s3_types;
mod service;
mod store;

pub use backend::{Backend, Description, Event, OpenUpload};
pub use behaviour::Behaviour;
pub use store::{EmbeddedStore, Interceptor, Next, ResetConnection, StoreOptions};
