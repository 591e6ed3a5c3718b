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
//! end of the grace period) is remembered as the [`CancelReason`], so a job that was aborted gets the reply of its reason.

mod conclude;
pub(in crate::session) mod download;
pub(in crate::session) mod job;
pub(in crate::session) mod list_format;
pub(in crate::session) mod lister;
pub(in crate::session) mod pump;
mod running;
pub(in crate::session) mod sink;
pub(in crate::session) mod tree_lister;
pub(in crate::session) mod upload;

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use ftp_proto::{Command, CommandError, Reply};

use crate::session::control::ControlError;
use crate::session::gate::{Phase, Verdict, verdict};
use crate::session::state::{Flow, Session};
use crate::session::transport::Pending;
use conclude::progress_report;
use job::{End, Label, Link, Signal};
use running::{CancelReason, ControlSide, QuitTime, RunningTransfer};

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
        let control = match self.held.iter().any(|line| is_quit(line)) {
            true => ControlSide::Quitting(QuitTime::BeforeInputEnd),
            false => ControlSide::Open,
        };
        let (mut running, link, mut signalled) = RunningTransfer::new(label, control);
        let mut job = pin!(job(link));
        let shutdown = self.context.cut.clone();
        // A client that floods its control connection must not keep its own job from being polled, nor its deadlines:
        // after each line it is the others' turn.
        let mut had_line = false;

        let end = loop {
            let settle = running.settles_at();
            let read = !std::mem::take(&mut had_line);
            tokio::select! {
                biased;
                line = self.control.next_line(), if read && running.reads() && self.can_hold() => {
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
                () = shutdown.cancelled(), if running.cancelled.is_none() => running.cancel(CancelReason::Shutdown),
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
                // As after any refusal: kept where nobody has connected, closed where somebody has.
                self.data = setup;
                self.drop_connected_data();
            }
            Signal::SameName => running.waits_for_name = true,
            Signal::Publishing => running.waits_for_name = false,
            Signal::InputEnded { large } => {
                running.progress.note_input_arrived();
                let least = self.context.options.timeouts.settle_min;
                let window = settle_window(self.control.round_trip(), large, least);
                running.settle_until(Instant::now() + window);
            }
        }
    }

    /// A line, or the loss of the control connection, while a job runs.
    async fn during(&mut self, running: &mut RunningTransfer, line: Result<Vec<u8>, ControlError>) {
        let line = match line {
            Ok(line) => line,
            // A reply that could not be sent came first.
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
            // Nothing counts after QUIT.
            Err(ControlError::LineTooLong(_)) => return,
            Err(ControlError::Lost | ControlError::WriteDeadline) => return running.lose(),
        };
        let command = Command::parse(&line);
        let abor = command == Ok(Command::Abor);
        if running.control != ControlSide::Open && !abor {
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
                        running.cancel(CancelReason::Abor);
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

    /// The settle window has passed: is the client still there?
    fn settle(&mut self, running: &mut RunningTransfer) {
        match running.control {
            ControlSide::Open | ControlSide::Quitting(_) => match self.control.pending() {
                Pending::Nothing => {}
                // What was sent must be read first: it may be an ABOR, or the connection's end.
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
