//! Lines of LIST and NLST.

use jiff::Timestamp;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry<'a> {
    /// The name; has no control character.
    pub name: &'a str,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// `None` (directories): 1 January 1970, so that it is the same each time.
    pub modified: Option<Timestamp>,
    /// Whether the user may write there (mode bits).
    pub writable: bool,
}

/// Appends `-rw-r--r-- 1 ftp ftp SIZE Mon dd hh:mm NAME\r\n` (UTC; the year in place of the time where `modified`
/// is more than 180 days before `now`, or after it), as every client's parser knows it.
pub fn list_line(out: &mut Vec<u8>, entry: &ListedEntry<'_>, now: Timestamp) {
    let _ = (out, entry, now);
    todo!()
}
