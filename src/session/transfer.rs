//! Runs one transfer alongside the control connection, and turns its one end into the one final
//! reply.
//!
//! ```text
//!            signals: 150, "input ended"
//!   job ───────────────────────────────▶ session ◀── control connection: ABOR, STAT, NOOP; the rest is held
//!       ◀───────────────────────────────
//!            abort token, permit
//! ```
//!
//! The job (an upload, a download, a listing) is a future that the session's own task polls. The
//! job reports to the session by [`Signal`]s. The session cancels the job by a token, and gives an
//! upload the permit to publish.
//!
//! **The settle window.** FTP has no end-of-file mark: a device that dies closes its data
//! connection exactly as one that has finished. So the session gives the permit one round-trip time
//! after the end of the input, if the control connection is still open and no ABOR has come. Parts
//! in flight continue during this window. The session cannot take the permit back: it reports the
//! upload's own result, and a later ABOR gets a 226 of its own.
//!
//! **A check before the publication** (`[before_publish]`). The upload is written whole to a staged
//! key. After the settle window the job asks, and the session still has the permit: an ABOR or the
//! loss of the control connection cancels the upload as long as the answer is awaited. After a yes
//! the session looks at the control connection once more, and gives the permit.
//!
//! **The end of the control connection.** A client that leaves sends QUIT. For an upload the QUIT
//! counts only if it came after the end of the data and the connection then ended cleanly: a QUIT
//! that was sent in advance says nothing about the data, and a reset is a failure. Before the
//! session decides, the job takes the data that has already arrived. So the events on both
//! connections count in the order of their arrival. A client that closes only its own side still
//! gets the final reply.
//!
//! **Ends.** A job ends in exactly one [`End`]. If the session cancels a job, the [`CancelReason`]
//! selects the reply.

pub(in crate::session) mod check;
mod checked_upload;
mod conclude;
pub(in crate::session) mod download;
pub(in crate::session) mod job;
pub(in crate::session) mod list_format;
pub(in crate::session) mod lister;
mod prepare_upload;
pub(in crate::session) mod pump;
mod running;
pub(in crate::session) mod sink;
mod tree_blocks;
pub(in crate::session) mod tree_lister;
pub(in crate::session) mod upload;
mod upload_job;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use ftp_proto::{Command, CommandError};

use crate::session::control::ControlError;
use crate::session::gate::{Phase, Verdict, verdict};
use crate::session::replies::success;
use crate::session::state::{Flow, Session};
use crate::session::transport::Pending;
use conclude::progress_report;
use job::{End, Label, Link, Signal};
use running::{CancelReason, ControlSide, QuitTime, RunningTransfer, WaitsFor};

/// The least settle window of an upload of more than one part, which waits for its last part
/// anyway. On a very busy machine, 63 MB of the 200 MB of a client killed with SIGKILL were once
/// published after a window of 1 ms. The likely reason: the kernel closes the sockets of a dying
/// process one after the other, and was interrupted in between.
const SETTLE_LARGE: Duration = Duration::from_millis(50);

/// Bounds of the settle window (docs/reference/commands.md has it as a table).
const SETTLE_MIN: Duration = Duration::from_millis(1);
const SETTLE_MAX: Duration = Duration::from_millis(100);

/// The number of lines held while a transfer runs. Above it the connection is not read until the
/// transfer has ended.
const MAX_HELD: usize = 64;
/// The number of bytes of held lines, so that long lines do not cost more than the transfer itself.
const MAX_HELD_BYTES: usize = 32 * 1024;

impl Session {
    /// Runs a job to its end and sends its replies. Fails only if the control connection can no
    /// longer be used.
    pub(in crate::session) async fn run_transfer<F, J>(
        &mut self,
        label: Label,
        job: J,
    ) -> Result<Flow, ControlError>
    where
        J: FnOnce(Link) -> F,
        F: Future<Output = End>,
    {
        let control = match self.held.iter().any(|line| is_quit(line)) {
            true => ControlSide::Quitting(QuitTime::BeforeInputEnd),
            false => ControlSide::Open,
        };
        let _counted = self.context.metrics.transfer_begins(label.verb);
        let (mut running, link, mut signalled) = RunningTransfer::new(label, control);
        let _shown = self.chronicle.live().show(running.live());
        let mut job = pin!(job(link));
        let cut = self.control.cut().clone();
        // A client that floods its control connection must not starve its own job or the deadlines:
        // after each line the other branches have a turn.
        let mut had_line = false;

        let end = loop {
            let settle = running.settles_at();
            let read = !std::mem::take(&mut had_line);
            tokio::select! {
                biased;
                line = self.control.next_line(), if read && running.reads() && self.can_hold() => {
                    had_line = true;
                    let ended = match leaves(&line) {
                        // The data that has arrived came before this line.
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
                () = cut.cancelled(), if running.cancelled.is_none() => running.cancel(self.cut_reason()),
                () = sleep_until(settle.unwrap_or_else(Instant::now)), if settle.is_some() => self.settle(&mut running),
                end = &mut job => break end,
                () = std::future::ready(()), if !read => {}
            }
        };
        // A short job may have begun and ended in one poll: the 150 goes out before the 226.
        while let Ok(signal) = signalled.try_recv() {
            self.signalled(&mut running, signal).await;
        }
        self.conclude(running, end).await
    }

    /// Why transfers are cut.
    fn cut_reason(&self) -> CancelReason {
        match self.chronicle.live().ended() {
            true => CancelReason::Ended,
            false => CancelReason::Shutdown,
        }
    }

    /// Whether another line may be read while a transfer runs.
    fn can_hold(&self) -> bool {
        let bytes: usize = self.held.iter().map(Vec::len).sum();
        self.held.len() < MAX_HELD && bytes < MAX_HELD_BYTES
    }

    async fn signalled(&mut self, running: &mut RunningTransfer, signal: Signal) {
        match signal {
            Signal::Preliminary(reply) => {
                running.preliminary_sent = true;
                if running.control != ControlSide::Lost && self.control.reply(&reply).await.is_err()
                {
                    running.lose();
                }
            }
            Signal::Unused(setup) => {
                // As after any refusal: a port without a connection stays, a connection is closed.
                self.data = setup;
                self.drop_connected_data();
            }
            Signal::SameName => running.waits_for = Some(WaitsFor::Name),
            Signal::Publishing => running.waits_for = None,
            Signal::InputEnded { large } => {
                running.progress.note_input_arrived();
                running.settle_until(Instant::now() + self.settle_window(large));
            }
            Signal::Staged { large, settled } => {
                let until = Instant::now() + self.settle_window(large);
                running.settle_first(until, settled);
            }
            Signal::Checking => running.waits_for = Some(WaitsFor::Check),
            Signal::Checked => {
                running.waits_for = None;
                // The client was watched all the time: what has come is read, and no more is
                // waited for.
                running.settle_until(Instant::now());
            }
        }
    }

    /// Handles a line, or the loss of the control connection, while a job runs.
    async fn during(&mut self, running: &mut RunningTransfer, line: Result<Vec<u8>, ControlError>) {
        let line = match line {
            Ok(line) => line,
            // A reply that could not be sent came first.
            // An upload that outlives its control connection does not outlive a line that is too long.
            Err(ControlError::LineTooLong(_))
                if running.control == ControlSide::Lost && !running.committed() =>
            {
                return running.cancel(CancelReason::LineTooLong);
            }
            Err(_) if running.control == ControlSide::Lost => return,
            Err(ControlError::Ended) => return running.end_control(true),
            Err(ControlError::Torn) => return running.end_control(self.trusts_a_fin()),
            Err(ControlError::LineTooLong(_)) if running.control == ControlSide::Open => {
                running.control = ControlSide::LineTooLong;
                if !running.committed() {
                    running.cancel(CancelReason::LineTooLong);
                }
                return;
            }
            // Nothing counts after a QUIT.
            Err(ControlError::LineTooLong(_)) => return,
            Err(ControlError::Lost | ControlError::WriteDeadline) => return running.lose(),
        };
        let command = Command::parse(&line);
        let abor = command == Ok(Command::Abor);
        if running.control != ControlSide::Open && !abor {
            // After a QUIT only ABOR counts.
            return;
        }
        let held = self.held.back().map(|line| Command::parse(line));
        if held == Some(Err(CommandError::Http)) {
            // A browser has sent HTTP: no line after it is a command, not even an ABOR.
            return;
        }
        match command {
            // After a held command all commands except ABOR wait as well: replies go out in the
            // order of their commands.
            Ok(command)
                if (abor || self.held.is_empty())
                    && verdict(Phase::Transferring, &command) == Verdict::Run =>
            {
                let verb = command.verb();
                let answer = match command {
                    Command::Abor => {
                        running.abors += 1;
                        // An upload that is being published ignores it; one that waits for its name
                        // does not.
                        running.cancel(CancelReason::Abor);
                        return;
                    }
                    Command::Stat(_) => progress_report(running),
                    _ => success::ok(),
                };
                if self.control.reply_to(verb, &answer).await.is_err() {
                    running.lose();
                }
            }
            other => {
                if other == Ok(Command::Quit) {
                    running.control =
                        ControlSide::Quitting(match running.progress.input_arrived() {
                            true => QuitTime::AfterInputEnd,
                            false => QuitTime::BeforeInputEnd,
                        });
                }
                self.held.push_back(line);
            }
        }
    }

    /// Whether the user's devices are trusted to end TLS by a FIN.
    fn trusts_a_fin(&self) -> bool {
        self.logged_in()
            .is_some_and(|user| user.config.lenient_close)
    }

    fn settle_window(&self, large: bool) -> Duration {
        let least = self.context.options.timeouts.settle_min;
        settle_window(self.control.round_trip(), large, least)
    }

    /// The settle window has passed: is the client still there?
    fn settle(&mut self, running: &mut RunningTransfer) {
        match running.control {
            ControlSide::Open | ControlSide::Quitting(_) => match self.control.pending() {
                Pending::Nothing => {}
                // The input must be read first: it may be an ABOR, or the connection's end.
                Pending::Data | Pending::Closed if self.can_hold() => {
                    running.settle_until(Instant::now() + Duration::from_millis(1));
                    return;
                }
                Pending::Closed => running.lose(),
                Pending::Data if !self.control.established() => running.lose(),
                Pending::Data => {}
            },
            // A clean end may be followed by a reset.
            ControlSide::Closed if self.control.is_reset() => running.lose(),
            ControlSide::Closed | ControlSide::LineTooLong | ControlSide::Lost => {}
        }
        if running.cancelled.is_none() {
            running.commit();
        }
    }
}

/// How long the session waits after the end of the input to see whether the control connection ends
/// with it: at least `configured`.
fn settle_window(round_trip: Option<Duration>, large: bool, configured: Duration) -> Duration {
    let least = if large { SETTLE_LARGE } else { SETTLE_MIN };
    let window = round_trip.unwrap_or(SETTLE_MAX).clamp(least, SETTLE_MAX);
    window.max(configured)
}

fn is_quit(line: &[u8]) -> bool {
    Command::parse(line) == Ok(Command::Quit)
}

/// Whether this is a QUIT, or the end of the control connection.
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
