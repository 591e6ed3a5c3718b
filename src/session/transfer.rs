//! Runs one transfer beside the control connection, and turns its one end into the one final reply.
//!
//! ```text
//!            signals: 150, "input ended"
//!   job ───────────────────────────────▶ session ◀── control connection: ABOR, STAT, NOOP; the rest is held
//!       ◀───────────────────────────────
//!            abort token, permit
//! ```
//!
//! The job (an upload, a download, a listing) is a future polled by the session's own task. It speaks to the session by
//! two [`Signal`]s, and hears of it by a cancellation token and, an upload, by the permit to publish.
//!
//! **The settle window.** FTP has no end-of-file mark: a device that dies closes its data connection as one that has
//! finished does. So the session gives the permit only when, a round trip after the input's end, the control
//! connection is still there and no ABOR was seen. While the window passes, parts still on their way go on. After the
//! permit there is no way back: the upload's own result is reported, and a later ABOR gets 226 for itself.
//!
//! **The end of the control connection.** A client that leaves says QUIT. For an upload it counts only if it came after
//! the data's end and the connection then ended cleanly: a QUIT that was sent in advance says nothing of the data, and a
//! reset is a failure. Before anything is decided the job takes what has already arrived, so that the order of the two
//! connections is that of their arrival. A client that closes only its own side still gets the one final reply.
//!
//! **Ends.** A job ends in exactly one [`End`]. What the session does to a job (ABOR, a lost control connection, the
//! end of the grace period) is remembered as the [`Cut`], so a job that was aborted gets the reply of its reason.

pub(in crate::session) mod download;
pub(in crate::session) mod lister;
pub(in crate::session) mod sink;
pub(in crate::session) mod tree_lister;
pub(in crate::session) mod upload;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::data::DataError;
use crate::namespace::VirtualPath;
use crate::object::{Location, ObjectError, TransferId};
use ftp_proto::{Command, CommandError, Reply};

use crate::session::commands::data_setup::DataSetup;
use crate::session::control::ControlError;
use crate::session::gate::{Phase, Verdict, verdict};
use crate::session::transport::Pending;
use crate::session::{Flow, Session, replies};

/// The settle window of an upload of more than one part, at the least: it waits for its last part anyway. Once, on a very
/// busy machine, 63 MB of 200 of a client killed with -9 were published behind a window of 1 ms; the likely reason is that
/// the kernel closes one socket of a dying process after the other, and was interrupted in between.
const SETTLE_LARGE: Duration = Duration::from_millis(50);

/// Bounds of the settle window (docs/reference/commands.md has it as a table).
const SETTLE_MIN: Duration = Duration::from_millis(1);
const SETTLE_MAX: Duration = Duration::from_millis(100);

/// Lines held while a transfer runs; beyond that the connection is not read until it has ended.
const MAX_HELD: usize = 64;
/// And bytes of them, so that long lines don't cost more than the transfer itself.
const MAX_HELD_BYTES: usize = 32 * 1024;

/// What a job tells its session.
#[derive(Debug)]
pub(in crate::session) enum Signal {
    /// The data connection is there: the 150.
    Preliminary(Reply),
    /// The transfer was refused before the data connection was used.
    Unused(DataSetup),
    /// The upload is whole and may be published, and waits for another session that is writing the same name.
    SameName,
    /// It waits no more.
    Publishing,
    /// The client's bytes have ended; `large`: with those that were there before they are more than one part.
    InputEnded { large: bool },
}

/// The one end of a transfer.
#[derive(Debug)]
pub(in crate::session) enum End {
    /// All is done; the text of the 226.
    Finished(String),
    /// All is done, without a data connection: the reply.
    Answered(Reply),
    /// The session has cut it; nothing was published.
    Aborted,
    /// It failed; nothing was published.
    Failed(Failure),
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::session) enum Failure {
    /// The store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No data connection.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data connection broke.
    #[error("data connection broken: {0}")]
    Broken(#[from] std::io::Error),
    /// No byte moved on it.
    #[error("no data moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Refused, in words found while preparing.
    #[error("{}", .0.lines.join(" "))]
    Refused(Reply),
}

/// What the end of its control connection means to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum ControlEnd {
    /// An upload: broken off, unless a QUIT after the data's end came before.
    BreaksOff,
    /// An upload to a mount with `on_control_loss = "publish"`: only the data connection counts.
    Ignored,
    /// Nothing is published: served to the end if a QUIT announced it.
    NeedsQuit,
}

/// What a transfer is, for replies and logs.
#[derive(Debug, Clone)]
pub(in crate::session) struct Label {
    pub(in crate::session) id: TransferId,
    pub(in crate::session) verb: &'static str,
    pub(in crate::session) path: VirtualPath,
    pub(in crate::session) location: Option<Location>,
    pub(in crate::session) control_end: ControlEnd,
}

impl Label {
    /// For the operator: which key lets an upload of this kind through.
    fn remedy(&self, cut: Cut) -> &'static str {
        match (self.control_end, cut) {
            (ControlEnd::BreaksOff, Cut::ControlEnded | Cut::ControlLost) => {
                "; on_control_loss = \"publish\" of the mount publishes uploads of clients that end so"
            }
            _ => "",
        }
    }
}

/// A job's side of the link to its session.
#[derive(Debug)]
pub(in crate::session) struct Link {
    /// Cancelled when the session gives the transfer up.
    pub(in crate::session) abort: CancellationToken,
    /// To the session.
    pub(in crate::session) signals: mpsc::UnboundedSender<Signal>,
    /// Comes when an upload may be published.
    pub(in crate::session) permit: oneshot::Receiver<()>,
    /// Bytes moved so far.
    pub(in crate::session) progress: Progress,
}

/// What has moved on the data connection: written by the job, read by STAT and by the settling of an upload.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct Progress(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    bytes: AtomicU64,
    input_arrived: AtomicBool,
}

impl Progress {
    pub(in crate::session) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::session) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The client's end has arrived, although bytes before it may still be unread.
    pub(in crate::session) fn note_input_arrived(&self) {
        self.0.input_arrived.store(true, Ordering::Relaxed);
    }

    fn input_arrived(&self) -> bool {
        self.0.input_arrived.load(Ordering::Relaxed)
    }
}

impl Link {
    pub(in crate::session) fn signal(&self, signal: Signal) {
        // The session outlives its job: the receiver is there.
        let _ = self.signals.send(signal);
    }
}

/// Why the session has cut a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Abor,
    /// The client closed its side.
    ControlEnded,
    /// It was reset, or the client does not take its replies.
    ControlLost,
    Shutdown,
    Rubbish,
}

/// Whether QUIT is among the held lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quit {
    No,
    /// It was sent in advance, and says nothing of the data.
    BeforeInputEnd,
    AfterInputEnd,
}

/// The control connection, as a running job has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ControlSide {
    /// Lines are read.
    Open,
    /// Nothing more is read. The client may still take replies.
    Ended,
    /// No reply reaches the client.
    Lost,
}

/// What the session knows of its running job.
struct Running {
    label: Label,
    started: Instant,
    progress: Progress,
    abort: CancellationToken,
    permit: Option<oneshot::Sender<()>>,
    cut: Option<Cut>,
    /// ABORs to be answered behind the final reply.
    abors: u32,
    settle: Option<Instant>,
    quit: Quit,
    control: ControlSide,
    /// A line was too long: the connection ends behind the final reply.
    rubbish: bool,
    /// Whether the client was told that it begins.
    begun: bool,
    /// Whether an upload that may be published waits for another session of its name.
    waits_for_name: bool,
}

impl Running {
    fn cut(&mut self, reason: Cut) {
        self.cut.get_or_insert(reason);
        self.abort.cancel();
    }

    /// The control connection is of no use any more.
    fn lose(&mut self) {
        self.control = ControlSide::Lost;
        self.cut_by_control(Cut::ControlLost);
    }

    /// The client has closed its side, in the clean way or not.
    fn end_control(&mut self, clean: bool) {
        self.control = ControlSide::Ended;
        let is_goodbye = match self.label.control_end {
            ControlEnd::BreaksOff => clean && self.quit == Quit::AfterInputEnd,
            ControlEnd::NeedsQuit => self.quit != Quit::No,
            ControlEnd::Ignored => true,
        };
        if !is_goodbye {
            self.cut_by_control(Cut::ControlEnded);
        }
    }

    fn cut_by_control(&mut self, reason: Cut) {
        if !self.committed() && self.label.control_end != ControlEnd::Ignored {
            self.cut(reason);
        }
    }

    /// Whether the permit was given: no way back.
    fn committed(&self) -> bool {
        self.permit.is_none()
    }
}

impl Session {
    /// Runs a job to its end and gives its replies. Fails only where the control connection is of no use any more.
    pub(in crate::session) async fn run_transfer<F, J>(
        &mut self,
        label: Label,
        job: J,
    ) -> Result<Flow, ControlError>
    where
        J: FnOnce(Link) -> F,
        F: Future<Output = End>,
    {
        let (signals, mut signalled) = mpsc::unbounded_channel();
        let (permit, permitted) = oneshot::channel();
        let abort = CancellationToken::new();
        let progress = Progress::default();
        let mut running = Running {
            label,
            started: Instant::now(),
            progress: progress.clone(),
            abort: abort.clone(),
            permit: Some(permit),
            cut: None,
            abors: 0,
            settle: None,
            // It may have come with the commands that were held while the transfer before this one ran.
            quit: match self.held.iter().any(|line| is_quit(line)) {
                true => Quit::BeforeInputEnd,
                false => Quit::No,
            },
            control: ControlSide::Open,
            rubbish: false,
            begun: false,
            waits_for_name: false,
        };
        let mut job = pin!(job(Link {
            abort,
            signals,
            permit: permitted,
            progress
        }));
        let shutdown = self.gateway.cut.clone();
        // A client that floods its control connection must not keep its own job from being polled, nor its deadlines:
        // after each line it is the others' turn.
        let mut had_line = false;

        let end = loop {
            let settle = running.settle;
            let read = !std::mem::take(&mut had_line);
            tokio::select! {
                biased;
                line = self.control.next_line(), if read && running.control == ControlSide::Open && self.can_hold() => {
                    had_line = true;
                    let ended = match leaves(&line) {
                        // All of the data that has arrived came before this.
                        true => futures::poll!(tokio::task::unconstrained(job.as_mut())),
                        false => Poll::Pending,
                    };
                    while let Ok(signal) = signalled.try_recv() {
                        self.signalled(&mut running, signal).await;
                    }
                    self.during(&mut running, line).await;
                    if let Poll::Ready(end) = ended {
                        break end;
                    }
                }
                Some(signal) = signalled.recv() => self.signalled(&mut running, signal).await,
                () = shutdown.cancelled(), if running.cut.is_none() => running.cut(Cut::Shutdown),
                () = sleep_until(settle.unwrap_or_else(Instant::now)), if settle.is_some() => self.settle(&mut running),
                end = &mut job => break end,
                () = std::future::ready(()), if !read => {}
            }
        };
        // A short job may have ended in the same breath as it began: the 150 comes before the 226.
        while let Ok(signal) = signalled.try_recv() {
            self.signalled(&mut running, signal).await;
        }
        self.conclude(running, end).await
    }

    /// Whether another line may be read while a transfer runs.
    fn can_hold(&self) -> bool {
        let bytes: usize = self.held.iter().map(Vec::len).sum();
        self.held.len() < MAX_HELD && bytes < MAX_HELD_BYTES
    }

    async fn signalled(&mut self, running: &mut Running, signal: Signal) {
        match signal {
            Signal::Preliminary(reply) => {
                running.begun = true;
                if running.control != ControlSide::Lost && self.control.reply(&reply).await.is_err()
                {
                    running.lose();
                }
            }
            Signal::Unused(setup) => {
                // As after any refusal: kept where nobody has connected, closed where somebody has.
                self.data = setup;
                self.drop_connected_data();
            }
            Signal::SameName => running.waits_for_name = true,
            Signal::Publishing => running.waits_for_name = false,
            Signal::InputEnded { large } => {
                running.progress.note_input_arrived();
                let least = self.gateway.config.timeouts.settle_min;
                let window = settle_window(self.control.round_trip(), large, least);
                running.settle = Some(Instant::now() + window);
            }
        }
    }

    /// A line, or the loss of the control connection, while a job runs.
    async fn during(&mut self, running: &mut Running, line: Result<Vec<u8>, ControlError>) {
        let line = match line {
            Ok(line) => line,
            Err(ControlError::Ended) => return running.end_control(true),
            Err(ControlError::Torn) => return running.end_control(self.trusts_a_fin()),
            Err(ControlError::LineTooLong(_)) if running.quit == Quit::No => {
                running.control = ControlSide::Ended;
                running.rubbish = true;
                if !running.committed() {
                    running.cut(Cut::Rubbish);
                }
                return;
            }
            // Nothing counts after QUIT.
            Err(ControlError::LineTooLong(_)) => return,
            Err(ControlError::Lost | ControlError::WriteDeadline) => return running.lose(),
        };
        let command = Command::parse(&line);
        let abor = command == Ok(Command::Abor);
        if running.quit != Quit::No && !abor {
            // Nothing else counts behind a QUIT.
            return;
        }
        let held = self.held.back().map(|line| Command::parse(line));
        if held == Some(Err(CommandError::Http)) {
            // A browser speaks: nothing behind it is a command, an ABOR neither.
            return;
        }
        match command {
            // Behind a held command all but ABOR waits, too: replies come in the order of their commands.
            Ok(command)
                if (abor || self.held.is_empty())
                    && verdict(Phase::Transferring, &command) == Verdict::Run =>
            {
                let answer = match command {
                    Command::Abor => {
                        running.abors += 1;
                        // An upload that is being published takes no notice; one that waits for its name does.
                        running.cut(Cut::Abor);
                        return;
                    }
                    Command::Stat(_) => progress_report(running),
                    _ => Reply::new(200, "OK"),
                };
                if self.control.reply(&answer).await.is_err() {
                    running.lose();
                }
            }
            other => {
                running.quit = match other {
                    Ok(Command::Quit) if running.progress.input_arrived() => Quit::AfterInputEnd,
                    Ok(Command::Quit) => Quit::BeforeInputEnd,
                    _ => Quit::No,
                };
                self.held.push_back(line);
            }
        }
    }

    /// Whether the user's devices are trusted to end TLS by a FIN.
    fn trusts_a_fin(&self) -> bool {
        self.user
            .as_ref()
            .is_some_and(|user| user.config.lenient_close)
    }

    /// The settle window has passed: is the client still there?
    fn settle(&mut self, running: &mut Running) {
        running.settle = None;
        if running.cut.is_some() || running.committed() {
            return;
        }
        match running.control {
            ControlSide::Open => match self.control.pending() {
                Pending::Nothing => {}
                // What was sent must be read first: it may be an ABOR, or the connection's end.
                Pending::Data | Pending::Closed if self.can_hold() => {
                    running.settle = Some(Instant::now() + Duration::from_millis(1));
                    return;
                }
                Pending::Closed => running.lose(),
                Pending::Data if !self.control.established() => running.lose(),
                Pending::Data => {}
            },
            // A clean end may be followed by a reset.
            ControlSide::Ended if self.control.is_reset() => running.lose(),
            ControlSide::Ended | ControlSide::Lost => {}
        }
        if running.cut.is_some() {
            return;
        }
        if let Some(permit) = running.permit.take() {
            // A job that has failed meanwhile does not take it, and says so itself.
            let _ = permit.send(());
        }
    }

    /// The one final reply, the replies to the ABORs behind it, and the log line.
    async fn conclude(&mut self, running: Running, end: End) -> Result<Flow, ControlError> {
        let id = &running.label.id;
        let path = &running.label.path;
        let (reply, result) = match (&end, running.cut) {
            (End::Finished(text), _) => (
                Reply::new(226, format!("{text}, transfer {id}")),
                "finished".to_owned(),
            ),
            (End::Answered(reply), _) => (reply.clone(), "finished".to_owned()),
            (End::Aborted, cut) => {
                let (code, why) = match cut {
                    Some(Cut::Abor) | None => (426, "aborted by the client"),
                    Some(Cut::ControlEnded) => (
                        426,
                        "broken off: the control connection was closed before its end",
                    ),
                    Some(Cut::ControlLost) => (426, "control connection lost"),
                    Some(Cut::Shutdown) => (426, "cut: the server is shutting down"),
                    Some(Cut::Rubbish) => (426, "cut: the command line is too long"),
                };
                (
                    Reply::new(code, format!("{path}: transfer {id} {why}")),
                    why.to_owned(),
                )
            }
            (End::Failed(failure), _) => (failure_reply(&running, failure), failure.to_string()),
        };
        let result = match (&end, running.cut) {
            (End::Aborted, Some(cut)) => result + running.label.remedy(cut),
            _ => result,
        };
        self.log(&running, &end, &result);
        if running.control == ControlSide::Lost {
            return Err(ControlError::Lost);
        }
        self.control.reply(&reply).await?;
        for _ in 0..running.abors {
            self.control.reply(&Reply::new(226, "ABOR done")).await?;
        }
        if !running.rubbish {
            return Ok(Flow::Continue);
        }
        self.control
            .reply(&Reply::new(
                500,
                "Command line too long, closing the connection",
            ))
            .await?;
        Ok(Flow::Close)
    }

    fn log(&self, running: &Running, end: &End, result: &str) {
        let label = &running.label;
        let seconds = running.started.elapsed().as_secs_f64();
        let bytes = running.progress.bytes();
        let (store, bucket, key) = match &label.location {
            Some(location) => (
                location.store.name(),
                &*location.bucket,
                location.key.as_str(),
            ),
            None => ("", "", ""),
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    transfer = %label.id,
                    verb = label.verb,
                    user = %self.user_label(),
                    peer = %self.control.peer,
                    path = %label.path.to_string().escape_debug(),
                    store,
                    bucket,
                    key = %key.escape_debug(),
                    bytes,
                    seconds,
                    result,
                    "transfer"
                )
            };
        }
        if matches!(end, End::Finished(_) | End::Answered(_)) {
            line!(info)
        } else {
            line!(warn)
        }
    }
}

fn failure_reply(running: &Running, failure: &Failure) -> Reply {
    let path = &running.label.path;
    let mut reply = match failure {
        Failure::Object(error) => replies::object_error(path, error),
        Failure::Data(error) => replies::data_error(error),
        Failure::Broken(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Reply::new(
            426,
            format!("{path}: data connection broken: {error}, so it was not taken for whole"),
        ),
        Failure::Broken(_) => Reply::new(
            426,
            format!("{path}: data connection broken, nothing was stored or all was not sent"),
        ),
        Failure::Stalled(after) => Reply::new(
            426,
            format!("{path}: no data moved for {} s", after.as_secs()),
        ),
        Failure::Refused(reply) => reply.clone(),
    };
    if running.begun
        && let Some(last) = reply.lines.last_mut()
    {
        // What the client was told has begun is found in the log by this.
        last.push_str(&format!(", transfer {}", running.label.id));
    }
    reply
}

fn progress_report(running: &Running) -> Reply {
    let seconds = running.started.elapsed().as_secs();
    let mut lines = vec![
        "Status of the transfer:".to_owned(),
        format!("{} {}", running.label.verb, running.label.path),
        format!(
            "{} bytes in {seconds} s, transfer {}",
            running.progress.bytes(),
            running.label.id
        ),
    ];
    if running.waits_for_name {
        lines.push("All bytes have come; another session is writing this file".to_owned());
    }
    lines.push("End".to_owned());
    Reply::lines(211, lines)
}

/// How long an upload's end is held back to see whether the control connection dies with it: at least `configured`.
fn settle_window(round_trip: Option<Duration>, large: bool, configured: Duration) -> Duration {
    let least = if large { SETTLE_LARGE } else { SETTLE_MIN };
    let window = round_trip.unwrap_or(SETTLE_MAX).clamp(least, SETTLE_MAX);
    window.max(configured)
}

fn is_quit(line: &[u8]) -> bool {
    Command::parse(line) == Ok(Command::Quit)
}

/// Whether this is the client's goodbye, or the end of its control connection.
fn leaves(line: &Result<Vec<u8>, ControlError>) -> bool {
    line.as_ref().map_or(true, |line| is_quit(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settle_window_follows_the_round_trip_within_its_bounds() {
        let ms = Duration::from_millis;
        for (round_trip, small, large) in [
            (Some(Duration::from_micros(11)), 1, 50),
            (Some(ms(20)), 20, 50),
            (Some(ms(70)), 70, 70),
            (Some(ms(900)), 100, 100),
            (None, 100, 100),
        ] {
            assert_eq!(settle_window(round_trip, false, ms(1)), ms(small));
            assert_eq!(settle_window(round_trip, true, ms(1)), ms(large));
            let configured = settle_window(round_trip, false, ms(300));
            assert_eq!(configured, ms(300));
        }
    }
}
