//! ListObjectsV2, page by page, the next page fetched while this one is sent.

use jiff::Timestamp;

use super::{Location, ObjectError};

/// One entry of a listing; names are relative to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An object.
    File {
        /// Name below the directory, unfiltered: may hold anything a key can, except `/`.
        name: String,
        /// Bytes.
        size: u64,
        /// LastModified.
        modified: Timestamp,
        /// ETag with its quotes.
        etag: String,
    },
    /// A common prefix.
    Directory {
        /// Name without the slash; may be empty (key with `//`).
        name: String,
    },
}

/// One page: at most 1,000 entries.
#[derive(Debug)]
pub struct Page {
    /// Its entries, in key order. The directory's own marker is left out.
    pub entries: Vec<Entry>,
    /// Whether the directory's own marker was on this page.
    pub marker: bool,
}

/// A listing under way.
#[derive(Debug)]
pub struct Listing {}

impl Listing {
    /// A listing with delimiter `/` of the directory (`location.key` empty or ending in `/`), of names that begin
    /// with `name_prefix`. Makes no request yet.
    pub fn new(directory: &Location, name_prefix: &str) -> Self {
        let _ = (directory, name_prefix);
        todo!()
    }
    /// The next page, `None` after the last; begins to fetch the one after it. Dropping the listing ends the fetch.
    pub async fn next_page(&mut self) -> Result<Option<Page>, ObjectError> {
        todo!()
    }
}

/// Whether any key has the directory's key as its prefix (1 ListObjectsV2 with max-keys 1).
pub async fn directory_exists(directory: &Location) -> Result<bool, ObjectError> {
    let _ = directory;
    todo!()
}
