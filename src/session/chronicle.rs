//! What a session reports as events.
//!
//! ```text
//! execute ── begin(FileCommand) ──▶ handler ──▶ refusal, end of the transfer, or success
//!                                                  └─ takes the FileCommand: one event, one id
//! ```
//!
//! A *file command* reads, writes, lists or changes something. Each of them that is refused or fails
//! gives exactly one event, and its reply ends in the event's id, by which the log is searched. How
//! clients probe is the exception: if SIZE, MDTM, MLST, CWD, MKD or RNFR finds nothing, or finds
//! something, the event is for debugging, and the reply has no id. MDTM with a time is a change.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{Cause, Direction, Event, Events, Kind, Level, SessionFacts, Totals};
use crate::namespace::VirtualPath;
use crate::object::TransferId;
use crate::session::live::{LiveEntry, LiveSessions};
use crate::session::replies::Refusal;
use crate::session::resolve::names_directory;
use ftp_proto::Command;

/// The events of one session: what they have in common, and the command that runs.
#[derive(Debug)]
pub(super) struct Chronicle {
    events: Events,
    facts: Arc<SessionFacts>,
    /// Its entry among the sessions that run.
    live: LiveEntry,
    opened: Instant,
    totals: Totals,
    /// Whether a user was ever logged in.
    had_user: bool,
    pub(super) command: Option<FileCommand>,
    /// Why the session ends.
    end: Option<Box<str>>,
}

/// A command that reads, writes, lists or changes something.
#[derive(Debug)]
pub(super) struct FileCommand {
    pub(super) verb: &'static str,
    /// Its path, as the client has sent it; `None` for the working directory, and if the line was
    /// not understood.
    pub(super) argument: Option<String>,
    /// Whether clients use the command to ask whether a name exists.
    pub(super) probes: bool,
    /// What RNFR has named, if this is RNTO.
    pub(super) source: Option<(VirtualPath, Names)>,
}

/// What a path names: an object, or the prefix of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    File,
    Directory,
}

impl FileCommand {
    /// `None` if it is another command. `verb` is that of the line. `parsed` is `None` if the line
    /// was not understood.
    pub(super) fn of(
        verb: &'static str,
        line: &[u8],
        parsed: Option<&Command>,
    ) -> Option<FileCommand> {
        use Command as C;
        let argument = match parsed {
            Some(
                C::Retr(path)
                | C::Stor(path)
                | C::Appe(path)
                | C::Size(path)
                | C::Mdtm(path)
                | C::Cwd(path)
                | C::Mkd(path)
                | C::Rmd(path)
                | C::Dele(path)
                | C::Rnfr(path)
                | C::Rnto(path)
                | C::Hash(path)
                | C::Mfmt(_, path)
                | C::Mff(_, path)
                | C::MdtmSet(_, path, _)
                | C::SiteUtime(_, path)
                | C::SiteChmod(path),
            ) => Some(path.clone()),
            Some(C::Stou(path) | C::Mlsd(path) | C::Mlst(path)) => path.clone(),
            Some(C::List(list) | C::Nlst(list) | C::Stat(Some(list))) => list.path.clone(),
            Some(C::Digest(_, piece)) => Some(piece.path.clone()),
            Some(C::Cdup) => Some("..".to_owned()),
            // By name, so that a new command is decided about.
            Some(
                C::User(_)
                | C::Pass(_)
                | C::Host(_)
                | C::Acct
                | C::Rein
                | C::Auth(_)
                | C::Pbsz
                | C::Prot(_)
                | C::Ccc
                | C::Quit
                | C::Pwd
                | C::Type(_)
                | C::Mode
                | C::Stru
                | C::Pasv
                | C::Epsv(_)
                | C::Port(_)
                | C::Eprt(_)
                | C::Allo(_)
                | C::Rest(_)
                | C::Stat(None)
                | C::Abor
                | C::Feat
                | C::OptsUtf8(_)
                | C::OptsMlst(_)
                | C::OptsHash(_)
                | C::Rang(_)
                | C::Help(_)
                | C::Syst
                | C::Noop
                | C::SiteHelp
                | C::Clnt(_)
                | C::Csid(_),
            ) => return None,
            None if is_file_line(verb, line) => None,
            None => return None,
        };
        let sets = matches!(parsed, Some(C::MdtmSet(..)));
        Some(FileCommand {
            verb,
            argument,
            probes: probes(verb) && !sets,
            source: None,
        })
    }

    /// What its path names, as far as the command says it.
    pub(super) fn names(&self) -> Names {
        let directory = matches!(
            self.verb,
            "LIST"
                | "NLST"
                | "MLSD"
                | "STAT"
                | "CWD"
                | "XCWD"
                | "CDUP"
                | "XCUP"
                | "MKD"
                | "XMKD"
                | "RMD"
                | "XRMD"
        );
        match self.argument.as_deref() {
            _ if directory => Names::Directory,
            Some(argument) if !names_directory(argument) => Names::File,
            // The working directory, `in/` or `..`.
            _ => Names::Directory,
        }
    }
}

/// Whether clients use the verb to ask whether a name exists.
fn probes(verb: &str) -> bool {
    matches!(
        verb,
        "SIZE" | "MDTM" | "MLST" | "CWD" | "XCWD" | "CDUP" | "XCUP" | "MKD" | "XMKD" | "RNFR"
    )
}

/// Whether a line that is not understood is meant as a file command. SITE and STAT have other forms.
fn is_file_line(verb: &str, line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').skip(1);
    let first = words.find(|word| !word.is_empty());
    match verb {
        "STAT" => first.is_some(),
        "SITE" => first.is_some_and(|subcommand| {
            [&b"UTIME"[..], b"CHMOD"]
                .iter()
                .any(|file| file.eq_ignore_ascii_case(subcommand))
        }),
        _ => is_file_verb(verb),
    }
}

/// Whether each form of the command is a file command.
fn is_file_verb(verb: &str) -> bool {
    matches!(
        verb,
        "RETR"
            | "STOR"
            | "STOU"
            | "APPE"
            | "LIST"
            | "NLST"
            | "MLSD"
            | "MLST"
            | "SIZE"
            | "MDTM"
            | "MFMT"
            | "MFF"
            | "CWD"
            | "XCWD"
            | "CDUP"
            | "XCUP"
            | "MKD"
            | "XMKD"
            | "RMD"
            | "XRMD"
            | "DELE"
            | "RNFR"
            | "RNTO"
            | "HASH"
            | "XCRC"
            | "XMD5"
            | "XSHA"
            | "XSHA1"
            | "XSHA256"
            | "XSHA512"
    )
}

impl Chronicle {
    pub(super) fn new(
        events: Events,
        peer: SocketAddr,
        live: &Arc<LiveSessions>,
        cut: CancellationToken,
    ) -> Chronicle {
        let facts = Arc::new(SessionFacts {
            session: TransferId::generate().as_str().into(),
            user: None,
            peer,
            client: None,
            tls: None,
            host: None,
        });
        Chronicle {
            events,
            live: live.enter(Arc::clone(&facts), cut),
            facts,
            opened: Instant::now(),
            totals: Totals::default(),
            had_user: false,
            command: None,
            end: None,
        }
    }

    /// What the events of the session have in common now.
    pub(super) fn facts(&self) -> &Arc<SessionFacts> {
        &self.facts
    }

    /// The session among those that run.
    pub(super) fn live(&self) -> &LiveEntry {
        &self.live
    }

    /// Changes what later events have in common.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut SessionFacts)) {
        change(Arc::make_mut(&mut self.facts));
        self.live.set_facts(&self.facts);
        self.had_user |= self.facts.user.is_some();
    }

    /// A command begins.
    pub(super) fn begin(&mut self, command: Option<FileCommand>) {
        self.command = command;
    }

    /// The command that runs is RNTO, of what RNFR has named.
    pub(super) fn renames(&mut self, source: &VirtualPath, names: Names) {
        if let Some(command) = &mut self.command {
            command.source = Some((source.clone(), names));
        }
    }

    /// The session ends for this reason. The first one counts.
    pub(super) fn ends(&mut self, reason: impl Into<Box<str>>) {
        self.end.get_or_insert_with(|| reason.into());
    }

    /// Counts what a transfer has moved; `whole` if its file is complete.
    pub(super) fn count(&mut self, direction: Direction, bytes: u64, whole: bool) {
        let (files, moved) = match direction {
            Direction::In => (&mut self.totals.files_in, &mut self.totals.bytes_in),
            Direction::Out => (&mut self.totals.files_out, &mut self.totals.bytes_out),
        };
        *files += u64::from(whole);
        *moved += bytes;
    }

    /// An event of this session.
    pub(super) fn event(&self, kind: Kind, level: Level) -> Event {
        let mut event = Event::new(kind, level);
        event.session = Some(Arc::clone(&self.facts));
        event
    }

    pub(super) fn send(&self, event: Event) {
        self.events.send(event);
    }

    pub(super) fn opened(&self) {
        self.send(self.event(Kind::SessionOpen, Level::Debug));
    }

    pub(super) fn closed(&mut self) {
        let level = match self.had_user {
            true => Level::Info,
            false => Level::Debug,
        };
        let mut event = self.event(Kind::SessionClose, level);
        event.seconds = Some(self.opened.elapsed().as_secs_f64());
        event.totals = Some(self.totals);
        event.reason = self.end.take();
        self.send(event);
    }

    /// A refused login. `name` is the user's as the client has sent it.
    pub(super) fn login_refused(
        &self,
        name: Option<&str>,
        cause: Cause,
        refusal: &Refusal,
    ) -> Event {
        let level = match cause {
            Cause::UnknownUser | Cause::Tls => Level::Info,
            _ => Level::Warn,
        };
        let mut event = self.event(Kind::LoginRefused, level);
        event.user = name.map(Arc::from);
        event.cause = Some(cause);
        event.code = Some(refusal.code());
        event.class = Some(refusal.class());
        event.reason = Some(refusal.to_string().into());
        event
    }
}

impl FileCommand {
    /// Whether the command without a path is one on the working directory.
    pub(super) fn lists(&self) -> bool {
        matches!(
            self.verb,
            "LIST" | "NLST" | "MLSD" | "MLST" | "STAT" | "STOU"
        )
    }
}

/// Fills in how a command failed.
pub(super) fn describe(event: &mut Event, refusal: &Refusal) {
    event.code = Some(refusal.code());
    event.class = Some(refusal.class());
    event.reason = Some(refusal.to_string().into());
    event.detail = refusal.detail().map(Into::into);
}
