//! Lines of LIST and NLST.
//!
//! RFC 959 leaves the form of LIST open. Each client can parse the output of `ls -l`, so LIST has
//! that.

use std::io::Write as _;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::printable;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry<'a> {
    /// The name, without control characters (one would become `?`).
    pub name: &'a str,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// `None` (directories): 1 January 1970, so that it never changes.
    pub modified: Option<Timestamp>,
    /// Whether the user may write there (mode bits).
    pub writable: bool,
}

/// Times older than this have their year, as in `ls`.
const RECENT: SignedDuration = SignedDuration::from_hours(180 * 24);

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Appends `-rw-r--r-- 1 ftp ftp SIZE Mon dd hh:mm NAME\r\n` in UTC, with the year instead of the
/// time if `modified` is more than 180 days before `now`, or after it.
pub fn list_line(out: &mut Vec<u8>, entry: &ListedEntry<'_>, now: Timestamp) {
    let mode = match (entry.directory, entry.writable) {
        (true, true) => "drwxr-xr-x",
        (true, false) => "dr-xr-xr-x",
        (false, true) => "-rw-r--r--",
        (false, false) => "-r--r--r--",
    };
    // Writing to a Vec does not fail.
    let _ = write!(out, "{mode} 1 ftp ftp {} ", entry.size);
    push_time(out, entry.modified.unwrap_or(Timestamp::UNIX_EPOCH), now);
    out.push(b' ');
    name_line(out, entry.name);
}

/// Appends `NAME\r\n`: a line of NLST.
pub fn name_line(out: &mut Vec<u8>, name: &str) {
    printable::push(out, name);
    out.extend_from_slice(b"\r\n");
}

fn push_time(out: &mut Vec<u8>, modified: Timestamp, now: Timestamp) {
    let time = Offset::UTC.to_datetime(modified);
    // jiff's months are 1 to 12.
    let month = MONTHS[usize::from(time.month().unsigned_abs() - 1)];
    let age = now.duration_since(modified);
    let _ = if age > RECENT || age.is_negative() {
        write!(out, "{month} {:>2} {:>5}", time.day(), time.year())
    } else {
        write!(
            out,
            "{month} {:>2} {:02}:{:02}",
            time.day(),
            time.hour(),
            time.minute()
        )
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn line(entry: &ListedEntry<'_>, now: &str) -> String {
        let mut out = Vec::new();
        list_line(&mut out, entry, now.parse().unwrap());
        String::from_utf8(out).unwrap()
    }

    fn file<'a>(name: &'a str, size: u64, modified: &str) -> ListedEntry<'a> {
        ListedEntry {
            name,
            directory: false,
            size,
            modified: Some(modified.parse().unwrap()),
            writable: true,
        }
    }

    #[test]
    fn lines_as_ls_writes_them() {
        let now = "2026-11-23T12:00:00Z";
        assert_eq!(
            line(&file("a b.csv", 5, "2026-11-03T04:05:59Z"), now),
            "-rw-r--r-- 1 ftp ftp 5 Nov  3 04:05 a b.csv\r\n"
        );
        assert_eq!(
            line(
                &ListedEntry {
                    writable: false,
                    ..file("x", u64::MAX, "2019-02-28T23:59:00Z")
                },
                now
            ),
            "-r--r--r-- 1 ftp ftp 18446744073709551615 Feb 28  2019 x\r\n"
        );
        let directory = ListedEntry {
            name: "d",
            directory: true,
            size: 0,
            modified: None,
            writable: true,
        };
        assert_eq!(
            line(&directory, now),
            "drwxr-xr-x 1 ftp ftp 0 Jan  1  1970 d\r\n"
        );
        assert_eq!(
            line(
                &ListedEntry {
                    writable: false,
                    ..directory
                },
                now
            ),
            "dr-xr-xr-x 1 ftp ftp 0 Jan  1  1970 d\r\n"
        );
    }

    #[test]
    fn old_and_future_times_have_their_year() {
        let modified = "2026-01-15T10:20:30Z";
        for (now, expected) in [
            ("2026-01-15T10:20:30Z", "Jan 15 10:20"),
            ("2026-07-14T10:20:30Z", "Jan 15 10:20"),
            ("2026-07-14T10:20:31Z", "Jan 15  2026"),
            ("2026-01-15T10:20:29Z", "Jan 15  2026"),
        ] {
            let line = line(&file("x", 1, modified), now);
            assert_eq!(line, format!("-rw-r--r-- 1 ftp ftp 1 {expected} x\r\n"));
        }
    }

    #[test]
    fn a_name_forges_no_line() {
        let mut out = Vec::new();
        name_line(&mut out, "a\r\n226 x");
        assert_eq!(out, b"a??226 x\r\n");
        let line = line(
            &file("a\r\nb", 1, "2026-01-15T10:20:30Z"),
            "2026-01-15T10:20:30Z",
        );
        assert!(line.ends_with(" a??b\r\n"));
    }

    proptest! {
        #[test]
        fn a_client_reads_name_and_size_back(
            name in "[^/\\pC]{1,40}",
            size in any::<u64>(),
            modified in proptest::option::of(0_i64..253_402_000_000),
            now in 0_i64..253_402_000_000,
            directory in any::<bool>(),
            writable in any::<bool>(),
        ) {
            let modified = modified.map(|second| Timestamp::from_second(second).unwrap());
            let entry = ListedEntry { name: &name, directory, size, modified, writable };
            let mut out = Vec::new();
            list_line(&mut out, &entry, Timestamp::from_second(now).unwrap());
            let line = String::from_utf8(out).unwrap();
            let mut rest = line.strip_suffix("\r\n").unwrap();
            // Eight words, one space, then the name with its spaces.
            let mut words = Vec::new();
            for _ in 0..8 {
                rest = rest.trim_start_matches(' ');
                let (word, after) = rest.split_once(' ').unwrap();
                words.push(word);
                rest = after;
            }
            prop_assert_eq!(rest, &name);
            prop_assert_eq!(words[0].starts_with('d'), directory);
            prop_assert_eq!(words[0].len(), 10);
            prop_assert_eq!(words[4].parse::<u64>().unwrap(), size);
            prop_assert!(MONTHS.contains(&words[5]));
            prop_assert!((1..=31).contains(&words[6].parse::<u8>().unwrap()));
            prop_assert!(words[7].contains(':') || words[7].parse::<u16>().is_ok());
        }
    }
}
