//! What listings of one directory and of a whole tree share: how lines look, and whose time they show.

use jiff::Timestamp;

use crate::object::{Location, ObjectError, head};
use ftp_proto::facts::FactSet;

/// HEADs at once where a mount keeps times in the metadata.
pub(in crate::session) const HEADS: usize = 8;

/// How one entry becomes a line.
#[derive(Debug, Clone)]
pub(in crate::session) enum LineFormat {
    Long {
        now: Timestamp,
    },
    /// What stands before each name: NLST of a directory gives names that work as they are (RFC 1123, 4.1.2.7).
    Names {
        prefix: String,
    },
    Facts {
        set: FactSet,
    },
}

/// One line's entry.
pub(in crate::session) struct Item<'a> {
    pub(in crate::session) name: &'a str,
    pub(in crate::session) size: Option<u64>,
    pub(in crate::session) modified: Option<Timestamp>,
}

/// The time that a client has set of the file of that name below a directory.
pub(in crate::session) async fn kept_time(
    directory: &Location,
    name: &str,
) -> Result<Option<Timestamp>, ObjectError> {
    let key = format!("{}{name}", directory.key);
    match head(&Location {
        key,
        ..directory.clone()
    })
    .await
    {
        Ok(info) => Ok(info.client_modified()),
        // Deleted since the page was made.
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
