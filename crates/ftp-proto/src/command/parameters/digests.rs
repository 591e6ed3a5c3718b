//! Of digests: RANG, XCRC and its relatives.

use crate::command::address::number;
use crate::command::argument::Argument;
use crate::command::{CommandError, PieceOfFile};

impl Argument<'_> {
    /// `first last`, both bytes of the file; `1 0` is the whole file.
    pub(in crate::command) fn range(&self) -> Result<Option<(u64, u64)>, CommandError> {
        let words = self.words();
        let [first, last] = &words[..] else {
            return Err(self.wanted());
        };
        match (number(first), number(last)) {
            (Some(1), Some(0)) => Ok(None),
            (Some(first), Some(last)) if first <= last => Ok(Some((first, last))),
            _ => Err(self.wanted()),
        }
    }

    /// `path`, or `"path" [start [end]]`, or `path start end`. Without quotes one number after a
    /// path is a part of the name, as in `report 2024`; so are two that are not a range.
    pub(in crate::command) fn piece(&self) -> Result<PieceOfFile, CommandError> {
        let whole = |path: &str| PieceOfFile {
            path: path.to_owned(),
            first: 0,
            stop: None,
        };
        if let Some(quoted) = self.text.strip_prefix('"') {
            let Some((path, range)) = quoted.rsplit_once('"') else {
                return Ok(whole(&self.required()?));
            };
            let words: Vec<&str> = range.split(' ').filter(|word| !word.is_empty()).collect();
            let numbers: Option<Vec<u64>> = words.iter().map(|word| number(word)).collect();
            return match numbers.as_deref() {
                _ if path.is_empty() => Err(self.wanted()),
                Some([]) => Ok(whole(path)),
                Some([first]) => Ok(PieceOfFile {
                    first: *first,
                    ..whole(path)
                }),
                Some([first, stop]) if first <= stop => Ok(PieceOfFile {
                    path: path.to_owned(),
                    first: *first,
                    stop: Some(*stop),
                }),
                _ => Err(self.wanted()),
            };
        }
        let path = self.required()?;
        let mut words = path.rsplitn(3, ' ');
        if let (Some(stop), Some(first), Some(before)) = (words.next(), words.next(), words.next())
            && let (Some(first), Some(stop)) = (number(first), number(stop))
            && first <= stop
            && !before.is_empty()
        {
            return Ok(PieceOfFile {
                path: before.to_owned(),
                first,
                stop: Some(stop),
            });
        }
        Ok(whole(&path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::command::{Command, HashName};

    fn parsed(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn code(line: &str) -> u16 {
        parsed(line).expect_err(line).code()
    }

    #[test]
    fn digests() {
        let piece = |path: &str, first, stop| PieceOfFile {
            path: path.to_owned(),
            first,
            stop,
        };
        for (line, expected) in [
            ("XCRC a", piece("a", 0, None)),
            ("XCRC a b", piece("a b", 0, None)),
            ("XCRC report 2024", piece("report 2024", 0, None)),
            ("XCRC a 1 2", piece("a", 1, Some(2))),
            ("XCRC a b 1 2", piece("a b", 1, Some(2))),
            ("XCRC a 2 1", piece("a 2 1", 0, None)),
            ("XCRC \"a b\"", piece("a b", 0, None)),
            ("XCRC \"a b\" 7", piece("a b", 7, None)),
            ("XCRC \"a b\"  7  9 ", piece("a b", 7, Some(9))),
            ("XCRC \"a", piece("\"a", 0, None)),
            ("XCRC \"a\"b\"", piece("a\"b", 0, None)),
        ] {
            assert_eq!(
                parsed(line),
                Ok(Command::Digest(HashName::Crc32, expected)),
                "{line}"
            );
        }
        for line in [
            "XMD5",
            "XMD5 \"\"",
            "XMD5 \"a\" x",
            "XMD5 \"a\" 2 1",
            "XMD5 \"a\" 1 2 3",
        ] {
            assert_eq!(code(line), 501, "{line}");
        }
        assert_eq!(parsed("RANG 1 0"), Ok(Command::Rang(None)));
        assert_eq!(parsed("RANG 5 5"), Ok(Command::Rang(Some((5, 5)))));
        for line in [
            "RANG",
            "RANG 1",
            "RANG 2 1",
            "RANG x 1",
            "RANG 1 2 3",
            "RANG 0 -1",
        ] {
            assert_eq!(code(line), 501, "{line}");
        }
        assert_eq!(parsed("OPTS HASH"), Ok(Command::OptsHash(None)));
        let md5 = Command::OptsHash(Some(HashName::Md5));
        assert_eq!(parsed("opts hash md5"), Ok(md5));
        assert_eq!(code("OPTS HASH SHA-3"), 504);
    }
}
