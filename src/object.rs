//! The S3 side: knows buckets, keys and S3 operations, and nothing of FTP.

mod client;
mod copy;
mod delete;
mod download;
mod error;
mod head;
mod list;
mod upload;

pub use client::{Location, Store, StoreContext};
pub use copy::{CopyOptions, copy, rename_directory, set_metadata};
pub use delete::{delete, delete_keeping_directory, make_directory, remove_directory};
pub use download::Download;
pub use error::ObjectError;
pub use head::{Attributes, ObjectInfo, Peek, head, peek};
pub use list::{Entry, Listing, Page, directory_exists};
pub use upload::{AppendTo, Condition, Published, TransferId, Upload, UploadOptions};
