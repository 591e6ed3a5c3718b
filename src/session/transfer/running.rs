//! A running transfer as its session sees it.

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::session::live::LiveTransfer;
use crate::session::transfer::job::{ControlEnd, Label, Link, Signal, TransferProgress};

/// What a job reports to its session.
pub(super) type Signals = mpsc::UnboundedReceiver<Signal>;

/// Why the session has cancelled a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    Abor,
    /// The client closed its side.
    ControlEnded,
    /// The control connection was reset, or the client does not take its replies.
    ControlLost,
    Shutdown,
    /// An operator ends the session.
    Ended,
    LineTooLong,
}

/// The stages of an upload on the way to its publication. Other transfers stay at the first stage.
#[derive(Debug)]
pub(super) enum Stage {
    /// Bytes are transferred. The session holds the permit to publish.
    Moving(oneshot::Sender<()>),
    /// The input has ended, and the settle window passes.
    Settling {
        permit: oneshot::Sender<()>,
        until: Instant,
    },
    /// The job has the permit. The session cannot take it back.
    Committed,
}

/// What an upload waits for after all its bytes have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// The answer to the question before it is published.
    Check,
    /// Another session that writes the same name.
    Name,
}

/// The state of the control connection while a job runs. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlSide {
    /// Lines are read.
    Open,
    /// QUIT is among the held lines. Of the lines after it only ABOR counts.
    Quitting(QuitTime),
    /// Nothing more is read. The client may still take replies.
    Closed,
    /// As `Closed`, by a line that was too long: the session ends after the final reply.
    LineTooLong,
    /// No reply reaches the client.
    Lost,
}

/// When the QUIT came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QuitTime {
    /// In advance: it says nothing about the data.
    BeforeInputEnd,
    AfterInputEnd,
}

/// What the session knows of its running job.
pub(super) struct RunningTransfer {
    pub(super) label: Label,
    pub(super) started: Instant,
    pub(super) progress: TransferProgress,
    pub(super) stage: Stage,
    pub(super) control: ControlSide,
    abort: CancellationToken,
    /// The first reason to cancel the job. An upload with the permit can still be cancelled while
    /// it waits for another session that writes the same name.
    pub(super) cancelled: Option<CancelReason>,
    /// The number of ABORs to be answered after the final reply.
    pub(super) abors: u32,
    /// Whether the client has got the 150.
    pub(super) preliminary_sent: bool,
    /// What an upload waits for after all its bytes have come.
    pub(super) waits_for: Option<WaitsFor>,
    /// Learns of the end of the settle window before the permit is given.
    settled: Option<oneshot::Sender<()>>,
}

impl RunningTransfer {
    /// A job that begins, its side of the link, and the receiver of its signals. A QUIT may have
    /// come already, among the lines that were held during the previous transfer.
    pub(super) fn new(label: Label, control: ControlSide) -> (RunningTransfer, Link, Signals) {
        #[expect(
            clippy::disallowed_methods,
            reason = "a transfer sends each signal once"
        )]
        let (signals, signalled) = mpsc::unbounded_channel();
        let (permit, permitted) = oneshot::channel();
        let abort = CancellationToken::new();
        let progress = TransferProgress::default();
        let link = Link {
            abort: abort.clone(),
            signals,
            permit: permitted,
            progress: progress.clone(),
        };
        let running = RunningTransfer {
            label,
            started: Instant::now(),
            progress,
            stage: Stage::Moving(permit),
            control,
            abort,
            cancelled: None,
            abors: 0,
            preliminary_sent: false,
            waits_for: None,
            settled: None,
        };
        (running, link, signalled)
    }

    /// What is shown of it while it runs.
    pub(super) fn live(&self) -> LiveTransfer {
        LiveTransfer::new(
            self.label.id.as_str(),
            self.label.verb,
            &self.label.path.to_string(),
            self.label.direction(),
            self.progress.clone(),
        )
    }

    pub(super) fn cancel(&mut self, reason: CancelReason) {
        self.cancelled.get_or_insert(reason);
        self.abort.cancel();
    }

    /// Whether lines are read.
    pub(super) fn reads(&self) -> bool {
        matches!(self.control, ControlSide::Open | ControlSide::Quitting(_))
    }

    /// The control connection can no longer be used.
    pub(super) fn lose(&mut self) {
        self.control = ControlSide::Lost;
        self.cancel_for_control(CancelReason::ControlLost);
    }

    /// The client has closed its side, cleanly or not.
    pub(super) fn end_control(&mut self, clean: bool) {
        let quit = match std::mem::replace(&mut self.control, ControlSide::Closed) {
            ControlSide::Quitting(time) => Some(time),
            _ => None,
        };
        let is_goodbye = match self.label.control_end {
            ControlEnd::BreaksOff => clean && quit == Some(QuitTime::AfterInputEnd),
            ControlEnd::NeedsQuit => quit.is_some(),
            ControlEnd::Ignored => true,
        };
        if !is_goodbye {
            self.cancel_for_control(CancelReason::ControlEnded);
        }
    }

    fn cancel_for_control(&mut self, reason: CancelReason) {
        if !self.committed() && self.label.control_end != ControlEnd::Ignored {
            self.cancel(reason);
        }
    }

    /// Whether the job has the permit.
    pub(super) fn committed(&self) -> bool {
        matches!(self.stage, Stage::Committed)
    }

    /// Begins or prolongs the settle window.
    pub(super) fn settle_until(&mut self, until: Instant) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Committed) {
            Stage::Moving(permit) | Stage::Settling { permit, .. } => {
                Stage::Settling { permit, until }
            }
            Stage::Committed => Stage::Committed,
        };
    }

    /// Begins a settle window after which the session keeps the permit, and says that it has passed.
    pub(super) fn settle_first(&mut self, until: Instant, settled: oneshot::Sender<()>) {
        self.settled = Some(settled);
        self.settle_until(until);
    }

    /// When the settle window ends. A cancelled job has none.
    pub(super) fn settles_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Settling { until, .. } if self.cancelled.is_none() => Some(until),
            _ => None,
        }
    }

    /// The settle window has passed: gives the permit to publish, or reports the end of a window
    /// that another follows. A job that has failed meanwhile takes neither, and reports its own
    /// failure.
    pub(super) fn commit(&mut self) {
        let permit = match std::mem::replace(&mut self.stage, Stage::Committed) {
            Stage::Moving(permit) | Stage::Settling { permit, .. } => permit,
            Stage::Committed => return,
        };
        match self.settled.take() {
            Some(settled) => {
                self.stage = Stage::Moving(permit);
                let _ = settled.send(());
            }
            None => {
                let _ = permit.send(());
            }
        }
    }

    /// For the operator: the configuration key that lets an upload that was cancelled so through.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        match (self.label.control_end, self.cancelled) {
            (
                ControlEnd::BreaksOff,
                Some(CancelReason::ControlEnded | CancelReason::ControlLost),
            ) => Some(
                "on_control_loss = \"publish\" of the mount publishes uploads of clients that end so",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::VirtualPath;
    use crate::object::TransferId;

    fn running(control_end: ControlEnd, control: ControlSide) -> (RunningTransfer, Link) {
        let label = Label {
            id: TransferId::generate(),
            verb: "STOR",
            path: VirtualPath::root(),
            location: None,
            control_end,
        };
        let (running, link, _) = RunningTransfer::new(label, control);
        (running, link)
    }

    #[test]
    fn only_a_quit_after_the_data_lets_an_upload_outlive_its_control_connection() {
        use ControlEnd::{BreaksOff, Ignored, NeedsQuit};
        let open = ControlSide::Open;
        let before = ControlSide::Quitting(QuitTime::BeforeInputEnd);
        let after = ControlSide::Quitting(QuitTime::AfterInputEnd);
        for (control_end, control, clean, continues) in [
            (BreaksOff, open, true, false),
            (BreaksOff, before, true, false),
            (BreaksOff, after, true, true),
            (BreaksOff, after, false, false),
            (NeedsQuit, open, true, false),
            (NeedsQuit, before, false, true),
            (Ignored, open, false, true),
        ] {
            let (mut running, link) = running(control_end, control);
            running.end_control(clean);
            let case = format!("{control_end:?}, {control:?}, clean: {clean}");
            assert_eq!(running.control, ControlSide::Closed, "{case}");
            assert_eq!(running.cancelled.is_none(), continues, "{case}");
            assert_eq!(link.abort.is_cancelled(), !continues, "{case}");
        }
    }

    #[test]
    fn the_permit_is_given_once_and_nothing_takes_it_back() {
        let (mut running, mut link) = running(ControlEnd::BreaksOff, ControlSide::Open);
        let until = Instant::now();
        running.settle_until(until);
        assert_eq!(running.settles_at(), Some(until));
        assert!(link.permit.try_recv().is_err());
        running.commit();
        assert!(link.permit.try_recv().is_ok() && running.committed());
        running.settle_until(until);
        assert_eq!(running.settles_at(), None);
        running.lose();
        assert!(running.cancelled.is_none() && running.control == ControlSide::Lost);
    }

    #[test]
    fn the_permit_of_an_upload_that_is_checked_follows_a_second_window() {
        let (mut running, mut link) = running(ControlEnd::BreaksOff, ControlSide::Open);
        let (settled, mut window) = oneshot::channel();
        running.settle_first(Instant::now(), settled);
        running.commit();
        assert!(window.try_recv().is_ok() && link.permit.try_recv().is_err());
        assert!(!running.committed() && running.settles_at().is_none());
        running.settle_until(Instant::now());
        running.commit();
        assert!(link.permit.try_recv().is_ok() && running.committed());
    }

    #[test]
    fn a_cancelled_job_keeps_its_first_reason_and_no_settle_window() {
        let (mut running, mut link) = running(ControlEnd::BreaksOff, ControlSide::Open);
        running.settle_until(Instant::now());
        running.cancel(CancelReason::Abor);
        running.lose();
        assert_eq!(running.cancelled, Some(CancelReason::Abor));
        assert_eq!(running.settles_at(), None);
        // The permit stays with the session: the job ends as aborted, not as one whose session is gone.
        assert!(link.abort.is_cancelled());
        let none = link.permit.try_recv();
        assert_eq!(none, Err(oneshot::error::TryRecvError::Empty));
    }
}
