//! Small text records on disk: lines of `name value`, with percent-encoded values. The last line is
//! `end`; a record without it is cut.
//!
//! Records describe objects, open uploads and parts in the data directory of a store with files.
//! The name of each is a number of the store's sequence and is used once, so that no record is
//! overwritten: a new record replaces an old one, whose last holder removes it ([`StoredFile`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The last line.
const END: &str = "end\n";

/// All ASCII except the unreserved characters of RFC 3986.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// An ordered list of named values; names can repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record(Vec<(String, String)>);

impl Record {
    /// Adds a value.
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.push((name.into(), value.to_string()));
    }

    /// The first value of a name.
    pub(crate) fn value(&self, name: &str) -> io::Result<&str> {
        self.optional(name)
            .ok_or_else(|| invalid(format!("no {name} in the record")))
    }

    /// The first value of a name, if there is one.
    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a name, parsed.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> io::Result<T> {
        self.value(name)?
            .parse()
            .map_err(|_| invalid(format!("{name} is not of its form")))
    }

    /// All entries whose name begins with `prefix`, without the prefix.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, value.as_str())))
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push_str(&percent_encode(name));
            text.push(' ');
            text.push_str(&percent_encode(value));
            text.push('\n');
        }
        text.push_str(END);
        text
    }

    fn from_text(text: &str) -> io::Result<Record> {
        let text = text.strip_suffix(END);
        let text = text.ok_or_else(|| invalid("it is cut: the last line is missing".to_owned()))?;
        let entries = text.lines().map(|line| {
            let (name, value) = line
                .split_once(' ')
                .ok_or_else(|| invalid("a line without a value".to_owned()))?;
            let decode = |encoded| {
                percent_decode(encoded).ok_or_else(|| invalid("a damaged escape".to_owned()))
            };
            Ok((decode(name)?, decode(value)?))
        });
        entries.collect::<io::Result<Vec<_>>>().map(Record)
    }

    /// Writes the record atomically: under a temporary name, which it then renames.
    pub(crate) async fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("new");
        tokio::fs::write(&temporary, self.to_text()).await?;
        tokio::fs::rename(&temporary, path).await
    }

    /// Reads a record.
    pub(crate) fn read(path: &Path) -> io::Result<Record> {
        Record::from_text(&std::fs::read_to_string(path)?)
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// A file that its last holder removes when dropped, unless the store is being closed.
#[derive(Debug)]
pub(crate) struct StoredFile {
    path: PathBuf,
    closing: Arc<AtomicBool>,
}

impl StoredFile {
    /// Owns the file at `path`. `closing` is true while the store closes and its files stay.
    pub(crate) fn new(path: PathBuf, closing: Arc<AtomicBool>) -> StoredFile {
        StoredFile { path, closing }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        if !self.closing.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "embedded store: can't remove a file");
        }
    }
}

/// Percent-encodes all except the unreserved characters of RFC 3986.
pub(crate) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Undoes [`percent_encode`]; `None` if an escape is damaged or the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let is_escape = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(|(at, _)| is_escape(at)) {
        return None;
    }
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_have_upper_case_digits_and_damaged_ones_are_refused() {
        let encoded = percent_encode("a-b_.~/ *\u{e9}%");
        assert_eq!(encoded, "a-b_.~%2F%20%2A%C3%A9%25");
        assert_eq!(percent_decode("%c3%A9+").as_deref(), Some("\u{e9}+"));
        for damaged in ["%", "a%2", "%%41", "%+1", "%\u{e9}", "%FF"] {
            assert_eq!(percent_decode(damaged), None, "{damaged}");
        }
    }

    proptest! {
        #[test]
        fn a_record_survives_its_text(entries in prop::collection::vec((".*", ".*"), 0..8)) {
            let mut record = Record::default();
            for (name, value) in &entries {
                record.push(name.clone(), value);
            }
            // No name is empty in practice; the text form needs only the space.
            prop_assert_eq!(Record::from_text(&record.to_text()).unwrap(), record);
        }
    }

    #[test]
    fn damaged_records_are_errors() {
        assert!(Record::from_text("no-value-here\nend\n").is_err());
        assert!(Record::from_text("name %zz\nend\n").is_err());
        assert!(Record::from_text("name %4\nend\n").is_err());
        let whole = "name value\nother value\nend\n";
        assert!(Record::from_text(whole).is_ok());
        for length in 0..whole.len() {
            assert!(Record::from_text(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_stored_file_goes_with_its_holder_unless_the_store_is_closing() {
        let directory = tempfile::tempdir().unwrap();
        let closing = Arc::new(AtomicBool::new(false));
        let path = directory.path().join("1.blob");
        std::fs::write(&path, "x").unwrap();
        drop(StoredFile::new(path.clone(), Arc::clone(&closing)));
        assert!(!path.exists());
        std::fs::write(&path, "x").unwrap();
        closing.store(true, Ordering::Release);
        drop(StoredFile::new(path.clone(), closing));
        assert!(path.exists());
    }
}
