//! The replies to a transfer, and its event.

use crate::events::metrics::NO_VERB;
use crate::events::{Class, Event, Kind, Level, Representation};
use crate::namespace::VirtualPath;
use ftp_proto::Reply;
use ftp_proto::command::TransferType;

use crate::session::chronicle::{Names, describe};
use crate::session::control::ControlError;
use crate::session::replies::{Detail, Refusal, success, with_request, with_transfer};
use crate::session::state::{Flow, Session};
use crate::session::transfer::job::{End, Label, TransferError};
use crate::session::transfer::running::{CancelReason, ControlSide, RunningTransfer, WaitsFor};

impl Session {
    /// The event, the one final reply, and the replies to the ABORs after it.
    pub(super) async fn conclude(
        &mut self,
        running: RunningTransfer,
        end: End,
    ) -> Result<Flow, ControlError> {
        let reply = self.report_end(&running, &end);
        if running.control == ControlSide::Lost {
            return Err(ControlError::Lost);
        }
        self.control.reply(&reply).await?;
        for _ in 0..running.abors {
            let done = success::abor_done();
            self.control.reply_to("ABOR", &done).await?;
        }
        if running.control != ControlSide::LineTooLong {
            return Ok(Flow::Continue);
        }
        self.chronicle.ends(Refusal::LineTooLong.to_string());
        let last = Refusal::LineTooLong.into();
        self.control.reply_to(NO_VERB, &last).await?;
        Ok(Flow::Close)
    }

    /// Sends the event of a transfer, and returns its final reply, which ends in the event's id.
    fn report_end(&mut self, running: &RunningTransfer, end: &End) -> Reply {
        self.chronicle.begin(None);
        let label = &running.label;
        let bytes = running.progress.bytes();
        if let Some(direction) = label.direction() {
            let whole = matches!(end, End::Finished(_));
            self.chronicle.count(direction, bytes, whole);
        }
        let refusal = match end {
            End::Finished(reply) | End::Answered(reply) => {
                let level = match label.is_listing() {
                    true => Level::Debug,
                    false => Level::Info,
                };
                let mut event = self.event_of(running, label.kind(), level);
                event.code = Some(reply.code);
                event.class = Some(Class::Ok);
                self.chronicle.send(event);
                return match end {
                    End::Finished(_) => with_transfer(reply.clone(), &label.id),
                    _ => reply.clone(),
                };
            }
            End::Aborted => {
                let reason = running.cancelled.unwrap_or(CancelReason::Abor);
                reason.refusal(&label.path)
            }
            End::Failed(error) => error.refusal(&label.path),
        };
        // Without the 150 it is a refused command.
        let (kind, level) = match running.preliminary_sent {
            true => (label.kind(), Level::Warn),
            false => (Kind::Refused, self.level_of(refusal.class())),
        };
        let mut event = self.event_of(running, kind, level);
        describe(&mut event, &refusal);
        if let Some(remedy) = running.remedy() {
            event.detail = Some(remedy.into());
        }
        self.chronicle.send(event);
        match running.preliminary_sent {
            true => with_transfer(refusal.into(), &label.id),
            false => with_request(refusal.into(), &label.id),
        }
    }

    fn event_of(&self, running: &RunningTransfer, kind: Kind, level: Level) -> Event {
        let label = &running.label;
        let mut event = self.chronicle.event(kind, level);
        event.id = Some(label.id.as_str().into());
        event.verb = Some(label.verb);
        match &label.location {
            Some(location) => self.place_at(&mut event, &label.path, location),
            None => self.place(&mut event, &label.path, Names::File),
        }
        event.seconds = Some(running.started.elapsed().as_secs_f64());
        if kind == Kind::Refused {
            return event;
        }
        let object = running.progress.object();
        event.direction = label.direction();
        event.representation = label.direction().map(|_| self.representation());
        event.bytes = Some(running.progress.bytes());
        event.offset = object.offset;
        event.size = object.size;
        event.etag = object.etag.map(Into::into);
        event.version_id = object.version_id.map(Into::into);
        event.crc32 = object.crc32;
        event.detail = object.detail.map(Into::into);
        event
    }
}

impl Session {
    fn representation(&self) -> Representation {
        match self.transfer_type {
            TransferType::Ascii => Representation::Ascii,
            TransferType::Image => Representation::Binary,
        }
    }
}

impl Label {
    /// Whether it is a listing.
    fn is_listing(&self) -> bool {
        matches!(self.verb, "LIST" | "NLST" | "MLSD")
    }

    fn kind(&self) -> Kind {
        match self.is_listing() {
            true => Kind::Listing,
            false => Kind::Transfer,
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
            TransferError::Broken(error) => Refusal::DataBroken(path.clone(), Detail::of(error)),
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
            CancelReason::Ended => Refusal::TransferEnded,
            CancelReason::LineTooLong => Refusal::LineTooLongInTransfer,
        };
        refusal(path.clone())
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
    let waits_for = running.waits_for.map(|waits_for| match waits_for {
        WaitsFor::Check => "All bytes have come; the file is being checked",
        WaitsFor::Name => "All bytes have come; another session is writing this file",
    });
    lines.extend(waits_for.map(str::to_owned));
    lines.push("End".to_owned());
    Reply::lines(211, lines)
}
