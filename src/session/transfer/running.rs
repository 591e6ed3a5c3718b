//! A running transfer as its session sees it.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::session::transfer::job::{ControlEnd, Label, TransferProgress};

/// Why the session has cancelled a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CancelReason {
    Abor,
    /// The client closed its side.
    ControlEnded,
    /// It was reset, or the client does not take its replies.
    ControlLost,
    Shutdown,
    LineTooLong,
}

/// Whether QUIT is among the held lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quit {
    No,
    /// It was sent in advance, and says nothing of the data.
    BeforeInputEnd,
    AfterInputEnd,
}

/// The control connection, as a running job has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ControlSide {
    /// Lines are read.
    Open,
    /// Nothing more is read. The client may still take replies.
    Ended,
    /// No reply reaches the client.
    Lost,
}

/// What the session knows of its running job.
pub(super) struct RunningTransfer {
    pub(super) label: Label,
    pub(super) started: Instant,
    pub(super) progress: TransferProgress,
    pub(super) abort: CancellationToken,
    pub(super) permit: Option<oneshot::Sender<()>>,
    pub(super) cancelled: Option<CancelReason>,
    /// ABORs to be answered behind the final reply.
    pub(super) abors: u32,
    pub(super) settle: Option<Instant>,
    pub(super) quit: Quit,
    pub(super) control: ControlSide,
    /// A line was too long: the connection ends behind the final reply.
    pub(super) rubbish: bool,
    /// Whether the client was told that it begins.
    pub(super) begun: bool,
    /// Whether an upload that may be published waits for another session of its name.
    pub(super) waits_for_name: bool,
}

impl RunningTransfer {
    pub(super) fn cancel(&mut self, reason: CancelReason) {
        self.cancelled.get_or_insert(reason);
        self.abort.cancel();
    }

    /// The control connection is of no use any more.
    pub(super) fn lose(&mut self) {
        self.control = ControlSide::Lost;
        self.cancel_for_control(CancelReason::ControlLost);
    }

    /// The client has closed its side, in the clean way or not.
    pub(super) fn end_control(&mut self, clean: bool) {
        self.control = ControlSide::Ended;
        let is_goodbye = match self.label.control_end {
            ControlEnd::BreaksOff => clean && self.quit == Quit::AfterInputEnd,
            ControlEnd::NeedsQuit => self.quit != Quit::No,
            ControlEnd::Ignored => true,
        };
        if !is_goodbye {
            self.cancel_for_control(CancelReason::ControlEnded);
        }
    }

    pub(super) fn cancel_for_control(&mut self, reason: CancelReason) {
        if !self.committed() && self.label.control_end != ControlEnd::Ignored {
            self.cancel(reason);
        }
    }

    /// Whether the permit was given: no way back.
    pub(super) fn committed(&self) -> bool {
        self.permit.is_none()
    }

    /// For the operator: which key lets an upload of this kind through.
    pub(super) fn remedy(&self, reason: CancelReason) -> &'static str {
        match (self.label.control_end, reason) {
            (ControlEnd::BreaksOff, CancelReason::ControlEnded | CancelReason::ControlLost) => {
                "; on_control_loss = \"publish\" of the mount publishes uploads of clients that end so"
            }
            _ => "",
        }
    }
}
