//! A line → [`Command`]: one match arm for each verb. [`super::parameters`] has the grammars of the
//! parameters.

use super::address::{self, AddressError, number};
use super::argument::Argument;
use super::parameters::{csid_name, time_and_path};
use super::verbs;
use super::{Command, CommandError, HashName, HostName, ListArgument, Password};

/// See [`Command::parse`].
pub(super) fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let space = line.iter().position(|byte| *byte == b' ');
    let (verb, argument) = match space {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[][..]),
    };
    let offered = verbs::offered(verb).ok_or_else(|| verbs::refusal(verb))?;
    let argument = std::str::from_utf8(argument).map_err(|_| CommandError::NotUtf8)?;
    if argument.contains('\0') {
        return Err(CommandError::Syntax(
            "the line holds a NUL character".to_owned(),
        ));
    }
    Argument {
        offered,
        text: argument,
        given: space.is_some(),
    }
    .command()
}

impl Argument<'_> {
    fn command(&self) -> Result<Command, CommandError> {
        Ok(match self.offered.verb {
            "USER" => Command::User(self.required()?),
            // A password can be empty, and spaces are part of it.
            "PASS" => Command::Pass(Password(self.text.to_owned())),
            "HOST" => Command::Host(HostName::parse(self.trimmed()).ok_or_else(|| self.wanted())?),
            "ACCT" => Command::Acct,
            "REIN" => Command::Rein,
            "AUTH" => Command::Auth(self.mechanism()?),
            "PBSZ" => {
                number::<u64>(self.trimmed()).ok_or_else(|| self.wanted())?;
                Command::Pbsz
            }
            "PROT" => Command::Prot(self.protection()?),
            "CCC" => Command::Ccc,
            "QUIT" => Command::Quit,
            // An empty path is the start directory.
            "CWD" | "XCWD" if self.given => Command::Cwd(self.text.to_owned()),
            "CWD" | "XCWD" => return Err(self.wanted()),
            "CDUP" | "XCUP" => Command::Cdup,
            "PWD" | "XPWD" => Command::Pwd,
            "MKD" | "XMKD" => Command::Mkd(self.required()?),
            "RMD" | "XRMD" => Command::Rmd(self.required()?),
            "TYPE" => Command::Type(self.transfer_type()?),
            "MODE" => self.code_letter(Command::Mode, "S", &["B", "C", "Z"])?,
            "STRU" => self.code_letter(Command::Stru, "F", &["R", "P"])?,
            "PASV" => Command::Pasv,
            "EPSV" => Command::Epsv(self.epsv()?),
            "PORT" => Command::Port(address::port(self.trimmed()).ok_or_else(|| self.wanted())?),
            "EPRT" => {
                Command::Eprt(address::eprt(self.trimmed()).map_err(|error| match error {
                    AddressError::Syntax => self.wanted(),
                    AddressError::Protocol => CommandError::Protocol,
                })?)
            }
            "RETR" => Command::Retr(self.required()?),
            "STOR" => Command::Stor(self.required()?),
            "STOU" => Command::Stou(self.optional()),
            "APPE" => Command::Appe(self.required()?),
            "ALLO" => Command::Allo(self.allo()?),
            "REST" => Command::Rest(number(self.trimmed()).ok_or_else(|| self.wanted())?),
            "LIST" => Command::List(ListArgument::parse(self.text)),
            "NLST" => Command::Nlst(ListArgument::parse(self.text)),
            "MLSD" => Command::Mlsd(self.optional()),
            "MLST" => Command::Mlst(self.optional()),
            "STAT" => {
                Command::Stat((!self.trimmed().is_empty()).then(|| ListArgument::parse(self.text)))
            }
            "SIZE" => Command::Size(self.required()?),
            "MDTM" => self.mdtm()?,
            "MFMT" => {
                let (time, path) = time_and_path(self.text).ok_or_else(|| self.wanted())?;
                Command::Mfmt(time, path)
            }
            "MFF" => self.mff()?,
            "DELE" => Command::Dele(self.required()?),
            "RNFR" => Command::Rnfr(self.required()?),
            "RNTO" => Command::Rnto(self.required()?),
            "ABOR" => Command::Abor,
            "FEAT" => Command::Feat,
            "OPTS" => self.opts()?,
            "HASH" => Command::Hash(self.required()?),
            "RANG" => Command::Rang(self.range()?),
            "XCRC" => Command::Digest(HashName::Crc32, self.piece()?),
            "XMD5" => Command::Digest(HashName::Md5, self.piece()?),
            "XSHA" | "XSHA1" => Command::Digest(HashName::Sha1, self.piece()?),
            "XSHA256" => Command::Digest(HashName::Sha256, self.piece()?),
            "XSHA512" => Command::Digest(HashName::Sha512, self.piece()?),
            "HELP" => {
                Command::Help(Some(self.trimmed().to_owned()).filter(|topic| !topic.is_empty()))
            }
            "SYST" => Command::Syst,
            "NOOP" => Command::Noop,
            "SITE" => self.site()?,
            "CLNT" => Command::Clnt(self.client_name()?.to_owned()),
            "CSID" => Command::Csid(csid_name(self.client_name()?).to_owned()),
            // A verb of the table without an arm; a test ensures that there is none.
            _ => return Err(CommandError::Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::super::ProtectionLevel;
    use super::*;

    fn parsed(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn code(line: &str) -> u16 {
        parsed(line).expect_err(line).code()
    }

    #[test]
    fn commands_without_parameters_ignore_one() {
        for (verb, command) in [
            ("REIN", Command::Rein),
            ("QUIT", Command::Quit),
            ("CDUP", Command::Cdup),
            ("XCUP", Command::Cdup),
            ("PWD", Command::Pwd),
            ("XPWD", Command::Pwd),
            ("PASV", Command::Pasv),
            ("ABOR", Command::Abor),
            ("FEAT", Command::Feat),
            ("SYST", Command::Syst),
            ("NOOP", Command::Noop),
            ("ACCT", Command::Acct),
        ] {
            for line in [
                verb.to_owned(),
                verb.to_lowercase(),
                format!("{verb} "),
                format!("{verb}  x y"),
            ] {
                assert_eq!(parsed(&line), Ok(command.clone()), "{line:?}");
            }
        }
    }

    #[test]
    fn paths_are_taken_verbatim() {
        type Make = fn(String) -> Command;
        for (verb, make) in [
            ("USER", Command::User as Make),
            ("CWD", Command::Cwd),
            ("XCWD", Command::Cwd),
            ("MKD", Command::Mkd),
            ("XMKD", Command::Mkd),
            ("RMD", Command::Rmd),
            ("XRMD", Command::Rmd),
            ("RETR", Command::Retr),
            ("STOR", Command::Stor),
            ("APPE", Command::Appe),
            ("SIZE", Command::Size),
            ("MDTM", Command::Mdtm),
            ("DELE", Command::Dele),
            ("RNFR", Command::Rnfr),
            ("RNTO", Command::Rnto),
        ] {
            for path in [
                "a",
                " a ",
                "  ",
                "a b\tc",
                "日本\\%2e",
                "\"q\"",
                "-la",
                "a\rb",
            ] {
                let line = format!("{} {path}", verb.to_lowercase());
                assert_eq!(parsed(&line), Ok(make(path.to_owned())), "{line:?}");
            }
            let empty = format!("{verb} ");
            if verb.ends_with("CWD") {
                assert_eq!(parsed(&empty), Ok(make(String::new())));
            }
            let missing = [verb.to_owned(), empty];
            for line in &missing[..if verb.ends_with("CWD") { 1 } else { 2 }] {
                let CommandError::Syntax(text) = parsed(line).unwrap_err() else {
                    panic!("{line:?}")
                };
                assert!(text.contains(&format!("{verb} ")), "{text}");
            }
        }
        for (verb, make) in [
            ("STOU", Command::Stou as fn(Option<String>) -> Command),
            ("MLSD", Command::Mlsd),
            ("MLST", Command::Mlst),
        ] {
            assert_eq!(parsed(verb), Ok(make(None)));
            assert_eq!(parsed(&format!("{verb} ")), Ok(make(None)));
            assert_eq!(
                parsed(&format!("{verb}  -l a ")),
                Ok(make(Some(" -l a ".to_owned())))
            );
        }
    }

    #[test]
    fn passwords_are_taken_verbatim_and_never_shown() {
        for (line, password) in [
            ("PASS", ""),
            ("PASS ", ""),
            ("pass  hunter2 ", " hunter2 "),
            ("PASS a b", "a b"),
        ] {
            assert_eq!(
                parsed(line),
                Ok(Command::Pass(Password(password.to_owned())))
            );
        }
        assert!(!format!("{:?}", parsed("PASS hunter2")).contains("hunter2"));
    }

    #[test]
    fn no_refusal_repeats_what_was_sent() {
        for line in [
            "PAS secret",
            "PASSsecret x",
            "AUTH secret",
            "PASS secret\0",
            "TYPE secret",
            "MODE secret",
            "EPSV secret",
            "PORT secret",
            "EPRT secret",
            "ALLO secret",
            "REST secret",
            "MFMT secret secret",
            "MFF secret=1; secret",
            "OPTS secret",
            "SITE secret secret",
            "SITE CHMOD secret secret",
        ] {
            let error = parsed(line).expect_err(line);
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn active_mode() {
        let address = "10.0.0.1:1025".parse().unwrap();
        assert_eq!(parsed("PORT 10,0,0,1,4,1 "), Ok(Command::Port(address)));
        assert_eq!(parsed("EPRT |1|10.0.0.1|1025|"), Ok(Command::Eprt(address)));
        assert_eq!(
            parsed("eprt |2|::1|1025|"),
            Ok(Command::Eprt("[::1]:1025".parse().unwrap()))
        );
        assert_eq!(parsed("EPRT |3|::1|1025|"), Err(CommandError::Protocol));
        assert!(CommandError::Protocol.to_string().contains("(1,2)"));
        for line in ["PORT", "PORT 10,0,0,1,4", "EPRT", "EPRT |1|::1|1025|"] {
            assert_eq!(code(line), 501, "{line:?}");
        }
    }

    #[test]
    fn listings() {
        let long = ListArgument {
            long: true,
            path: Some("some dir".to_owned()),
            ..ListArgument::default()
        };
        assert_eq!(parsed("LIST -l some dir"), Ok(Command::List(long.clone())));
        assert_eq!(
            parsed("nlst -l \"some dir\""),
            Ok(Command::Nlst(long.clone()))
        );
        assert_eq!(parsed("STAT -l some dir"), Ok(Command::Stat(Some(long))));
        assert_eq!(parsed("LIST"), Ok(Command::List(ListArgument::default())));
        assert_eq!(parsed("STAT"), Ok(Command::Stat(None)));
        assert_eq!(parsed("STAT  "), Ok(Command::Stat(None)));
        let only_options = ListArgument {
            all: true,
            ..ListArgument::default()
        };
        assert_eq!(parsed("STAT -a"), Ok(Command::Stat(Some(only_options))));
    }

    #[test]
    fn protection() {
        let auth = |line| match parsed(line) {
            Ok(Command::Auth(mechanism)) => Some(mechanism.implies_private()),
            _ => None,
        };
        for (line, private) in [
            ("AUTH TLS", false),
            ("auth tls-c ", false),
            ("AUTH SSL", true),
            ("AUTH TLS-P", true),
        ] {
            assert_eq!(auth(line), Some(private), "{line}");
        }
        assert_eq!((code("AUTH"), code("AUTH GSSAPI")), (501, 504));
        assert_eq!(parsed("PBSZ 0"), Ok(Command::Pbsz));
        assert_eq!((code("PBSZ"), code("PBSZ x")), (501, 501));
        assert_eq!(
            parsed("PROT p"),
            Ok(Command::Prot(ProtectionLevel::Private))
        );
        assert_eq!((code("PROT"), code("PROT X")), (501, 504));
        assert_eq!(parsed("CCC"), Ok(Command::Ccc));
    }

    #[test]
    fn help() {
        assert_eq!(parsed("HELP"), Ok(Command::Help(None)));
        assert_eq!(
            parsed("HELP  site "),
            Ok(Command::Help(Some("site".to_owned())))
        );
        assert_eq!(Command::syntax("cwd"), Some("CWD path"));
        assert_eq!(Command::syntax("ADAT"), None);
        assert!(Command::verbs().any(|verb| verb == "XPWD"));
    }

    #[test]
    fn unsupported_and_unknown_verbs() {
        for line in ["ADAT x", "mic", "LPRT \0"] {
            assert_eq!(code(line), 502, "{line:?}");
        }
        for line in [
            "",
            " ",
            " NOOP",
            "FOO",
            "NOOPX",
            "NO",
            "USER\tx",
            "GET / HTTP/1.1",
            "get x",
            "\u{ff}NOOP",
            "ＮＯＯＰ",
            "STOR\0 x",
        ] {
            assert_eq!(code(line), 500, "{line:?}");
        }
    }

    #[test]
    fn lines_that_are_not_text() {
        for (line, expected) in [
            (&b"RETR \xff"[..], CommandError::NotUtf8),
            (b"RETR \xc0\xae\xc0\xae/x", CommandError::NotUtf8),
            (b"PASS \xe9", CommandError::NotUtf8),
            (b"FOO \xff", CommandError::Unknown),
            (b"ADAT \xff", CommandError::NotOffered("ADAT")),
            (b"R\xffTR x", CommandError::Unknown),
        ] {
            assert_eq!(Command::parse(line), Err(expected), "{line:?}");
        }
        assert_eq!(code("RETR a\0b"), 501);
    }

    #[test]
    fn each_offered_verb_has_its_arm() {
        for verb in Command::verbs() {
            let arguments = [
                "x",
                "TLS",
                "S",
                "F",
                "A",
                "1",
                "10,0,0,1,4,1",
                "|1|10.0.0.1|1025|",
                "UTF8",
                "HELP",
                "1 2",
            ];
            let dated = ["20200102030405 x", "modify=20200102030405; x"];
            let command = std::iter::once("")
                .chain(arguments)
                .chain(dated)
                .find_map(|argument| parsed(&format!("{verb} {argument}")).ok());
            let command = command.expect(verb);
            let canonical = ["CWD", "CUP", "PWD", "MKD", "RMD"]
                .iter()
                .find(|old| verb == format!("X{old}"));
            match canonical {
                Some(&"CUP") => assert_eq!(command.verb(), "CDUP"),
                None if verb == "XSHA" => assert_eq!(command.verb(), "XSHA1"),
                Some(new) => assert_eq!(command.verb(), *new),
                None => assert_eq!(command.verb(), verb),
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_an_answer(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn any_parameter_gets_an_answer(
            verb in proptest::sample::select(Command::verbs().collect::<Vec<_>>()),
            argument in "\\PC{0,30}|[-0-9A-Za-z,.:;=|/\" ]{0,40}|CHMOD [0-7]{0,5} ?x?|(modify=)?[0-9]{14};? ?x?",
        ) {
            let line = format!("{verb} {argument}");
            match parsed(&line) {
                // A refusal has a code and a text of one line.
                Err(error) => {
                    prop_assert!((500..600).contains(&error.code()));
                    prop_assert!(!error.to_string().contains(char::is_control));
                }
                Ok(command) => prop_assert!(Command::verbs().any(|offered| offered == command.verb())),
            }
        }
    }
}
