//! The table of verbs.

use super::CommandError;

/// A supported command.
#[derive(Debug)]
pub(super) struct Offered {
    /// In capitals.
    pub verb: &'static str,
    /// The verb and its parameters, optional ones in brackets.
    pub syntax: &'static str,
    /// The [`number`] of the verb.
    number: u64,
}

/// The supported commands.
pub(super) const OFFERED: &[Offered] = &[
    offers("USER", "USER name"),
    offers("PASS", "PASS password"),
    offers("HOST", "HOST name"),
    offers("ACCT", "ACCT information"),
    offers("REIN", "REIN"),
    offers("AUTH", "AUTH TLS"),
    offers("PBSZ", "PBSZ 0"),
    offers("PROT", "PROT C or PROT P"),
    offers("CCC", "CCC"),
    offers("QUIT", "QUIT"),
    offers("CWD", "CWD path"),
    offers("XCWD", "XCWD path"),
    offers("CDUP", "CDUP"),
    offers("XCUP", "XCUP"),
    offers("PWD", "PWD"),
    offers("XPWD", "XPWD"),
    offers("MKD", "MKD path"),
    offers("XMKD", "XMKD path"),
    offers("RMD", "RMD path"),
    offers("XRMD", "XRMD path"),
    offers("TYPE", "TYPE A, TYPE I or TYPE L 8"),
    offers("MODE", "MODE S"),
    offers("STRU", "STRU F"),
    offers("PASV", "PASV"),
    offers("EPSV", "EPSV [1, 2 or ALL]"),
    offers("PORT", "PORT h1,h2,h3,h4,p1,p2"),
    offers("EPRT", "EPRT |protocol|address|port|"),
    offers("RETR", "RETR path"),
    offers("STOR", "STOR path"),
    offers("STOU", "STOU [path]"),
    offers("APPE", "APPE path"),
    offers("ALLO", "ALLO bytes"),
    offers("REST", "REST offset"),
    offers("LIST", "LIST [options] [path]"),
    offers("NLST", "NLST [options] [path]"),
    offers("MLSD", "MLSD [path]"),
    offers("MLST", "MLST [path]"),
    offers("STAT", "STAT [options] [path]"),
    offers("SIZE", "SIZE path"),
    offers("MDTM", "MDTM path"),
    offers("MFMT", "MFMT YYYYMMDDHHMMSS path"),
    offers("MFF", "MFF modify=YYYYMMDDHHMMSS; path"),
    offers("DELE", "DELE path"),
    offers("RNFR", "RNFR path"),
    offers("RNTO", "RNTO path"),
    offers("ABOR", "ABOR"),
    offers("FEAT", "FEAT"),
    offers(
        "OPTS",
        "OPTS UTF8 [ON or OFF] or OPTS MLST [facts] or OPTS HASH [name]",
    ),
    offers("HASH", "HASH path"),
    offers("RANG", "RANG first last (RANG 1 0: the whole file)"),
    offers("XCRC", "XCRC path or XCRC \"path\" [start [end]]"),
    offers("XMD5", "XMD5 path or XMD5 \"path\" [start [end]]"),
    offers("XSHA", "XSHA path or XSHA \"path\" [start [end]]"),
    offers("XSHA1", "XSHA1 path or XSHA1 \"path\" [start [end]]"),
    offers("XSHA256", "XSHA256 path or XSHA256 \"path\" [start [end]]"),
    offers("XSHA512", "XSHA512 path or XSHA512 \"path\" [start [end]]"),
    offers("HELP", "HELP [command]"),
    offers("SYST", "SYST"),
    offers("NOOP", "NOOP"),
    offers(
        "SITE",
        "SITE HELP or SITE CHMOD mode path or SITE UTIME YYYYMMDDhhmmss path",
    ),
    offers("CLNT", "CLNT name"),
    offers("CSID", "CSID Name=client;"),
];

/// Commands of standards, drafts and other servers that are not supported. A client that sends one
/// gets a 502; an unknown verb gets a 500.
const NOT_OFFERED: &[&str] = &[
    "ADAT", "AVBL", "COMB", "CONF", "DSIZ", "ENC", "ESTA", "ESTP", "LANG", "LPRT", "LPSV", "MACB",
    "MFCT", "MIC", "SMNT", "THMB",
];

/// Methods of HTTP (RFC 9110, 9.3; RFC 5789).
const HTTP: &[&[u8]] = &[
    b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH",
];

/// An entry of the table.
const fn offers(verb: &'static str, syntax: &'static str) -> Offered {
    Offered {
        verb,
        syntax,
        number: number(verb.as_bytes()),
    }
}

/// The first 8 letters of a verb, in capitals, as one number: the table is searched twice a command,
/// and numbers are compared faster than texts.
const fn number(verb: &[u8]) -> u64 {
    let mut number = 0;
    let mut at = 0;
    while at < verb.len() && at < 8 {
        number = number << 8 | verb[at].to_ascii_uppercase() as u64;
        at += 1;
    }
    number
}

/// The command of a verb in any case; `None` if it is not supported.
pub(super) fn offered(verb: &[u8]) -> Option<&'static Offered> {
    let number = number(verb);
    OFFERED
        .iter()
        .find(|offered| offered.number == number && offered.verb.len() == verb.len())
}

/// The verb of a command line if it is supported, whatever follows it: for logs and counts, which
/// must not grow with what clients send.
pub fn verb_of(line: &[u8]) -> Option<&'static str> {
    let end = line.iter().position(|byte| *byte == b' ');
    offered(&line[..end.unwrap_or(line.len())]).map(|offered| offered.verb)
}

/// The error for a verb that is not supported.
pub(super) fn refusal(verb: &[u8]) -> CommandError {
    if HTTP.contains(&verb) {
        return CommandError::Http;
    }
    let known = NOT_OFFERED
        .iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(verb));
    known.map_or(CommandError::Unknown, |known| {
        CommandError::NotOffered(known)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_verb_is_listed_once_and_in_capitals() {
        let verbs: Vec<&str> = OFFERED
            .iter()
            .map(|offered| offered.verb)
            .chain(NOT_OFFERED.iter().copied())
            .collect();
        assert_eq!(verbs.iter().collect::<BTreeSet<_>>().len(), verbs.len());
        for verb in verbs {
            assert!(
                verb.bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
                "{verb}"
            );
            assert!(verb.len() <= 8, "{verb}");
        }
    }

    #[test]
    fn the_verb_of_a_line_is_known_whatever_follows_it() {
        for (line, verb) in [
            (&b"retr"[..], Some("RETR")),
            (b"Stor \xff", Some("STOR")),
            (b"xsha256 a", Some("XSHA256")),
            (b"RETRX a", None),
            (b"\0RETR a", None),
            (b"RETR\0 a", None),
            (b"XSHA256XXRETR a", None),
            (b" RETR a", None),
            (b"LANG en", None),
            (b"", None),
        ] {
            assert_eq!(verb_of(line), verb, "{line:?}");
        }
    }

    #[test]
    fn each_syntax_begins_with_its_verb() {
        for Offered { verb, syntax, .. } in OFFERED {
            assert_eq!(syntax.split(' ').next(), Some(*verb));
        }
    }
}
