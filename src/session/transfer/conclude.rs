//! The replies to a transfer, and its line in the log.

use ftp_proto::Reply;

use crate::session::control::ControlError;
use crate::session::replies;
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
        let (reply, result) = match (&end, running.cancelled) {
            (End::Finished(text), _) => (
                Reply::new(226, format!("{text}, transfer {id}")),
                "finished".to_owned(),
            ),
            (End::Answered(reply), _) => (reply.clone(), "finished".to_owned()),
            (End::Aborted, reason) => {
                let (code, why) = match reason {
                    Some(CancelReason::Abor) | None => (426, "aborted by the client"),
                    Some(CancelReason::ControlEnded) => (
                        426,
                        "broken off: the control connection was closed before its end",
                    ),
                    Some(CancelReason::ControlLost) => (426, "control connection lost"),
                    Some(CancelReason::Shutdown) => (426, "cut: the server is shutting down"),
                    Some(CancelReason::LineTooLong) => (426, "cut: the command line is too long"),
                };
                (
                    Reply::new(code, format!("{path}: transfer {id} {why}")),
                    why.to_owned(),
                )
            }
            (End::Failed(failure), _) => (failure_reply(&running, failure), failure.to_string()),
        };
        let result = match (&end, running.cancelled) {
            (End::Aborted, Some(reason)) => result + running.remedy(reason),
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
        if running.control != ControlSide::LineTooLong {
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

fn failure_reply(running: &RunningTransfer, failure: &TransferError) -> Reply {
    let path = &running.label.path;
    let mut reply = match failure {
        TransferError::Object(error) => replies::object_error(path, error),
        TransferError::Data(error) => replies::data_error(error),
        TransferError::Broken(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Reply::new(
                426,
                format!("{path}: data connection broken: {error}, so it was not taken for whole"),
            )
        }
        TransferError::Broken(_) => Reply::new(
            426,
            format!("{path}: data connection broken, nothing was stored or all was not sent"),
        ),
        TransferError::Stalled(after) => Reply::new(
            426,
            format!("{path}: no data moved for {} s", after.as_secs()),
        ),
        TransferError::Refused(reply) => reply.clone(),
    };
    if running.preliminary_sent
        && let Some(last) = reply.lines.last_mut()
    {
        // The client has got a 150 for this transfer; the id leads to its line in the log.
        last.push_str(&format!(", transfer {}", running.label.id));
    }
    reply
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
