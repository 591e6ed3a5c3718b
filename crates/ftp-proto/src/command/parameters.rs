//! Grammars of the parameters that are not just a path or a number.

mod digests;
mod subcommands;
mod times;
mod transfers;

pub(super) use times::time_and_path;

use super::argument::Argument;
use super::{AuthMechanism, CommandError, ProtectionLevel};

impl Argument<'_> {
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

    pub(super) fn client_name(&self) -> Result<&str, CommandError> {
        Some(self.trimmed())
            .filter(|name| !name.is_empty())
            .ok_or_else(|| self.wanted())
    }
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
    use crate::command::Command;

    fn parsed(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn code(line: &str) -> u16 {
        parsed(line).expect_err(line).code()
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
