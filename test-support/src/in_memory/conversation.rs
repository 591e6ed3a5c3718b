//! The replies that a session may send: for each line exactly one final reply, in order, until one
//! of them ends the session.
//!
//! Two kinds of replies may be out of order, as RFC 959 requires. While a transfer runs (or waits
//! for its data connection), NOOP and STAT sent right after it are answered before its final reply;
//! the replies of other commands keep their order, as each of these lines still has one. And an
//! ABOR is answered after the transfer that it cuts, before the commands that were held in the
//! meantime: if there are ABORs, replies are only counted between the commands whose text
//! identifies their reply (`HELP something`).

use bytes::BytesMut;

use ftp_proto::codec::LineCodec;
use ftp_proto::{Command, CommandError};
use s3ftpd::session::MAX_EARLY;

use crate::in_memory::StrictReply;

/// The failed login that ends a session.
pub const LOGIN_ATTEMPTS: usize = 3;

/// One line that was sent.
#[derive(Debug)]
enum Line {
    Command(Command),
    Error(CommandError),
    TooLong,
}

/// Checks the replies against the lines that were sent, which must end in a QUIT.
///
/// # Errors
/// A description of the violation.
pub fn check(sent: &[u8], received: &[u8]) -> Result<(), String> {
    let lines = lines(sent);
    let replies = StrictReply::parse_all(received)?;
    let Some((greeting, replies)) = replies.split_first() else {
        return Err("no greeting".to_owned());
    };
    if greeting.code != 220 {
        return Err(format!("greeted with {greeting:?}"));
    }
    let finals = finals(replies)?;
    let last = finals.last().ok_or("no reply at all")?;

    let stop = lines
        .iter()
        .position(Line::ends_session)
        .ok_or("a bug of the caller: no QUIT was sent")?;
    let (before, after) = (&lines[..=stop], &lines[stop + 1..]);
    // A running transfer may also have been cut by an ABOR after the QUIT.
    let late = after.iter().filter(|line| line.is_abor()).count();
    let aborts = late + before.iter().filter(|line| line.is_abor()).count();
    let count = finals.len();
    if last.code == 421 {
        let passwords = before.iter().filter(|line| line.is_pass()).count();
        let guessed = passwords >= LOGIN_ATTEMPTS;
        let flooded = before.len() > MAX_EARLY as usize;
        if !(guessed || flooded) || count > before.len() {
            return Err(format!("ended by {last:?}"));
        }
    } else {
        let most = match lines[stop] {
            Line::Command(_) => before.len() + late,
            _ => before.len(),
        };
        // A line that is too long ends the session at once, and drops the lines that a transfer
        // holds back.
        let cut = matches!(lines[stop], Line::TooLong) && before.iter().any(Line::is_transfer);
        let least = if cut { 1 } else { before.len() };
        if !(least..=most).contains(&count) {
            return Err(format!("{count} final replies to {} lines", before.len()));
        }
        let expected = lines[stop].ending_code();
        if last.code != expected {
            return Err(format!("ended by {last:?} instead of {expected}"));
        }
        if cut {
            return Ok(());
        }
    }
    markers(before, &finals, aborts)?;
    if aborts == 0 {
        one_by_one(before, &finals)?;
    }
    Ok(())
}

/// Each reply against the line with the same number.
fn one_by_one(lines: &[Line], finals: &[&StrictReply<'_>]) -> Result<(), String> {
    for (number, (line, reply)) in lines.iter().zip(finals).enumerate() {
        // Replies whose order may have changed.
        if line.is_out_of_turn() || line.is_transfer() {
            continue;
        }
        if !line.allows(reply) {
            return Err(format!(
                "line {number}, {line:?}, was answered by {reply:?}"
            ));
        }
    }
    Ok(())
}

/// The replies that name their line: they are in order, and before each there are as many replies
/// as lines.
fn markers(lines: &[Line], finals: &[&StrictReply<'_>], aborts: usize) -> Result<(), String> {
    let mut from = 0;
    for (number, line) in lines.iter().enumerate() {
        let Some(text) = line.marker() else { continue };
        let at = finals[from..]
            .iter()
            .position(|reply| reply.code == 214 && reply.text() == text);
        let Some(at) = at.map(|at| at + from) else {
            if finals.last().is_some_and(|last| last.code == 421) {
                return Ok(());
            }
            return Err(format!("no reply {text:?} to line {number}"));
        };
        let own = lines[..number].iter().filter(|line| !line.is_abor());
        let least = own.count();
        if !(least..=least + aborts).contains(&at) {
            return Err(format!("line {number} is answered by reply {at}: {text:?}"));
        }
        from = at + 1;
    }
    Ok(())
}

/// Whether the server answers HELP of a command with one line.
fn is_marker(verb: &str) -> bool {
    let verb = verb.to_ascii_uppercase();
    !["SITE", "HOST", "AUTH", "PBSZ", "PROT", "CCC"].contains(&&*verb)
}

/// The argument of HELP for the line with a number, one of about forty.
#[cfg(test)]
pub fn marker(number: usize) -> &'static str {
    let verbs: Vec<_> = Command::verbs().filter(|verb| is_marker(verb)).collect();
    verbs[number % verbs.len()]
}

/// The final replies; each preliminary one must have its final one somewhere after it.
fn finals<'a, 'b>(replies: &'b [StrictReply<'a>]) -> Result<Vec<&'b StrictReply<'a>>, String> {
    let mut open = false;
    let mut finals = Vec::new();
    for reply in replies {
        if reply.is_preliminary() {
            if std::mem::replace(&mut open, true) {
                return Err(format!("{reply:?} while a transfer was running"));
            }
            continue;
        }
        // Commands that are answered during a transfer.
        if !(reply.code == 200 || reply.code == 211) {
            open = false;
        }
        finals.push(reply);
    }
    if open {
        return Err("a preliminary reply without its final one".to_owned());
    }
    Ok(finals)
}

/// Splits an input into lines, by the codec of the server, which has targets and tests of its own.
fn lines(sent: &[u8]) -> Vec<Line> {
    let mut codec = LineCodec::default();
    let mut buffer = BytesMut::from(sent);
    let mut lines = Vec::new();
    while let Some(line) = codec.next_line(&mut buffer).transpose() {
        lines.push(match line.map(|line| Command::parse(&line)) {
            Ok(Ok(command)) => Line::Command(command),
            Ok(Err(error)) => Line::Error(error),
            Err(_) => Line::TooLong,
        });
    }
    lines
}

impl Line {
    fn ends_session(&self) -> bool {
        matches!(
            self,
            Line::Command(Command::Quit) | Line::Error(CommandError::Http) | Line::TooLong
        )
    }

    fn ending_code(&self) -> u16 {
        match self {
            Line::Command(_) => 221,
            _ => 500,
        }
    }

    fn is_abor(&self) -> bool {
        matches!(self, Line::Command(Command::Abor))
    }

    fn is_pass(&self) -> bool {
        matches!(self, Line::Command(Command::Pass(_)))
    }

    fn is_out_of_turn(&self) -> bool {
        matches!(self, Line::Command(Command::Noop | Command::Stat(None)))
    }

    fn is_transfer(&self) -> bool {
        use Command as C;
        matches!(
            self,
            Line::Command(
                C::Retr(_)
                    | C::Stor(_)
                    | C::Stou(_)
                    | C::Appe(_)
                    | C::List(_)
                    | C::Nlst(_)
                    | C::Mlsd(_)
                    | C::Hash(_)
                    | C::Digest(..)
            )
        )
    }

    /// The text of the reply that belongs to this line: to HELP of a command; successive lines name
    /// successive commands.
    fn marker(&self) -> Option<String> {
        let Line::Command(Command::Help(Some(topic))) = self else {
            return None;
        };
        is_marker(topic)
            .then(|| Command::syntax(topic))
            .flatten()
            .map(|syntax| format!("Syntax: {syntax}"))
    }

    /// Whether a final reply is possible for this line.
    fn allows(&self, reply: &StrictReply<'_>) -> bool {
        use Command as C;
        let code = reply.code;
        let command = match self {
            Line::Command(command) => command,
            Line::Error(error) => return code == error.code(),
            Line::TooLong => return code == 500,
        };
        let codes: &[u16] = match command {
            C::User(_) => &[331],
            C::Pass(_) => &[230, 421, 503, 530],
            C::Quit => &[221],
            C::Rein => &[220],
            C::Host(_) => &[220, 503, 504],
            // Without TLS they are not offered.
            C::Auth(_) | C::Pbsz | C::Prot(_) | C::Ccc => &[502],
            C::Syst => &[215],
            C::Feat => &[211],
            C::Help(_) => &[214, 502],
            C::SiteHelp => &[214],
            C::Clnt(_) | C::Csid(_) | C::Noop => &[200],
            C::Abor => &[226],
            C::OptsUtf8(_) => &[200, 504],
            C::OptsHash(_) => &[200],
            C::Acct => &[202, 530],
            C::Type(_) | C::Mode | C::Stru | C::OptsMlst(_) => &[200, 530],
            C::Pwd => &[257, 530],
            C::Rest(_) => &[350, 530],
            C::Rang(_) => &[350, 530],
            C::Allo(_) => &[200, 530, 552, 553],
            C::Pasv => &[227, 425, 503, 530],
            C::Epsv(_) => &[200, 229, 425, 503, 522, 530],
            C::Port(_) | C::Eprt(_) => &[200, 501, 503, 504, 522, 530],
            C::Cwd(_) | C::Cdup => &[250, 450, 451, 530, 550, 553],
            C::Mkd(_) => &[257, 450, 451, 530, 550, 553],
            C::Dele(_) | C::Rmd(_) => &[250, 450, 451, 530, 550, 553],
            C::Rnfr(_) => &[350, 450, 451, 530, 550, 553],
            C::Rnto(_) => &[250, 450, 451, 503, 530, 550, 553],
            C::Size(_) | C::Mdtm(_) => &[213, 450, 451, 530, 550, 553],
            C::Mlst(_) => &[250, 450, 451, 530, 550, 553],
            _ => return (200..600).contains(&code),
        };
        codes.contains(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIT: &str = "QUIT\r\n";

    fn result(sent: &str, received: &str) -> Result<(), String> {
        check(
            format!("{sent}{QUIT}").as_bytes(),
            format!("220 hello\r\n{received}").as_bytes(),
        )
    }

    #[test]
    fn one_final_reply_each_in_order() {
        for (sent, received) in [
            ("", "221 bye\r\n"),
            ("NOOP\r\nfoo\r\n", "200 OK\r\n500 what?\r\n221 bye\r\n"),
            ("RETR x\r\n", "150 now\r\n226 done\r\n221 bye\r\n"),
            (
                "RETR x\r\nNOOP\r\nHELP noop\r\n",
                "150 now\r\n200 OK\r\n226 done\r\n214 Syntax: NOOP\r\n221 bye\r\n",
            ),
            (
                "RETR x\r\nHELP noop\r\nABOR\r\n",
                "425 none\r\n226 ABOR done\r\n214 Syntax: NOOP\r\n221 bye\r\n",
            ),
            (
                "NOOP\r\nGET / HTTP/1.1\r\nNOOP\r\n",
                "200 OK\r\n500 this is FTP\r\n",
            ),
            (
                "PASS\r\nPASS\r\nPASS\r\nNOOP\r\n",
                "503 a\r\n530 b\r\n421 too many\r\n",
            ),
        ] {
            assert_eq!(result(sent, received), Ok(()), "{sent}");
        }
    }

    #[test]
    fn a_flood_before_the_login_may_end_it() {
        let most = MAX_EARLY as usize;
        for (lines, fine) in [(most, false), (most + 2, true)] {
            let answers = format!("{}421 too many\r\n", "200 OK\r\n".repeat(most));
            let result = result(&"NOOP\r\n".repeat(lines), &answers);
            assert_eq!(result.is_ok(), fine, "{lines}: {result:?}");
        }
    }

    #[test]
    fn what_is_found() {
        let too_long = format!("NOOP\r\n{}\r\n", "x".repeat(5000));
        for (sent, received) in [
            ("NOOP\r\n", "221 bye\r\n"),
            ("NOOP\r\n", "200 OK\r\n200 OK\r\n221 bye\r\n"),
            ("NOOP\r\n", "200 OK\r\n"),
            ("NOOP\r\n", "200 OK\r\n221 bye\r\n200 OK\r\n"),
            ("PWD\r\nSYST\r\n", "215 x\r\n530 x\r\n221 bye\r\n"),
            ("RETR x\r\n", "150 now\r\n221 bye\r\n"),
            (
                "RETR x\r\n",
                "150 now\r\n150 now\r\n226 done\r\n221 bye\r\n",
            ),
            (
                "HELP NOOP\r\nHELP CLNT\r\n",
                "214 Syntax: CLNT name\r\n214 Syntax: NOOP\r\n221 bye\r\n",
            ),
            (
                "PWD\r\nHELP NOOP\r\nABOR\r\n",
                "214 Syntax: NOOP\r\n530 x\r\n226 x\r\n221 bye\r\n",
            ),
            ("NOOP\r\n", "421 too many\r\n"),
            ("foo\r\n", "200 OK\r\n221 bye\r\n"),
            (&too_long, "200 OK\r\n"),
            (&too_long, "200 OK\r\n500 too long\r\n221 bye\r\n"),
        ] {
            assert!(result(sent, received).is_err(), "{sent} {received}");
        }
        assert_eq!(result(&too_long, "200 OK\r\n500 too long\r\n"), Ok(()));
        assert!(check(b"QUIT\r\n", b"221 bye\r\n").is_err(), "no greeting");
    }
}
