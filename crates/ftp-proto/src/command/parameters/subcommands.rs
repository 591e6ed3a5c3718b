//! Of commands that have commands of their own: OPTS and SITE.

use jiff::Timestamp;

use crate::command::argument::Argument;
use crate::command::{Command, CommandError, HashName};
use crate::time;

impl Argument<'_> {
    pub(in crate::command) fn opts(&self) -> Result<Command, CommandError> {
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

    pub(in crate::command) fn site(&self) -> Result<Command, CommandError> {
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
}

/// The first word, and the text after the space that follows it.
fn word_and_rest(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(' ');
    text.split_once(' ').unwrap_or((text, ""))
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
}
