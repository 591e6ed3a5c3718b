//! [`ObjectIdentity`]: what distinguishes a version of an object from every other.

use jiff::Timestamp;

use crate::object::head::ObjectInfo;
use crate::object::list::Key;
use crate::object::transfer_id::{TRANSFER_KEY, TransferId};
use crate::object::verify::written_by;

/// A version of an object, as a HEAD showed it.
///
/// Objects with equal bytes have equal ETags (empty trigger files, say), so the transfer id that
/// each upload leaves in the metadata is compared, too. Objects of other tools have none: for those
/// LastModified is compared, which has a resolution of 1 s.
#[derive(Debug, Clone)]
pub struct ObjectIdentity {
    etag: String,
    transfer: Option<String>,
    modified: Timestamp,
}

impl ObjectInfo {
    /// Which version of the object this is.
    pub fn identity(&self) -> ObjectIdentity {
        ObjectIdentity {
            etag: self.etag.clone(),
            transfer: self.attributes.metadata.get(TRANSFER_KEY).cloned(),
            modified: self.modified,
        }
    }
}

impl ObjectInfo {
    /// The transfer that has written the object; `None` if it was another program.
    pub fn transfer(&self) -> Option<TransferId> {
        written_by(self)
    }
}

impl ObjectIdentity {
    /// The ETag with its quotes, for `If-Match`.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// The identity that was read from a record.
    pub(super) fn recorded(etag: String, transfer: Option<String>, modified: Timestamp) -> Self {
        ObjectIdentity {
            etag,
            transfer,
            modified,
        }
    }

    /// The transfer that wrote it, if it was one of this server's.
    pub(super) fn transfer(&self) -> Option<&str> {
        self.transfer.as_deref()
    }

    /// LastModified.
    pub(super) fn modified(&self) -> Timestamp {
        self.modified
    }

    /// Whether a listing shows what this version would look like. A listing has no metadata, so
    /// another version with the same bytes, written within the same second, looks the same.
    pub(super) fn is_listed_as(&self, key: &Key) -> bool {
        same_etag(&self.etag, &key.etag) && self.modified.as_second() == key.modified.as_second()
    }
}

impl PartialEq for ObjectIdentity {
    fn eq(&self, other: &Self) -> bool {
        same_etag(&self.etag, &other.etag)
            && self.transfer == other.transfer
            && (self.transfer.is_some() || self.modified.as_second() == other.modified.as_second())
    }
}

impl Eq for ObjectIdentity {}

/// Some stores leave the quotes out in listings.
fn same_etag(one: &str, other: &str) -> bool {
    one.trim_matches('"') == other.trim_matches('"')
}
