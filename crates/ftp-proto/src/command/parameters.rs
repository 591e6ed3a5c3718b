//! Grammars of the parameters that are not just a path or a number.

use jiff::Timestamp;

use super::address::number;
use super::parse::Argument;
use super::{
    AuthMechanism, Command, CommandError, EpsvArgument, HashName, PieceOfFile, ProtectionLevel,
    TransferType,
};
use crate::time;

impl Argument<'_> {
    pub(super) fn transfer_type(&self) -> Result<TransferType, CommandError> {
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["A"] | ["A", "N"] => Ok(TransferType::Ascii),
            // Some clients omit the space.
            ["I"] | ["L", "8"] | ["L8"] => Ok(TransferType::Image),
            ["A", "T" | "C"] | ["E"] | ["E", "N" | "T" | "C"] => Err(self.not_offered()),
            ["L", size] if number::<u64>(size).is_some() => Err(self.not_offered()),
            [local]
                if local
                    .strip_prefix('L')
                    .is_some_and(|size| !size.is_empty() && number::<u64>(size).is_some()) =>
            {
                Err(self.not_offered())
            }
            _ => Err(self.wanted()),
        }
    }

    /// RFC 4217, 17.
    pub(super) fn mechanism(&self) -> Result<AuthMechanism, CommandError> {
        match self.trimmed().to_ascii_uppercase().as_str() {
            "TLS" | "TLS-C" => Ok(AuthMechanism::Tls),
            "SSL" | "TLS-P" => Ok(AuthMechanism::TlsPrivate),
            "" => Err(self.wanted()),
            _ => Err(self.not_offered()),
        }
    }

    /// RFC 2228.
    pub(super) fn protection(&self) -> Result<ProtectionLevel, CommandError> {
        match self.trimmed().to_ascii_uppercase().as_str() {
            "C" => Ok(ProtectionLevel::Clear),
            "S" => Ok(ProtectionLevel::Safe),
            "E" => Ok(ProtectionLevel::Confidential),
            "P" => Ok(ProtectionLevel::Private),
            "" => Err(self.wanted()),
            _ => Err(self.not_offered()),
        }
    }

    /// MODE and STRU: one letter is supported, some others are valid.
    pub(super) fn code_letter(
        &self,
        command: Command,
        offered: &str,
        others: &[&str],
    ) -> Result<Command, CommandError> {
        let letter = self.trimmed();
        if letter.eq_ignore_ascii_case(offered) {
            Ok(command)
        } else if others
            .iter()
            .any(|other| letter.eq_ignore_ascii_case(other))
        {
            Err(self.not_offered())
        } else {
            Err(self.wanted())
        }
    }

    pub(super) fn epsv(&self) -> Result<EpsvArgument, CommandError> {
        match self.trimmed() {
            "" => Ok(EpsvArgument::Default),
            "1" => Ok(EpsvArgument::V4),
            "2" => Ok(EpsvArgument::V6),
            all if all.eq_ignore_ascii_case("ALL") => Ok(EpsvArgument::All),
            other if number::<u64>(other).is_some() => Err(CommandError::Protocol),
            _ => Err(self.wanted()),
        }
    }

    /// `n`, or `n R m` with a record size m (RFC 959, 5.3.2).
    pub(super) fn allo(&self) -> Result<u64, CommandError> {
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let bytes = match words[..] {
            [bytes] => number(bytes),
            [bytes, "R", record] => number::<u64>(record).and_then(|_| number(bytes)),
            _ => None,
        };
        bytes.ok_or_else(|| self.wanted())
    }

    pub(super) fn mdtm(&self) -> Result<Command, CommandError> {
        let whole = self.required()?;
        Ok(match time_and_path(self.text) {
            Some((time, path)) => Command::MdtmSet(time, path, whole),
            None => Command::Mdtm(whole),
        })
    }

    /// `fact=value;fact=value; path` (draft-somers-ftp-mfxx, 5).
    pub(super) fn mff(&self) -> Result<Command, CommandError> {
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

    pub(super) fn opts(&self) -> Result<Command, CommandError> {
        let (option, value) = word_and_rest(self.text);
        let value = value.trim_matches(' ');
        match option.to_ascii_uppercase().as_str() {
            "UTF8" | "UTF-8" if value.is_empty() || value.eq_ignore_ascii_case("ON") => {
                Ok(Command::OptsUtf8(true))
            }
            "UTF8" | "UTF-8" if value.eq_ignore_ascii_case("OFF") => Ok(Command::OptsUtf8(false)),
            "HASH" if value.is_empty() => Ok(Command::OptsHash(None)),
            "HASH" => HashName::ALL
                .into_iter()
                .find(|hash| hash.name().eq_ignore_ascii_case(value))
                .map(|hash| Command::OptsHash(Some(hash)))
                .ok_or_else(|| {
                    let names = HashName::ALL.map(HashName::name).join(", ");
                    CommandError::Parameter(format!("not offered; one of {names}"))
                }),
            "MLST" => {
                let facts = value
                    .split(';')
                    .map(|fact| fact.trim_matches(' '))
                    .filter(|fact| !fact.is_empty());
                Ok(Command::OptsMlst(facts.map(str::to_owned).collect()))
            }
            _ => Err(self.wanted()),
        }
    }

    /// `first last`, both bytes of the file; `1 0` is the whole file.
    pub(super) fn range(&self) -> Result<Option<(u64, u64)>, CommandError> {
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
    pub(super) fn piece(&self) -> Result<PieceOfFile, CommandError> {
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

    pub(super) fn site(&self) -> Result<Command, CommandError> {
        let (subcommand, parameters) = word_and_rest(self.text);
        match subcommand.to_ascii_uppercase().as_str() {
            "" => Err(self.wanted()),
            "HELP" => Ok(Command::SiteHelp),
            "CHMOD" => match word_and_rest(parameters) {
                (mode, path) if octal_mode(mode) && !path.is_empty() => {
                    Ok(Command::SiteChmod(path.to_owned()))
                }
                _ => Err(self.wanted()),
            },
            "UTIME" => {
                let (time, path) = utime(parameters).ok_or_else(|| self.wanted())?;
                Ok(Command::SiteUtime(time, path))
            }
            _ => Err(CommandError::NotOffered("this SITE command")),
        }
    }

    pub(super) fn client_name(&self) -> Result<&str, CommandError> {
        Some(self.trimmed())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| self.wanted())
    }
}

/// The first word, and the text after the space that follows it.
fn word_and_rest(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(' ');
    text.split_once(' ').unwrap_or((text, ""))
}

/// `YYYYMMDDHHMMSS path`.
pub(super) fn time_and_path(text: &str) -> Option<(Timestamp, String)> {
    let (time, path) = text.split_once(' ')?;
    let time = time::parse(time)?;
    (!path.is_empty()).then(|| (time, path.to_owned()))
}

/// `YYYYMMDDhhmm[ss] path`, or `path atime mtime ctime UTC`: two forms of SITE UTIME, which clients
/// try in sequence.
fn utime(text: &str) -> Option<(Timestamp, String)> {
    let mut words = text.rsplitn(5, ' ');
    if let (Some(zone), Some(change), Some(modified), Some(access), Some(path)) = (
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ) && zone.eq_ignore_ascii_case("UTC")
        && let (Some(_), Some(modified), Some(_)) =
            (site_time(access), site_time(modified), site_time(change))
        && !path.is_empty()
    {
        return Some((modified, path.to_owned()));
    }
    let (time, path) = text.split_once(' ')?;
    let time = site_time(time)?;
    (!path.is_empty()).then(|| (time, path.to_owned()))
}

/// A time with optional seconds.
fn site_time(text: &str) -> Option<Timestamp> {
    match text.len() {
        12 => time::parse(&format!("{text}00")),
        14 => time::parse(text),
        _ => None,
    }
}

/// `644`, `0755`.
fn octal_mode(mode: &str) -> bool {
    (1..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit))
}

/// The value of `Name=` in facts that each end with `;`, else the whole text.
pub(super) fn csid_name(text: &str) -> &str {
    let facts = text
        .split(';')
        .filter_map(|fact| fact.trim_matches(' ').split_once('='));
    let mut names =
        facts.filter(|(fact, value)| fact.eq_ignore_ascii_case("Name") && !value.is_empty());
    names.next().map_or(text, |(_, value)| value)
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
    fn representation_types() {
        for line in ["TYPE A", "type a n", "TYPE  a  N "] {
            assert_eq!(
                parsed(line),
                Ok(Command::Type(TransferType::Ascii)),
                "{line:?}"
            );
        }
        for line in [
            "TYPE I", "TYPE i ", "TYPE L 8", "type l 8", "TYPE L8", "type l8 ",
        ] {
            assert_eq!(
                parsed(line),
                Ok(Command::Type(TransferType::Image)),
                "{line:?}"
            );
        }
        for line in [
            "TYPE A T",
            "TYPE A C",
            "TYPE E",
            "TYPE e n",
            "TYPE L 36",
            "TYPE L 7",
            "TYPE L36",
        ] {
            assert_eq!(code(line), 504, "{line:?}");
        }
        for line in [
            "TYPE",
            "TYPE ",
            "TYPE X",
            "TYPE L",
            "TYPE L x",
            "TYPE Lx",
            "TYPE L8 8",
            "TYPE I N",
            "TYPE A N N",
            "TYPE AN",
            "TYPE E X",
        ] {
            assert_eq!(code(line), 501, "{line:?}");
        }
    }

    #[test]
    fn modes_and_structures() {
        for line in ["MODE S", "mode s ", "MODE  S"] {
            assert_eq!(parsed(line), Ok(Command::Mode));
        }
        assert_eq!(parsed("STRU F"), Ok(Command::Stru));
        for (line, expected) in [
            ("MODE B", 504),
            ("MODE c", 504),
            ("MODE Z", 504),
            ("MODE", 501),
            ("MODE X", 501),
            ("MODE S S", 501),
            ("STRU R", 504),
            ("STRU p", 504),
            ("STRU", 501),
            ("STRU S", 501),
        ] {
            assert_eq!(code(line), expected, "{line:?}");
        }
    }

    #[test]
    fn extended_passive_mode() {
        for (line, expected) in [
            ("EPSV", EpsvArgument::Default),
            ("EPSV ", EpsvArgument::Default),
            ("EPSV 1", EpsvArgument::V4),
            ("epsv  2 ", EpsvArgument::V6),
            ("EPSV ALL", EpsvArgument::All),
            ("EPSV all", EpsvArgument::All),
        ] {
            assert_eq!(parsed(line), Ok(Command::Epsv(expected)), "{line:?}");
        }
        for (line, expected) in [
            ("EPSV 3", 522),
            ("EPSV 0", 522),
            ("EPSV x", 501),
            ("EPSV 1 2", 501),
            ("EPSV -1", 501),
        ] {
            assert_eq!(code(line), expected, "{line:?}");
        }
    }

    #[test]
    fn numbers() {
        for (line, expected) in [
            ("REST 0", Command::Rest(0)),
            ("REST  18446744073709551615 ", Command::Rest(u64::MAX)),
            ("ALLO 5", Command::Allo(5)),
            ("allo 5  r 7 ", Command::Allo(5)),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line:?}");
        }
        for line in [
            "REST",
            "REST -1",
            "REST +1",
            "REST 1 2",
            "REST x",
            "REST 18446744073709551616",
            "REST 1.5",
            "REST ١",
            "ALLO",
            "ALLO x",
            "ALLO R 7",
            "ALLO 5 R",
            "ALLO 5 7",
            "ALLO 5 R x",
            "ALLO 5 R 7 8",
        ] {
            assert_eq!(code(line), 501, "{line:?}");
        }
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

    #[test]
    fn options() {
        let facts =
            |names: &[&str]| Command::OptsMlst(names.iter().map(ToString::to_string).collect());
        for (line, expected) in [
            ("OPTS UTF8 ON", Command::OptsUtf8(true)),
            ("opts utf8 on", Command::OptsUtf8(true)),
            ("OPTS UTF8", Command::OptsUtf8(true)),
            ("OPTS UTF-8 Off ", Command::OptsUtf8(false)),
            ("OPTS MLST", facts(&[])),
            ("opts mlst Type;size;", facts(&["Type", "size"])),
            ("OPTS  MLST type; ;modify", facts(&["type", "modify"])),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line:?}");
        }
        for line in ["OPTS", "OPTS UTF8 maybe", "OPTS UTF16"] {
            assert_eq!(code(line), 501, "{line:?}");
        }
    }

    #[test]
    fn site_commands() {
        for (line, expected) in [
            ("SITE HELP", Command::SiteHelp),
            ("site  help CHMOD", Command::SiteHelp),
            ("SITE CHMOD 644 a b ", Command::SiteChmod("a b ".to_owned())),
            ("site chmod  0755  x", Command::SiteChmod(" x".to_owned())),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line:?}");
        }
        for (line, expected) in [
            ("SITE", 501),
            ("SITE CHMOD", 501),
            ("SITE CHMOD 644", 501),
            ("SITE CHMOD 644 ", 501),
            ("SITE CHMOD 888 x", 501),
            ("SITE CHMOD 07777 x", 501),
            ("SITE CHMOD u+x x", 501),
            ("SITE EXEC ls", 502),
            ("SITE UTIME x", 501),
            ("SITE UTIME 20200102030405", 501),
            ("SITE UTIME 20200102030405 ", 501),
            ("SITE UTIME x 20200102030405 20200102030405 UTC", 501),
            ("SITE UTIME 2020010203 x", 501),
        ] {
            assert_eq!(code(line), expected, "{line:?}");
        }
    }

    #[test]
    fn names_of_clients() {
        for (line, expected) in [
            ("CLNT NcFTP 3.2.5 ", Command::Clnt("NcFTP 3.2.5".to_owned())),
            (
                "CSID Name=BitKinex; Version=3.2.3;",
                Command::Csid("BitKinex".to_owned()),
            ),
            ("CSID Version=1; name=x;", Command::Csid("x".to_owned())),
            ("CSID plain", Command::Csid("plain".to_owned())),
            ("CSID Name=;", Command::Csid("Name=;".to_owned())),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line:?}");
        }
        assert_eq!(code("CLNT"), 501);
        assert_eq!(code("CSID  "), 501);
    }
}
