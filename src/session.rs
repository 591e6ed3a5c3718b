//! One task a control connection: reads commands, runs them, answers each with exactly its replies.
//!
//! ```text
//! Control ── line ──▶ Command::parse ──▶ gate (state × command) ──▶ handler ──▶ Reply ──▶ Control
//!                                                                     │
//!                                                            transfer: a job polled by the
//!                                                            session's own task (transfer.rs)
//! ```
//!
//! The session owns its state: nothing is shared, nothing is locked. A transfer is a future that
//! the session polls alongside the control connection. So ABOR, STAT and NOOP are answered while it
//! runs, and all other commands are held, in order, until it has ended. All errors become replies
//! in `replies`.

mod broken;
mod chronicle;
mod commands;
mod configured;
mod context;
mod control;
mod data_setup;
mod gate;
mod happenings;
mod last_file;
mod live;
mod occupant;
pub mod options;
mod replies;
mod reported;
mod resolve;
mod resume;
mod secured;
mod state;
mod temporary;
mod transfer;
mod transport;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::auth::{Refused, SessionPermit};
use crate::events::metrics::{NO_VERB, OTHER};
use crate::net::proxy::ConnectionAddrs;
use ftp_proto::Command;
use ftp_proto::command::verb_of;

pub use broken::BrokenTransfers;
use chronicle::FileCommand;
pub use configured::{Configured, Newest};
pub use context::{Listener, ServerContext};
use control::{Control, ControlError};
use data_setup::DataSetup;
use gate::Verdict;
pub use live::{Activity, LiveSession, LiveSessions, LiveTransfer};
pub(crate) use replies::no_session;
use replies::{Handled, Refusal, success};
pub use reported::ReportedUploads;
use state::{Flow, RenameSource, Session, Start, UserStanding};

/// A draining server closes a session only after it has been idle for this long: a client between
/// two files of an `mput` is not idle.
const DRAIN_QUIET: Duration = Duration::from_secs(2);

/// The largest number of commands without a login, including those of the login itself. No client
/// needs a tenth of them. Without the limit a client that sends them without a pause keeps a core
/// busy until the login's deadline.
pub const MAX_EARLY: u32 = 1000;

/// The target of the spans of commands: no log line has it.
pub const TRACE_TARGET: &str = "s3ftpd::trace";

/// Serves one control connection until it ends.
///
/// # Errors
/// [`Refused::Displaced`]: the session had no login and had to make room for another session.
pub async fn serve(
    context: Arc<ServerContext>,
    listener: Arc<Listener>,
    stream: TcpStream,
    addrs: ConnectionAddrs,
    permit: SessionPermit,
) -> Result<(), Refused> {
    // The session's own token: an operator may end it alone.
    let (deadline, cut) = (
        context.options.timeouts.control_write,
        context.cut.child_token(),
    );
    let metrics = Arc::clone(&context.metrics);
    let control = match Control::new(stream, addrs, deadline, cut, metrics) {
        Ok(control) => control,
        Err(error) => {
            tracing::debug!(peer = %addrs.peer, %error, "connection lost before the greeting");
            return Ok(());
        }
    };
    Session::new(context, listener, control, permit).run().await
}

/// [`serve`] over a pipe, for tests and fuzz targets.
#[cfg(feature = "fuzzing")]
pub(crate) async fn serve_in_memory(
    context: Arc<ServerContext>,
    listener: Arc<Listener>,
    stream: tokio::io::DuplexStream,
    addrs: ConnectionAddrs,
) {
    let deadline = context.options.timeouts.control_write;
    let metrics = Arc::clone(&context.metrics);
    let control = Control::in_memory(stream, addrs, deadline, context.cut.child_token(), metrics);
    // A test begins fewer sessions than the limit.
    if let Ok(permit) = context.sessions.enter(Some(addrs.peer.ip())) {
        let served = Session::new(context, listener, control, permit).run().await;
        debug_assert!(served.is_ok(), "no other session displaces it");
    }
}

/// What a session has waited for: a line, or its end without a QUIT.
enum Awaited {
    Line(Vec<u8>),
    Control(ControlError),
    LoginDeadline,
    Idle,
    Draining,
    /// The user is not there any more in a new configuration.
    AccountEnded,
}

impl Session {
    async fn run(mut self) -> Result<(), Refused> {
        self.chronicle.opened();
        let ended = self.permit.ended().clone();
        // At each await: a handshake, the check of a password, a client that does not read.
        let ended = tokio::select! {
            biased;
            () = ended.cancelled() => Err(Refused::Displaced),
            () = self.converse() => Ok(()),
        };
        if let Err(refused) = ended {
            let refusal = Refusal::from(refused);
            self.chronicle.ends(refusal.to_string());
            self.control.answers(NO_VERB);
            self.control.end(&refusal.into()).await;
        }
        self.chronicle.closed();
        ended
    }

    async fn converse(&mut self) {
        if self.listener.implicit
            && let Err(error) = self.begin_implicit().await
        {
            self.chronicle.ends(error.to_string());
            self.control.close().await;
            return;
        }
        let greeting = success::greeting(&self.greeting());
        if let Err(error) = self.control.reply(&greeting).await {
            self.chronicle.ends(error.to_string());
        } else {
            while let Flow::Continue = self.step().await {}
            self.control.close().await;
        }
    }

    /// One command, from its line to its last reply.
    async fn step(&mut self) -> Flow {
        let waited = match self.held.pop_front() {
            // A client that sends one command after the other is never waited for.
            _ if self.control.cut().is_cancelled() => Awaited::Draining,
            Some(line) => Awaited::Line(line),
            None => self.wait().await,
        };
        let waited = match waited {
            Awaited::Line(_) if self.take_over() == UserStanding::Ended => Awaited::AccountEnded,
            waited => waited,
        };
        let last_words = match waited {
            Awaited::Line(line) => {
                let verb = verb_of(&line);
                self.chronicle.live().set_verb(verb);
                let span = self.span_of(verb);
                // Boxed: handlers hold much more than an idle session should.
                let executing = Box::pin(self.execute(&line, verb));
                let executed = executing.instrument(span).await;
                self.chronicle.live().set_verb(None);
                return match executed {
                    Ok(flow) => flow,
                    Err(error) => {
                        self.chronicle.ends(error.to_string());
                        Flow::Close
                    }
                };
            }
            Awaited::Control(ControlError::LineTooLong(_)) => Refusal::LineTooLong,
            Awaited::Control(error) => {
                self.chronicle.ends(error.to_string());
                return Flow::Close;
            }
            Awaited::LoginDeadline => Refusal::LoginTimeout,
            Awaited::AccountEnded => Refusal::AccountEnded,
            Awaited::Idle => Refusal::IdleTimeout,
            Awaited::Draining if self.chronicle.live().ended() => Refusal::SessionEnded,
            Awaited::Draining => Refusal::ShuttingDown,
        };
        self.chronicle.ends(last_words.to_string());
        self.control.answers(NO_VERB);
        // The connection ends either way.
        let _ = self.control.reply(&last_words.into()).await;
        Flow::Close
    }

    /// Waits for a command, or for one of the events that end a session without one.
    async fn wait(&mut self) -> Awaited {
        let now = Instant::now();
        let logged_in = self.logged_in().is_some();
        if !logged_in && now >= self.pre_login.deadline {
            // A client that sends one line after the other never runs into the timeout below.
            return Awaited::LoginDeadline;
        }
        let deadline = if logged_in {
            now + self.idle_limit()
        } else {
            self.pre_login.deadline
        };
        let drain = self.context.drain.clone();
        let cut = self.control.cut().clone();
        let drained = async {
            let quiet = async {
                drain.cancelled().await;
                sleep_until(now + DRAIN_QUIET).await;
            };
            tokio::select! {
                () = cut.cancelled() => {}
                () = quiet => {}
            }
        };
        tokio::pin!(drained);
        let (context, known) = (Arc::clone(&self.context), Arc::clone(&self.configured));
        let mut replaced = pin!(context.newest.after(&known));
        loop {
            let data = self.data_expires();
            let expiries = [self.last_file.expires(), data, Some(deadline)];
            let until = expiries.into_iter().flatten().min().unwrap_or(deadline);
            return tokio::select! {
                biased;
                line = timeout_at(until, self.control.next_line()) => match line {
                    Ok(Ok(line)) => Awaited::Line(line),
                    Ok(Err(error)) => Awaited::Control(error),
                    Err(_) if until < deadline => {
                        if data.is_some_and(|expires| expires <= until) {
                            // Other clients at the same address may need the port.
                            self.data = DataSetup::None;
                        } else {
                            // It is up to 64 KiB, which an idle session should not hold.
                            self.last_file.release();
                        }
                        continue;
                    }
                    Err(_) if logged_in => Awaited::Idle,
                    Err(_) => Awaited::LoginDeadline,
                },
                () = self.data.progress(), if self.data.is_in_progress() => continue,
                () = &mut drained => Awaited::Draining,
                () = &mut replaced, if logged_in && Arc::ptr_eq(&known, &self.configured) => {
                    match self.take_over() {
                        UserStanding::Ended => Awaited::AccountEnded,
                        UserStanding::Valid => continue,
                    }
                }
            };
        }
    }

    /// `sent` is the verb of the line, if it is supported.
    async fn execute(
        &mut self,
        line: &[u8],
        sent: Option<&'static str>,
    ) -> Result<Flow, ControlError> {
        if self.logged_in().is_none() {
            self.pre_login.commands += 1;
            if self.pre_login.commands > MAX_EARLY {
                return self.close_with(Refusal::EarlyCommands).await;
            }
        }
        let parsed = Command::parse(line);
        let verb = parsed.as_ref().ok().map(Command::verb);
        self.control.answers(verb.or(sent).unwrap_or(OTHER));
        let begun = sent.and_then(|sent| FileCommand::of(sent, line, parsed.as_ref().ok()));
        self.chronicle.begin(begun);
        let command = match parsed {
            Ok(command) => command,
            Err(error) => {
                self.forget_beginnings();
                let refusal = Refusal::from(error);
                let flow = match refusal {
                    Refusal::HttpRequest => Flow::Close,
                    _ => Flow::Continue,
                };
                if flow == Flow::Close {
                    self.chronicle.ends(refusal.to_string());
                }
                let reply = self.refuse(refusal);
                self.control.reply(&reply).await?;
                return Ok(flow);
            }
        };
        tracing::trace!(peer = %self.control.peer, ?command, "command");
        match gate::verdict(self.phase(), &command) {
            // Commands are held only while a transfer runs, and it has ended by now.
            Verdict::Run | Verdict::Hold => {}
            Verdict::Refuse(refusal) => {
                self.forget_beginnings();
                let reply = self.refuse(refusal);
                self.control.reply(&reply).await?;
                return Ok(Flow::Continue);
            }
        }
        if !gate::keeps_last_file(&command) {
            self.last_file.forget();
        }
        // RFC 959: RNTO follows RNFR directly. A NOOP in between, from a client that keeps the
        // connection alive, does no harm.
        let rename_from = if matches!(command, Command::Noop) {
            None
        } else {
            self.rename_from.take()
        };
        if let (Command::Rnto(_), Some(source)) = (&command, &rename_from) {
            self.chronicle.renames(&source.path, source.names());
        }
        let flow = Box::pin(self.dispatch(&command, rename_from)).await?;
        if !gate::keeps_restart(&command) && !matches!(command, Command::Rest(_) | Command::Rang(_))
        {
            self.start = Start::Beginning;
        }
        Ok(flow)
    }

    /// A span for traces. Its fields are those of the command's event, if it has one.
    fn span_of(&self, verb: Option<&'static str>) -> tracing::Span {
        tracing::debug_span!(
            target: TRACE_TARGET,
            "command",
            otel.name = verb.unwrap_or("command"),
            otel.kind = "server",
            session = %self.chronicle.facts().session,
        )
    }

    /// REST, RANG and RNFR apply to the next command. A line that is not understood, or is refused
    /// in this phase, counts as that command: what a client sends after such an error must not
    /// begin in the middle of a file.
    fn forget_beginnings(&mut self) {
        self.rename_from = None;
        self.start = Start::Beginning;
    }

    async fn dispatch(
        &mut self,
        command: &Command,
        rename_from: Option<RenameSource>,
    ) -> Result<Flow, ControlError> {
        use Command as C;
        let cut = self.control.cut().clone();
        let handled: Handled = match command {
            // Large handlers are boxed: a command is moved with room for the largest of the others.
            //
            // Transfers send their own replies: a preliminary one, then the final one.
            C::Retr(path) => return Box::pin(self.retrieve(path)).await,
            C::Stor(path) => return Box::pin(self.store(path)).await,
            C::Stou(path) => return Box::pin(self.store_unique(path.as_deref())).await,
            C::Appe(path) => return Box::pin(self.append(path)).await,
            C::List(argument) => {
                return Box::pin(self.list(argument, commands::listing::Style::Long)).await;
            }
            C::Nlst(argument) => {
                return Box::pin(self.list(argument, commands::listing::Style::Names)).await;
            }
            C::Mlsd(path) => return Box::pin(self.machine_list(path.as_deref())).await,
            C::Stat(Some(argument)) => return Box::pin(self.stat_path(argument)).await,
            C::Hash(path) => return Box::pin(self.hash(path)).await,
            C::Digest(name, piece) => {
                // As the client has sent it: XSHA and XSHA1 are the same command.
                let sent = self.chronicle.command.as_ref().map(|command| command.verb);
                let verb = sent.unwrap_or(command.verb());
                return Box::pin(self.digest(verb, *name, piece)).await;
            }
            C::Quit => {
                self.chronicle.ends("QUIT");
                self.control.reply(&success::goodbye()).await?;
                return Ok(Flow::Close);
            }
            C::User(name) => return self.user_name(name).await,
            C::Pass(password) => return self.pass(password).await,
            C::Auth(mechanism) => {
                // If it is not refused, it begins a new login.
                if self.offered_tls().is_some()
                    && !self.control.is_secure()
                    && let Err(full) = self.leave()
                {
                    return self.close_with(full).await;
                }
                return self.auth(*mechanism).await;
            }
            C::Rein => return self.reinitialise().await,

            C::Pbsz => self.pbsz(),
            C::Prot(level) => self.prot(*level),
            C::Ccc => self.ccc(),
            C::Host(host) => self.choose_host(host),
            C::Acct => Ok(success::no_account_needed()),
            C::Cwd(path) => until(&cut, self.cwd(path)).await,
            C::Cdup => until(&cut, self.cwd("..")).await,
            C::Pwd => Ok(success::working_directory(&self.cwd)),
            C::Mkd(path) => until(&cut, self.mkd(path)).await,
            C::Rmd(path) => until(&cut, self.rmd(path)).await,
            C::Type(transfer_type) => self.set_type(*transfer_type),
            C::Mode => Ok(success::mode()),
            C::Stru => Ok(success::structure()),
            C::Pasv => self.pasv().await,
            C::Epsv(argument) => self.epsv(*argument).await,
            C::Port(address) => self.port(*address, false),
            C::Eprt(address) => self.port(*address, true),
            C::Allo(bytes) => self.allo(*bytes),
            C::Rest(offset) => self.rest(*offset),
            C::Rang(range) => self.rang(*range),
            C::OptsHash(name) => self.opts_hash(*name),
            C::Stat(None) => Ok(self.status()),
            C::Size(path) => until(&cut, Box::pin(self.size(path))).await,
            C::Mdtm(path) => until(&cut, Box::pin(self.mdtm(path))).await,
            C::Mfmt(time, path) => until(&cut, self.mfmt(*time, path, "modify")).await,
            C::Mff(time, path) => until(&cut, self.mfmt(*time, path, "Modify")).await,
            C::MdtmSet(time, path, whole) => {
                until(&cut, Box::pin(self.mdtm_set(*time, path, whole))).await
            }
            C::Mlst(path) => until(&cut, self.mlst(path.as_deref())).await,
            C::Dele(path) => until(&cut, Box::pin(self.dele(path))).await,
            C::Rnfr(path) => until(&cut, self.rnfr(path)).await,
            C::Rnto(path) => until(&cut, Box::pin(self.rnto(rename_from, path))).await,
            C::Abor => self.abor_nothing(),
            C::Feat => Ok(self.feat()),
            C::OptsUtf8(on) => commands::information::opts_utf8(*on),
            C::OptsMlst(facts) => self.opts_mlst(facts),
            C::Help(topic) => self.help(topic.as_deref()),
            C::Syst => Ok(success::system()),
            C::Noop => Ok(success::ok()),
            C::SiteHelp => Ok(self.site_help()),
            C::SiteUtime(time, path) => until(&cut, self.site_utime(*time, path)).await,
            C::SiteChmod(path) => self.site_chmod(path),
            C::Clnt(name) | C::Csid(name) => {
                self.note_client(name);
                Ok(success::client_noted())
            }
        };
        let handled = match handled {
            Err(Refusal::CommandCut) if self.chronicle.live().ended() => Err(Refusal::CommandEnded),
            handled => handled,
        };
        let reply = handled.unwrap_or_else(|refusal| self.refuse(refusal));
        self.control.reply(&reply).await?;
        Ok(Flow::Continue)
    }
}

/// Runs a handler until the end of the grace period, or of the session by an operator: after it the
/// server waits for no handler.
async fn until(cut: &CancellationToken, handler: impl Future<Output = Handled>) -> Handled {
    tokio::select! {
        biased;
        handled = handler => handled,
        () = cut.cancelled() => Err(Refusal::CommandCut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle session may take 24 KiB in all (docs/operations/sizing.md), not counting the
    /// handlers' futures.
    #[test]
    fn a_session_is_small() {
        fn size<A, B, C, D, E, F>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
            std::mem::size_of::<F>()
        }
        let bytes = size(serve);
        assert!(bytes <= 5 * 1024, "{bytes} bytes");
    }
}
