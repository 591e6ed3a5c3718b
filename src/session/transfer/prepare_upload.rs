//! What is checked before an upload opens its data connection, and how the upload begins.
//!
//! An upload begins at byte 0, after bytes of the existing object, or at the end of an interrupted
//! upload of the same user ([`UploadStart`]).

use std::sync::Arc;

use crate::events::Direction;
use crate::namespace::options::ControlLoss;
use crate::namespace::{Mount, Permission, Resolved, VirtualPath};
use crate::object::{
    AppendTo, Condition, Location, ObjectInfo, ResumableUpload, ResumeScope, TransferId,
    UploadOptions,
};

use crate::session::occupant::{file_or_undisclosed, refuse_directory};
use crate::session::replies::{Refusal, success};
use crate::session::reported::ReportedLength;
use crate::session::resolve::{
    check_file_size, check_name, check_offset, existing, file_at, names_directory, require,
};
use crate::session::resume::{OwnUpload, ResumeAt, refuse_later, shows_files};
use crate::session::state::{Session, Start};
use crate::session::transfer::job::ControlEnd;
use crate::session::transfer::upload_job::{UploadJob, UploadStart};

/// What an upload does to the existing object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// STOR.
    Replace,
    /// REST n, STOR.
    From(u64),
    /// APPE.
    Append,
}

/// Where an upload goes.
struct UploadTarget {
    path: VirtualPath,
    resolved: Resolved,
    mount: Arc<Mount>,
    location: Location,
    /// Whether line ends are converted.
    convert: bool,
    /// The scope in which the upload can be resumed; `None` if it can't be.
    scope: Option<ResumeScope>,
    /// The same, also if it can't be resumed.
    record_scope: Option<ResumeScope>,
}

impl UploadTarget {
    fn require(&self, permission: Permission) -> Result<(), Refusal> {
        require(&self.path, &self.resolved, permission)
    }

    async fn refuse_directory(&self) -> Result<(), Refusal> {
        refuse_directory(&self.path, &self.resolved, &self.location).await
    }

    /// Whether the user may learn the size of a file there.
    fn shows_files(&self) -> bool {
        shows_files(self.mount.permissions)
    }

    /// A new upload with a new id.
    fn begin(&self, condition: Condition, append: Option<AppendTo>) -> UploadStart {
        self.begin_with(TransferId::generate(), condition, append)
    }

    fn begin_with(
        &self,
        id: TransferId,
        condition: Condition,
        append: Option<AppendTo>,
    ) -> UploadStart {
        UploadStart::New(Box::new(UploadOptions {
            id,
            condition,
            append,
            metadata: Vec::new(),
            staged: self
                .record_scope
                .as_ref()
                .and_then(|scope| scope.staged_at(&self.location)),
            keep: self.scope.clone(),
        }))
    }
}

impl Session {
    /// Checks everything that can be refused before the data connection opens. Nothing is written.
    pub(super) async fn prepare_upload(
        &mut self,
        argument: &str,
        mode: Mode,
    ) -> Result<UploadJob, Refusal> {
        let target = self.upload_target(argument, mode)?;
        let start = match mode {
            Mode::Replace => start_anew(&target).await?,
            Mode::From(offset) => self.start_at(&target, offset).await?,
            Mode::Append => self.start_at_end(&target).await?,
        };
        self.job(target, start)
    }

    /// The checks that need no request to the store.
    fn upload_target(&self, argument: &str, mode: Mode) -> Result<UploadTarget, Refusal> {
        if matches!(self.start, Start::Range { .. }) {
            return Err(Refusal::RangBeforeStor);
        }
        let target = self.writable(argument)?;
        if let Mode::From(offset) = mode {
            check_offset(&target.path, offset)?;
            check_file_size(&target.path, offset, self.max_file_size(&target.mount))?;
        }
        // A file of that name would exist next to the directory that is meant, or a directory above
        // a mount would hide it.
        if names_directory(argument) || self.user()?.namespace.holds_mount(&target.path) {
            return Err(Refusal::IsDirectory(target.path));
        }
        let resumes = match mode {
            Mode::Replace => false,
            Mode::From(_) => true,
            // After SIZE has reported the length of an interrupted upload.
            Mode::Append => self.knows_upload(&target.path),
        };
        match target.convert && resumes {
            true => Err(Refusal::RestInAscii),
            false => Ok(target),
        }
    }

    /// A file that the user may write.
    fn writable(&self, argument: &str) -> Result<UploadTarget, Refusal> {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Write)?;
        let (mount, location) = file_at(&path, &resolved)?;
        check_name(&path, &mount)?;
        let convert = self.converts(&mount);
        let scope = match convert {
            true => None,
            false => self.resume_scope_in(&resolved),
        };
        Ok(UploadTarget {
            record_scope: self.record_scope_in(&resolved),
            path,
            resolved,
            mount,
            location,
            convert,
            scope,
        })
    }

    /// REST and STOR: resumes the interrupted upload that ends at the offset, or else begins after
    /// that number of bytes of the object.
    async fn start_at(
        &mut self,
        target: &UploadTarget,
        offset: u64,
    ) -> Result<UploadStart, Refusal> {
        let UploadTarget { path, location, .. } = target;
        if !target.shows_files() && !target.resolved.allows(Permission::Append) {
            // Nothing but their own upload can be resumed: the answer must not depend on the
            // object.
            let own = match &target.scope {
                Some(scope) => Box::pin(self.own_upload(path, scope, location)).await?,
                None => None,
            };
            own.ok_or_else(|| Refusal::NothingToResume(path.clone()))?;
        }
        let found = match &target.scope {
            Some(scope) => {
                let from = ResumeAt::Byte(offset);
                Box::pin(self.check_resume(path, &target.resolved, scope, location, from)).await?;
                match self.interrupted_upload(path, scope, location).await? {
                    (Some(interrupted), found) => {
                        return self.resume(target, scope, interrupted, found, offset).await;
                    }
                    // The offset is that of an upload, not of the object that may be there.
                    (None, _) if self.knows_upload(path) => {
                        return Err(Refusal::OtherLength(path.clone()));
                    }
                    (None, found) => found,
                }
            }
            None => existing(path, location).await?,
        };
        match found {
            Some(info) if offset <= info.size => {
                target.require(Permission::Append)?;
                self.refuse_rest_of_lost(path, location)?;
                if offset < info.size {
                    target.require(Permission::Overwrite)?;
                }
                Ok(target.begin(Condition::None, Some(AppendTo { info, keep: offset })))
            }
            _ if !target.shows_files() => Err(Refusal::NothingToResume(path.clone())),
            found => {
                let end = found.map_or(0, |info| info.size);
                Err(Refusal::RestBeyondEnd(path.clone(), end))
            }
        }
    }

    /// APPE: resumes the interrupted upload whose length SIZE has reported, or else begins at the
    /// end of the object.
    async fn start_at_end(&mut self, target: &UploadTarget) -> Result<UploadStart, Refusal> {
        let UploadTarget { path, location, .. } = target;
        if let Some(scope) = &target.scope {
            let from = ResumeAt::End;
            Box::pin(self.check_resume(path, &target.resolved, scope, location, from)).await?;
            if let Some(ReportedLength::Upload(length)) = self.reported.of(path) {
                self.begins_at(path, length)?;
                return match self.interrupted_upload(path, scope, location).await? {
                    (Some(interrupted), found) if interrupted.resumes_at(length) => {
                        self.resume(target, scope, interrupted, found, length).await
                    }
                    _ => Err(Refusal::OtherLength(path.clone())),
                };
            }
            refuse_later(path, scope, location).await?;
        }
        let Some(info) = file_or_undisclosed(path, location).await? else {
            self.begins_at(path, 0)?;
            target.refuse_directory().await?;
            return Ok(target.begin(Condition::IfAbsent, None));
        };
        target.require(Permission::Append)?;
        self.refuse_rest_of_lost(path, location)?;
        let end = info.size;
        self.begins_at(path, end)?;
        Ok(target.begin(Condition::None, Some(AppendTo { info, keep: end })))
    }

    /// Resumes an interrupted upload if the client begins at its end. `found` is the object.
    async fn resume(
        &mut self,
        target: &UploadTarget,
        scope: &ResumeScope,
        interrupted: Box<ResumableUpload>,
        found: Option<ObjectInfo>,
        offset: u64,
    ) -> Result<UploadStart, Refusal> {
        let UploadTarget { path, resolved, .. } = target;
        match found {
            None => target.refuse_directory().await?,
            Some(_) if !interrupted.appends() => target.require(Permission::Overwrite)?,
            Some(_) => {}
        }
        if !interrupted.resumes_at(offset) {
            let own = OwnUpload::Interrupted(interrupted);
            return Err(self.refuse_resume(path, resolved, &own));
        }
        if !interrupted.fits_into(&self.context.budget) {
            return Err(Refusal::ResumeTooLarge(path.clone()));
        }
        Ok(UploadStart::Resumed {
            scope: scope.clone(),
            resent: interrupted.reported_len() + interrupted.overlap() - offset,
            interrupted,
        })
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
    pub(super) fn prepare_unique(&mut self, argument: Option<&str>) -> Result<UploadJob, Refusal> {
        if self.start != Start::Beginning {
            return Err(Refusal::RestBeforeStou);
        }
        let id = TransferId::generate();
        let target = self.writable(&format!("{}.{id}", argument.unwrap_or("stou")))?;
        let start = target.begin_with(id, Condition::IfAbsent, None);
        let mut job = self.job(target, start)?;
        job.opening = success::unique_name(&job.path);
        Ok(job)
    }

    fn job(&mut self, target: UploadTarget, start: UploadStart) -> Result<UploadJob, Refusal> {
        let shows_length = target.shows_files();
        let (id, from) = match &start {
            UploadStart::New(options) => {
                let end = options.append.as_ref().map(|append| append.keep);
                (options.id.clone(), end)
            }
            UploadStart::Resumed { interrupted, .. } => {
                (interrupted.transfer(), Some(interrupted.reported_len()))
            }
        };
        let max_file_size = self.max_file_size(&target.mount);
        check_file_size(&target.path, from.unwrap_or(0), max_file_size)?;
        let permit = self.transfer_permit(&target.path, Direction::In)?;
        let data = self.take_data()?;
        // The byte at which an upload begins reveals the length of the object that it is appended
        // to.
        let from = from.filter(|_| shows_length);
        let opening = success::ready_for(&target.path, from);
        Ok(UploadJob {
            path: target.path,
            part_size: target.location.part_size(),
            location: target.location,
            id,
            start,
            data,
            permit,
            record_scope: target.record_scope,
            check: self.check()?.filter(|_| !target.resolved.is_temporary()),
            budget: self.context.budget.clone(),
            timeouts: self.context.options.timeouts.clone(),
            convert: target.convert,
            control_end: match target.mount.on_control_loss {
                ControlLoss::Keep => ControlEnd::BreaksOff,
                ControlLoss::Publish => ControlEnd::Ignored,
            },
            shows_length,
            max_file_size,
            opening,
        })
    }
}

/// STOR: the whole file.
async fn start_anew(target: &UploadTarget) -> Result<UploadStart, Refusal> {
    let condition = match target.resolved.allows(Permission::Overwrite) {
        true => Condition::None,
        false => {
            // The HEAD saves the client from sending a gigabyte for a refusal. The condition makes
            // sure that only one of two parallel uploads wins.
            if file_or_undisclosed(&target.path, &target.location)
                .await?
                .is_some()
            {
                let path = target.path.clone();
                return Err(Refusal::PermissionDenied(path, Permission::Overwrite));
            }
            Condition::IfAbsent
        }
    };
    target.refuse_directory().await?;
    Ok(target.begin(condition, None))
}
