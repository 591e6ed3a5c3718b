//! What listings of one directory and of a whole tree share: the format of lines, and the time they
//! show.

use jiff::Timestamp;

use crate::object::{Location, ObjectError, head};
use ftp_proto::facts::FactSet;

/// The number of HEADs in parallel for a mount that keeps times in the metadata.
pub(in crate::session) const HEADS: usize = 8;

/// The format of a line.
#[derive(Debug, Clone)]
pub(in crate::session) enum LineFormat {
    Long {
        now: Timestamp,
    },
    /// The prefix of each name: NLST of a directory gives names that work as arguments (RFC 1123,
    /// 4.1.2.7).
    Names {
        prefix: String,
    },
    Facts {
        set: FactSet,
    },
}

/// The entry of one line.
pub(in crate::session) struct Item<'a> {
    pub(in crate::session) name: &'a str,
    pub(in crate::session) size: Option<u64>,
    pub(in crate::session) modified: Option<Timestamp>,
}

/// The time that a client has set for a file in a directory.
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
        // It was deleted after the page was listed.
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
