//! Of times of files: MDTM, MFMT, MFF.

use jiff::Timestamp;

use crate::command::argument::Argument;
use crate::command::{Command, CommandError};
use crate::time;

impl Argument<'_> {
    pub(in crate::command) fn mdtm(&self) -> Result<Command, CommandError> {
        let whole = self.required()?;
        Ok(match time_and_path(self.text) {
            Some((time, path)) => Command::MdtmSet(time, path, whole),
            None => Command::Mdtm(whole),
        })
    }

    /// `fact=value;fact=value; path` (draft-somers-ftp-mfxx, 5).
    pub(in crate::command) fn mff(&self) -> Result<Command, CommandError> {
        let (facts, path) = self.text.split_once(' ').ok_or_else(|| self.wanted())?;
        let facts = facts.strip_suffix(';').ok_or_else(|| self.wanted())?;
        if path.is_empty() {
            return Err(self.wanted());
        }
        let mut modify = None;
        for fact in facts.split(';') {
            let (fact, value) = fact.split_once('=').ok_or_else(|| self.wanted())?;
            if !fact.eq_ignore_ascii_case("modify") {
                return Err(self.not_offered());
            }
            let time = time::parse(value).ok_or_else(|| self.wanted())?;
            if modify.replace(time).is_some() {
                return Err(self.wanted());
            }
        }
        let time = modify.ok_or_else(|| self.wanted())?;
        Ok(Command::Mff(time, path.to_owned()))
    }
}

/// `YYYYMMDDHHMMSS path`.
pub(in crate::command) fn time_and_path(text: &str) -> Option<(Timestamp, String)> {
    let (time, path) = text.split_once(' ')?;
    let time = time::parse(time)?;
    (!path.is_empty()).then(|| (time, path.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn parsed(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn code(line: &str) -> u16 {
        parsed(line).expect_err(line).code()
    }

    fn instant() -> Timestamp {
        "2020-01-02T03:04:05Z".parse().unwrap()
    }

    #[test]
    fn times_of_files() {
        let path = || "a b".to_owned();
        let whole = "20200102030405 a b".to_owned();
        for (line, expected) in [
            ("MFMT 20200102030405 a b", Command::Mfmt(instant(), path())),
            (
                "MDTM 20200102030405 a b",
                Command::MdtmSet(instant(), path(), whole),
            ),
            (
                "MDTM 20200102030405",
                Command::Mdtm("20200102030405".to_owned()),
            ),
            (
                "MDTM 20200102030405 ",
                Command::Mdtm("20200102030405 ".to_owned()),
            ),
            (
                "MDTM 20201302030405 x",
                Command::Mdtm("20201302030405 x".to_owned()),
            ),
            (
                "MFMT 20200102030405  x",
                Command::Mfmt(instant(), " x".to_owned()),
            ),
            (
                "MFF Modify=20200102030405; a b",
                Command::Mff(instant(), path()),
            ),
            (
                "mff modify=20200102030405; a b",
                Command::Mff(instant(), path()),
            ),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line:?}");
        }
        for (line, expected) in [
            ("MFMT", 501),
            ("MFMT 20200102030405", 501),
            ("MFMT 20200102030405 ", 501),
            ("MFMT 20201302030405 x", 501),
            ("MFMT x 20200102030405", 501),
            ("MFF", 501),
            ("MFF x", 501),
            ("MFF ; x", 501),
            ("MFF modify=20200102030405; ", 501),
            ("MFF modify=20200102030405;", 501),
            ("MFF modify=20200102030405 x", 501),
            ("MFF modify=x; x", 501),
            ("MFF modify; x", 501),
            ("MFF modify=20200102030405;modify=20200102030405; x", 501),
            ("MFF UNIX.mode=0644; x", 504),
            ("MFF modify=20200102030405;UNIX.mode=0644; x", 504),
            ("MFF create=20200102030405; x", 504),
        ] {
            assert_eq!(code(line), expected, "{line:?}");
        }
    }
}
