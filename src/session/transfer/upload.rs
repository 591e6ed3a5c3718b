//! STOR, STOU, APPE (RFC 959, 4.1.3; 1123, 4.1.2.9): data connection → [`Upload`](crate::object::Upload).
//!
//! `prepare_upload` checks the command and finds out how the upload begins; the job then moves the
//! bytes. If it ends before it is published, it is dropped: its bytes are then stored for a resume,
//! or removed.

use crate::session::control::ControlError;
use crate::session::replies::Refusal;
use crate::session::state::{Flow, Session, Start};
use crate::session::transfer::job::{End, Label, Link};
use crate::session::transfer::prepare_upload::Mode;
use crate::session::transfer::upload_job::UploadJob;

impl Session {
    pub(in crate::session) async fn store(&mut self, argument: &str) -> Result<Flow, ControlError> {
        let mode = match self.start {
            Start::Offset(offset) => Mode::From(offset),
            // `prepare_upload` refuses a range.
            Start::Beginning | Start::Range { .. } => Mode::Replace,
        };
        self.upload(argument, mode, "STOR").await
    }

    pub(in crate::session) async fn append(
        &mut self,
        argument: &str,
    ) -> Result<Flow, ControlError> {
        self.upload(argument, Mode::Append, "APPE").await
    }

    async fn upload(
        &mut self,
        argument: &str,
        mode: Mode,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let prepared = self.prepare_upload(argument, mode).await;
        self.run_upload(prepared, verb).await
    }

    /// STOU (RFC 1123, 4.1.2.9): the 150 reports the new, unique name.
    pub(in crate::session) async fn store_unique(
        &mut self,
        argument: Option<&str>,
    ) -> Result<Flow, ControlError> {
        let prepared = self.prepare_unique(argument);
        self.run_upload(prepared, "STOU").await
    }

    async fn run_upload(
        &mut self,
        prepared: Result<UploadJob, Refusal>,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let job = match prepared {
            Ok(job) => job,
            Err(refusal) => return self.refuse_transfer(refusal).await,
        };
        let path = job.path.clone();
        let label = Label {
            id: job.id.clone(),
            verb,
            path: job.path.clone(),
            location: Some(job.location.clone()),
            control_end: job.control_end,
        };
        let replaces = verb == "STOR" && job.replaces();
        let transfers = match self.transfers_of(&job.location) {
            Ok(transfers) => transfers,
            Err(refusal) => return self.refuse_transfer(refusal).await,
        };
        let mut published = false;
        let seen = &mut published;
        let run = async move |link: Link| {
            let progress = link.progress.clone();
            let end = Box::pin(job.run(link)).await;
            match end {
                End::Finished(_) => {
                    transfers.begins_anew();
                    *seen = true;
                }
                _ if replaces && progress.bytes() > 0 => transfers.upload_broke(),
                _ => {}
            }
            end
        };
        let flow = self.run_transfer(label, run).await;
        if published {
            self.reported.forget(&path);
        }
        flow
    }
}
