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
//! **Ends.** A job ends in exactly one [`End`]. What the session does to a job (ABOR, a lost control connection, the
//! end of the grace period) is remembered as the [`Cut`], so a job that was aborted gets the reply of its reason.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::data::DataError;
use crate::namespace::VirtualPath;
use crate::object::{Location, ObjectError, TransferId};
use crate::protocol::{Command, CommandError, Reply};

use super::control::ControlError;
use super::data_setup::DataSetup;
use super::gate::{Phase, Verdict, verdict};
use super::transport::Pending;
use super::{Flow, Session, replies};

/// The settle window of an upload of more than one part, at the least: it waits for its last part anyway. Once, on a very
/// busy machine, 63 MB of 200 of a client killed with -9 were published behind a window of 1 ms; the likely reason is that
/// the kernel closes one socket of a dying process after the other, and was interrupted in between.
const SETTLE_LARGE: Duration = Duration::from_millis(50);

/// Bounds of the settle window (DESIGN, promise 2).
const SETTLE_MIN: Duration = Duration::from_millis(1);
const SETTLE_MAX: Duration = Duration::from_millis(100);

/// Lines held while a transfer runs; beyond that the connection is not read until it has ended.
const MAX_HELD: usize = 64;
/// And bytes of them, so that long lines don't cost more than the transfer itself.
const MAX_HELD_BYTES: usize = 32 * 1024;

/// What a job tells its session.
#[derive(Debug)]
pub(super) enum Signal {
    /// The data connection is there: the 150.
    Preliminary(Reply),
    /// The transfer was refused before the data connection was used.
    Unused(DataSetup),
    /// The upload is whole and may be published, and waits for another session that is writing the same name.
    SameName,
    /// It waits no more.
    Publishing,
    /// The client's bytes have ended; `large`: they were more than one part.
    InputEnded { large: bool },
}

/// The one end of a transfer.
#[derive(Debug)]
pub(super) enum End {
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
pub(super) enum Failure {
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

/// What a transfer is, for replies and logs.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) id: TransferId,
    pub(super) verb: &'static str,
    pub(super) path: VirtualPath,
    pub(super) location: Option<Location>,
    /// Whether it goes on without its control connection, and may then be published (`on_control_loss`).
    pub(super) outlives_control: bool,
}

/// A job's side of the link to its session.
#[derive(Debug)]
pub(super) struct Link {
    /// Cancelled when the session gives the transfer up.
    pub(super) abort: CancellationToken,
    /// To the session.
    pub(super) signals: mpsc::UnboundedSender<Signal>,
    /// Comes when an upload may be published.
    pub(super) permit: oneshot::Receiver<()>,
    /// Bytes moved so far.
    pub(super) progress: Progress,
}

/// Bytes moved on the data connection: written by the job, read by STAT.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Link {
    pub(super) fn signal(&self, signal: Signal) {
        // The session outlives its job: the receiver is there.
        let _ = self.signals.send(signal);
    }
}

/// Why the session has cut a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Abor,
    ControlLost,
    Shutdown,
    Rubbish,
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
    /// QUIT is among the held lines: the client means to leave, and the control connection's end is no loss.
    quit: bool,
    /// Whether lines are still read.
    control_open: bool,
    /// Nobody is there to be told anything: a reply could not be sent, or the connection ended without a QUIT.
    lost: bool,
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
        self.control_open = false;
        self.lost = true;
        if !self.committed() && !self.label.outlives_control {
            self.cut(Cut::ControlLost);
        }
    }

    /// Whether the permit was given: no way back.
    fn committed(&self) -> bool {
        self.permit.is_none()
    }
}

impl Session {
    /// Runs a job to its end and gives its replies. Fails only where the control connection is of no use any more.
    pub(super) async fn run_transfer<F, J>(
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
            quit: self
                .held
                .iter()
                .any(|line| Command::parse(line) == Ok(Command::Quit)),
            control_open: true,
            lost: false,
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
                line = self.control.next_line(), if read && running.control_open && self.can_hold() => {
                    had_line = true;
                    self.during(&mut running, line).await?;
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
                if !running.lost && self.control.reply(&reply).await.is_err() {
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
                let window = settle_window(self.control.round_trip(), large);
                running.settle = Some(Instant::now() + window);
            }
        }
    }

    /// A line, or the loss of the control connection, while a job runs.
    async fn during(
        &mut self,
        running: &mut Running,
        line: Result<Vec<u8>, ControlError>,
    ) -> Result<(), ControlError> {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                running.control_open = false;
                if running.quit {
                    // Whoever has said QUIT may have closed his side only, and waits for the last replies.
                } else if matches!(error, ControlError::Lost) {
                    running.lose();
                } else {
                    running.rubbish = true;
                    if !running.committed() {
                        running.cut(Cut::Rubbish);
                    }
                }
                return Ok(());
            }
        };
        let command = Command::parse(&line);
        let abor = command == Ok(Command::Abor);
        if running.quit && !abor {
            // Nothing else counts behind a QUIT.
            return Ok(());
        }
        let held = self.held.back().map(|line| Command::parse(line));
        if held == Some(Err(CommandError::Http)) {
            // A browser speaks: nothing behind it is a command, an ABOR neither.
            return Ok(());
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
                        return Ok(());
                    }
                    Command::Stat(_) => progress_report(running),
                    _ => Reply::new(200, "OK"),
                };
                if self.control.reply(&answer).await.is_err() {
                    running.lose();
                }
            }
            other => {
                running.quit = matches!(other, Ok(Command::Quit));
                self.held.push_back(line);
            }
        }
        Ok(())
    }

    /// The settle window has passed: is the client still there?
    fn settle(&mut self, running: &mut Running) {
        running.settle = None;
        if running.cut.is_some() || running.committed() {
            return;
        }
        let readable = running.control_open && self.can_hold();
        match self.control.pending() {
            _ if running.lost && running.label.outlives_control => {}
            // What was sent must be read first: it may be an ABOR.
            Pending::Data if readable => {
                running.settle = Some(Instant::now() + Duration::from_millis(1));
                return;
            }
            Pending::Closed if !running.quit => running.lose(),
            Pending::Data if !self.control.established() && !running.quit => running.lose(),
            _ => {}
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
        self.log(&running, &end, &result);
        if running.lost {
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

/// How long an upload's end is held back to see whether the control connection dies with it.
fn settle_window(round_trip: Option<Duration>, large: bool) -> Duration {
    let least = if large { SETTLE_LARGE } else { SETTLE_MIN };
    round_trip.unwrap_or(SETTLE_MAX).clamp(least, SETTLE_MAX)
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
            assert_eq!(settle_window(round_trip, false), ms(small));
            assert_eq!(settle_window(round_trip, true), ms(large));
        }
    }
}
