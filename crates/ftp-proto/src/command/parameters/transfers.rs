//! Of transfers: TYPE, MODE, STRU, EPSV, ALLO.

use crate::command::address::number;
use crate::command::argument::Argument;
use crate::command::{Command, CommandError, EpsvArgument, TransferType};

impl Argument<'_> {
    pub(in crate::command) fn transfer_type(&self) -> Result<TransferType, CommandError> {
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

    /// MODE and STRU: one letter is supported, some others are valid.
    pub(in crate::command) fn code_letter(
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

    pub(in crate::command) fn epsv(&self) -> Result<EpsvArgument, CommandError> {
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
    pub(in crate::command) fn allo(&self) -> Result<u64, CommandError> {
        let words = self.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let bytes = match words[..] {
            [bytes] => number(bytes),
            [bytes, "R", record] => number::<u64>(record).and_then(|_| number(bytes)),
            _ => None,
        };
        bytes.ok_or_else(|| self.wanted())
    }
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
}
