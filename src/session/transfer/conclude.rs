//! The replies to a transfer, and its line in the log.

use std::fmt;

use crate::namespace::VirtualPath;
use ftp_proto::Reply;

use crate::session::control::ControlError;
use crate::session::replies::{Refusal, success, with_transfer};
use crate::session::state::{Flow, Session};
use crate::session::transfer::job::{End, TransferError};
use crate::session::transfer::running::{CancelReason, ControlSide, RunningTransfer};

impl Session {
    /// The one final reply, the replies to the ABORs after it, and the log line.
    pub(super) async fn conclude(
        &mut self,
        running: RunningTransfer,
        end: End,
    ) -> Result<Flow, ControlError> {
        let id = &running.label.id;
        let path = &running.label.path;
        // After the 150 the id leads the client to the transfer's line in the log.
        let named = |reply: Reply| with_transfer(reply, id);
        let (reply, result) = match &end {
            End::Finished(reply) => (named(reply.clone()), "finished".to_owned()),
            End::Answered(reply) => (reply.clone(), "finished".to_owned()),
            End::Aborted => {
                let reason = running.cancelled.unwrap_or(CancelReason::Abor);
                let reply = named(reason.refusal(path).into());
                (reply, format!("{reason}{}", running.remedy(reason)))
            }
            End::Failed(error) => {
                let reply = Reply::from(error.refusal(path));
                let reply = match running.preliminary_sent {
                    true => named(reply),
                    false => reply,
                };
                (reply, error.to_string())
            }
        };
        self.log(&running, &end, &result);
        if running.control == ControlSide::Lost {
            return Err(ControlError::Lost);
        }
        self.control.reply(&reply).await?;
        for _ in 0..running.abors {
            self.control.reply(&success::abor_done()).await?;
        }
        if running.control != ControlSide::LineTooLong {
            return Ok(Flow::Continue);
        }
        self.control.reply(&Refusal::LineTooLong.into()).await?;
        Ok(Flow::Close)
    }

    fn log(&self, running: &RunningTransfer, end: &End, result: &str) {
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

impl TransferError {
    fn refusal(&self, path: &VirtualPath) -> Refusal {
        match self {
            TransferError::Object(error) => Refusal::store(path, error),
            TransferError::Publish(error) => Refusal::publish(path, error),
            TransferError::Data(error) => error.into(),
            TransferError::Broken(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Refusal::DataIncomplete(path.clone(), error.to_string())
            }
            TransferError::Broken(_) => Refusal::DataBroken(path.clone()),
            TransferError::Stalled(after) => Refusal::DataStalled(path.clone(), after.as_secs()),
            TransferError::Refused(refusal) => refusal.clone(),
        }
    }
}

impl CancelReason {
    fn refusal(self, path: &VirtualPath) -> Refusal {
        let refusal = match self {
            CancelReason::Abor => Refusal::Aborted,
            CancelReason::ControlEnded => Refusal::ControlEnded,
            CancelReason::ControlLost => Refusal::ControlLost,
            CancelReason::Shutdown => Refusal::TransferCut,
            CancelReason::LineTooLong => Refusal::LineTooLongInTransfer,
        };
        refusal(path.clone())
    }
}

/// The `result` of the log line.
impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CancelReason::Abor => "aborted by the client",
            CancelReason::ControlEnded => {
                "broken off: the control connection was closed before its end"
            }
            CancelReason::ControlLost => "control connection lost",
            CancelReason::Shutdown => "cut: the server is shutting down",
            CancelReason::LineTooLong => "cut: the command line is too long",
        })
    }
}

pub(super) fn progress_report(running: &RunningTransfer) -> Reply {
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
