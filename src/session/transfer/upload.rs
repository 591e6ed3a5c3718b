//! STOR, STOU, APPE (RFC 959, 4.1.3; 1123, 4.1.2.9): data connection → [`Upload`](crate::object::Upload).
//!
//! An upload begins at byte 0, after bytes of the existing object, or at the end of an interrupted
//! upload of the same user ([`UploadStart`]). If it ends before it is published, it is dropped: its
//! bytes are then kept for a resume, or removed.

use crate::namespace::options::ControlLoss;
use crate::namespace::{Mount, Permission, Resolved, VirtualPath};
use crate::object::{
    AppendTo, Condition, Location, ObjectInfo, ResumableUpload, ResumeScope, TransferId,
    UploadOptions,
};

use crate::session::control::ControlError;
use crate::session::occupant::{file_or_undisclosed, refuse_directory};
use crate::session::replies::{Refusal, success};
use crate::session::reported::ReportedLength;
use crate::session::resolve::{check_offset, existing, file_at, names_directory, require};
use crate::session::resume::{OwnUpload, ResumeAt, refuse_later, shows_files};
use crate::session::state::{Flow, Session, Start};
use crate::session::transfer::job::{ControlEnd, End, Label, Link};
use crate::session::transfer::upload_job::{UploadJob, UploadStart};

/// What an upload does to the existing object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// STOR.
    Replace,
    /// REST n, STOR.
    From(u64),
    /// APPE.
    Append,
}

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

    /// Checks everything that can be refused before the data connection opens. Nothing is written.
    async fn prepare_upload(&mut self, argument: &str, mode: Mode) -> Result<UploadJob, Refusal> {
        if matches!(self.start, Start::Range { .. }) {
            return Err(Refusal::RangBeforeStor);
        }
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Write)?;
        let (mount, location) = file_at(&path, &resolved)?;
        if let Mode::From(offset) = mode {
            check_offset(&path, offset)?;
        }
        // A file of that name would exist next to the directory that is meant, or a directory above
        // a mount would hide it.
        if names_directory(argument) || self.user()?.namespace.holds_mount(&path) {
            return Err(Refusal::IsDirectory(path));
        }
        let convert = self.converts(&mount);
        let resumes = match mode {
            Mode::Replace => false,
            Mode::From(_) => true,
            // After SIZE has reported the length of an interrupted upload.
            Mode::Append => self.knows_upload(&path),
        };
        if convert && resumes {
            return Err(Refusal::RestInAscii);
        }
        let mut condition = Condition::None;
        let mut append = None;
        let overwrite = resolved.allows(Permission::Overwrite);
        let keep = if convert { None } else { self.keep(&mount) };
        let shows = shows_files(mount.permissions);
        match mode {
            Mode::Replace if overwrite => {}
            Mode::Replace => {
                // The HEAD saves the client from sending a gigabyte for a refusal. The condition
                // makes sure that only one of two parallel uploads wins.
                condition = Condition::IfAbsent;
                if file_or_undisclosed(&path, &location).await?.is_some() {
                    return Err(Refusal::PermissionDenied(path, Permission::Overwrite));
                }
            }
            Mode::From(offset) => {
                if !shows && !resolved.allows(Permission::Append) {
                    // Nothing but their own upload can be resumed: the answer must not depend on
                    // the object.
                    let own = match &keep {
                        Some(keep) => Box::pin(self.own_upload(&path, keep, &location)).await?,
                        None => None,
                    };
                    own.ok_or_else(|| Refusal::NothingToResume(path.clone()))?;
                }
                let found = match &keep {
                    Some(keep) => {
                        let from = ResumeAt::Byte(offset);
                        Box::pin(self.check_resume(&path, &resolved, keep, &location, from))
                            .await?;
                        match self.kept(&path, keep, &location).await? {
                            (Some(kept), found) => {
                                if found.is_none() {
                                    refuse_directory(&path, &resolved, &location).await?;
                                }
                                let start =
                                    self.resume(&path, &resolved, keep, kept, found, offset)?;
                                return self.job(path, &mount, location, start, false);
                            }
                            // The offset is that of an upload, not of the object that may be there.
                            (None, _) if self.knows_upload(&path) => {
                                return Err(Refusal::OtherLength(path));
                            }
                            (None, found) => found,
                        }
                    }
                    None => existing(&path, &location).await?,
                };
                match found {
                    Some(info) if offset <= info.size => {
                        require(&path, &resolved, Permission::Append)?;
                        self.refuse_rest_of_lost(&path, &location)?;
                        if offset < info.size {
                            require(&path, &resolved, Permission::Overwrite)?;
                        }
                        append = Some(AppendTo { info, keep: offset });
                    }
                    _ if !shows => return Err(Refusal::NothingToResume(path)),
                    found => {
                        let end = found.map_or(0, |info| info.size);
                        return Err(Refusal::RestBeyondEnd(path, end));
                    }
                }
            }
            Mode::Append => {
                if let Some(keep) = &keep {
                    Box::pin(self.check_resume(&path, &resolved, keep, &location, ResumeAt::End))
                        .await?;
                    if let Some(ReportedLength::Upload(length)) = self.reported.of(&path) {
                        self.begins_at(&path, length)?;
                        let (Some(kept), found) = self.kept(&path, keep, &location).await? else {
                            return Err(Refusal::OtherLength(path));
                        };
                        if !kept.resumes_at(length) {
                            return Err(Refusal::OtherLength(path));
                        }
                        if found.is_none() {
                            refuse_directory(&path, &resolved, &location).await?;
                        }
                        let start = self.resume(&path, &resolved, keep, kept, found, length)?;
                        return self.job(path, &mount, location, start, false);
                    }
                    refuse_later(&path, keep, &location).await?;
                }
                match file_or_undisclosed(&path, &location).await? {
                    Some(info) => {
                        require(&path, &resolved, Permission::Append)?;
                        self.refuse_rest_of_lost(&path, &location)?;
                        let keep = info.size;
                        append = Some(AppendTo { info, keep });
                    }
                    None => condition = Condition::IfAbsent,
                }
                self.begins_at(&path, append.as_ref().map_or(0, |append| append.keep))?;
            }
        }
        if append.is_none() {
            refuse_directory(&path, &resolved, &location).await?;
        }
        let start = UploadStart::New(Box::new(UploadOptions {
            id: TransferId::generate(),
            condition,
            append,
            metadata: Vec::new(),
            keep,
        }));
        self.job(path, &mount, location, start, convert)
    }

    /// Refuses to extend an object if a STOR over it broke off and there is no interrupted upload:
    /// the client may be sending the rest of that STOR.
    fn refuse_rest_of_lost(&self, path: &VirtualPath, location: &Location) -> Result<(), Refusal> {
        match self.transfers_of(location)?.upload_broke_off() {
            true => Err(Refusal::UploadDiscarded(path.clone())),
            false => Ok(()),
        }
    }

    /// Refuses an APPE after the REST of another offset: what the client sends belongs after that
    /// byte.
    fn begins_at(&self, path: &VirtualPath, end: u64) -> Result<(), Refusal> {
        match self.start {
            Start::Offset(offset) if offset != end => Err(Refusal::AppeNotAtEnd(path.clone())),
            _ => Ok(()),
        }
    }

    /// The name holds the transfer's own id, so it is new; the condition makes sure.
    fn prepare_unique(&mut self, argument: Option<&str>) -> Result<UploadJob, Refusal> {
        if self.start != Start::Beginning {
            return Err(Refusal::RestBeforeStou);
        }
        let id = TransferId::generate();
        let (path, resolved) = self.resolve(&format!("{}.{id}", argument.unwrap_or("stou")))?;
        require(&path, &resolved, Permission::Write)?;
        let (mount, location) = file_at(&path, &resolved)?;
        let convert = self.converts(&mount);
        let start = UploadStart::New(Box::new(UploadOptions {
            id,
            condition: Condition::IfAbsent,
            append: None,
            metadata: Vec::new(),
            keep: if convert { None } else { self.keep(&mount) },
        }));
        let mut job = self.job(path, &mount, location, start, convert)?;
        job.opening = success::unique_name(&job.path);
        Ok(job)
    }

    fn job(
        &mut self,
        path: VirtualPath,
        mount: &Mount,
        location: Location,
        start: UploadStart,
        convert: bool,
    ) -> Result<UploadJob, Refusal> {
        let data = self.take_data()?;
        let state = self.state_of(mount);
        let (id, from) = match &start {
            UploadStart::New(options) => {
                let keep = options.append.as_ref().map(|append| append.keep);
                (options.id.clone(), keep)
            }
            UploadStart::Kept { kept, .. } => (kept.transfer(), Some(kept.reported_len())),
        };
        // The byte at which an upload begins reveals the length of the object that it is appended
        // to.
        let from = from.filter(|_| shows_files(mount.permissions));
        let opening = success::ready_for(&path, from);
        Ok(UploadJob {
            path,
            location,
            id,
            start,
            data,
            budget: self.context.budget.clone(),
            timeouts: self.context.options.timeouts.clone(),
            part_size: self.context.options.part_size,
            convert,
            control_end: match mount.on_control_loss {
                ControlLoss::Keep => ControlEnd::BreaksOff,
                ControlLoss::Publish => ControlEnd::Ignored,
            },
            shows_length: shows_files(mount.permissions),
            opening,
            state,
        })
    }

    /// Resumes an interrupted upload if the client begins at its end.
    fn resume(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        keep: &ResumeScope,
        kept: Box<ResumableUpload>,
        found: Option<ObjectInfo>,
        offset: u64,
    ) -> Result<UploadStart, Refusal> {
        if found.is_some() && !resolved.allows(Permission::Overwrite) && !kept.appends() {
            return Err(Refusal::PermissionDenied(
                path.clone(),
                Permission::Overwrite,
            ));
        }
        if !kept.resumes_at(offset) {
            return Err(self.refuse_resume(path, resolved, &OwnUpload::Interrupted(kept)));
        }
        if !kept.fits_into(&self.context.budget) {
            return Err(Refusal::ResumeTooLarge(path.clone()));
        }
        Ok(UploadStart::Kept {
            keep: keep.clone(),
            again: kept.reported_len() + kept.overlap() - offset,
            kept,
        })
    }
}
