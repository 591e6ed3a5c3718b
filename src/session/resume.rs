//! Resuming an interrupted upload: what SIZE, MLST, REST + STOR and APPE do with it
//! (docs/design/resume-protocol.md).
//!
//! To its user an interrupted upload is what a half-written file is on other servers: SIZE reports
//! its length, and the client resumes there. No other user sees it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::network_of;
use crate::namespace::{Permission, Permissions, Resolved, VirtualPath};
use crate::object::{
    EarlierUploads, Location, Lookup, ObjectError, ObjectInfo, ResumableUpload, ResumeScope,
    Staging, UploadSnapshot,
};

use crate::session::replies::Refusal;
use crate::session::reported::ReportedLength;
use crate::session::resolve::existing_object;
use crate::session::state::Session;

/// How long a session waits until an upload of this process that has broken off, or that it stops,
/// is stored for a resume. Parts in flight may take longer over a slow line; then the client has to
/// retry.
const EARLIER_WAIT: Duration = Duration::from_secs(70);

/// The unpublished upload of a user.
#[derive(Debug)]
pub(super) enum OwnUpload {
    /// The user has no upload with a byte to report.
    None,
    /// It runs in this process.
    Running(UploadSnapshot),
    /// Its record shows that another process may be writing it, for this number of seconds.
    InUse(u64),
    /// It has broken off.
    Interrupted(Box<ResumableUpload>),
}

/// What SIZE and MLST report of a file to a user who may write to it.
#[derive(Debug)]
pub(super) enum FileStatus {
    /// The object, if there is one.
    Object(Option<Box<ObjectInfo>>),
    /// Their own unpublished upload: its length, and when it last received a byte if that is known.
    Upload(u64, Option<jiff::Timestamp>),
}

impl Session {
    /// The scope of the user's uploads to a path, also if its mount keeps no interrupted uploads;
    /// `None` in no mount.
    pub(super) fn record_scope_in(&self, resolved: &Resolved) -> Option<ResumeScope> {
        let Resolved::Mounted { mount, .. } = resolved else {
            return None;
        };
        let user = self.logged_in()?;
        Some(ResumeScope {
            user: user.config.name.as_str().into(),
            peer: Some(self.control.peer.ip()),
            state_bucket: mount.state_bucket.clone(),
            over_object: self.context.options.resume.keep_over_object,
            staging: match self.context.before_publish {
                // It is asked about when it is renamed.
                Some(_) if resolved.is_temporary() => Staging::Direct,
                Some(_) => Staging::Staged,
                None => Staging::Direct,
            },
        })
    }

    /// The scope in which the user's uploads to a path can be resumed; `None` if its mount keeps
    /// none.
    pub(super) fn resume_scope_in(&self, resolved: &Resolved) -> Option<ResumeScope> {
        let keeps = matches!(resolved, Resolved::Mounted { mount, .. } if mount.keep_interrupted);
        self.record_scope_in(resolved).filter(|_| keeps)
    }

    /// [`resume_scope_in`](Self::resume_scope_in), if the user may write there: others cannot have an
    /// upload there.
    pub(super) fn writer_scope(&self, resolved: &Resolved) -> Option<ResumeScope> {
        let wanted = resolved.allows(Permission::Write);
        wanted.then(|| self.resume_scope_in(resolved)).flatten()
    }

    /// [`writer_scope`](Self::writer_scope), if the mount does not convert line ends: lengths are
    /// those of the stored bytes.
    pub(super) fn binary_writer_scope(&self, resolved: &Resolved) -> Option<ResumeScope> {
        match resolved {
            Resolved::Mounted { mount, .. } if !self.converts(mount) => self.writer_scope(resolved),
            _ => None,
        }
    }

    /// What SIZE and MLST report of a file. Notes the report in this session and this process.
    /// `object` asks for the object, in parallel.
    ///
    /// One user can resume the upload and download the object. If both exist, the upload's length
    /// is for the client that most likely sent it: the upload has broken off, and this client has
    /// the sender's address. If a client that downloads gets this length, `check_retrieve` refuses
    /// its RETR.
    pub(super) async fn file_status(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        scope: &ResumeScope,
        location: &Location,
        object: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<FileStatus, Refusal> {
        let (underway, info) = self.look(path, scope, location, object).await?;
        let resumes = match info {
            _ if !resolved.allows(Permission::Read) => true,
            _ if self.context.reported.downloads(&scope.user, location) => false,
            None => true,
            Some(_) => self.is_interrupted_here(&underway),
        };
        let seen = match underway {
            OwnUpload::Running(upload) if resumes => FileStatus::Upload(upload.size - 1, None),
            OwnUpload::Interrupted(interrupted) if resumes => {
                FileStatus::Upload(interrupted.reported_len(), Some(interrupted.written()))
            }
            OwnUpload::InUse(seconds) if resumes => {
                return Err(Refusal::OnOtherServer(path.clone(), seconds));
            }
            OwnUpload::None if !self.context.reported.was_reported(&scope.user, location) => {
                self.reported.forget(path);
                return Ok(FileStatus::Object(info.map(Box::new)));
            }
            _ => {
                let version = info.as_ref().map(|info| self.reported.version(info));
                self.reported.note(path, ReportedLength::Object(version));
                return Ok(FileStatus::Object(info.map(Box::new)));
            }
        };
        if let FileStatus::Upload(length, _) = seen {
            self.last_file.forget();
            self.reported.note(path, ReportedLength::Upload(length));
            self.context.reported.reported(&scope.user, location);
        }
        Ok(seen)
    }

    /// Whether an upload was sent from this client's address and has broken off, or receives no
    /// bytes any more.
    fn is_interrupted_here(&self, underway: &OwnUpload) -> bool {
        let here = network_of(self.control.peer.ip());
        let is_here = |peer: Option<IpAddr>| peer.is_some_and(|peer| network_of(peer) == here);
        let stalled = self.context.options.resume.stalled_after;
        match underway {
            OwnUpload::Running(upload) => upload.idle_for >= stalled && is_here(upload.peer),
            OwnUpload::Interrupted(interrupted) => is_here(interrupted.peer()),
            // The record shows that it was running, and not when its last byte came.
            OwnUpload::InUse(_) | OwnUpload::None => false,
        }
    }

    /// The user's unpublished upload of a file, and the object, which `object` asks for in
    /// parallel.
    pub(super) async fn look(
        &self,
        path: &VirtualPath,
        scope: &ResumeScope,
        location: &Location,
        object: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<(OwnUpload, Option<ObjectInfo>), Refusal> {
        let fail = |error: ObjectError| Refusal::store(path, &error);
        let earlier = scope.earlier_uploads(location);
        if let Some(upload) = earlier.running() {
            let info = object.await.map_err(fail)?;
            return Ok(match upload.has_begun() {
                true => (OwnUpload::Running(upload), info),
                false => (OwnUpload::None, info),
            });
        }
        wait_until_stored(path, &earlier).await?;
        let (lookup, info) = Box::pin(scope.lookup(location, object))
            .await
            .map_err(fail)?;
        let underway = match lookup {
            Lookup::None => OwnUpload::None,
            Lookup::InUse { retry_after } => OwnUpload::InUse(retry_after.as_secs()),
            Lookup::LaterFormat(format) => return Err(Refusal::LaterRecord(path.clone(), format)),
            Lookup::Resumable(interrupted) => OwnUpload::Interrupted(interrupted),
        };
        Ok((underway, info))
    }

    /// The length of the user's own upload, for users who may write and neither list nor read;
    /// `None` if there is none. The answer must not depend on the object: an upload that is
    /// appended to an object is not reported, since its length includes the object's.
    pub(super) async fn own_upload(
        &mut self,
        path: &VirtualPath,
        scope: &ResumeScope,
        location: &Location,
    ) -> Result<Option<u64>, Refusal> {
        let object = existing_object(location);
        let length = match self.look(path, scope, location, object).await?.0 {
            OwnUpload::Running(upload) if !upload.appends() => upload.size - 1,
            OwnUpload::Interrupted(interrupted) if !interrupted.appends() => {
                interrupted.reported_len()
            }
            OwnUpload::InUse(seconds) => return Err(Refusal::OnOtherServer(path.clone(), seconds)),
            _ => return Ok(None),
        };
        self.reported.note(path, ReportedLength::Upload(length));
        Ok(Some(length))
    }

    /// Refuses a RETR if the client may take the length that SIZE has reported of an upload for
    /// that of the object.
    ///
    /// A client that has sent SIZE in this session is refused once: it sends SIZE again, or reads
    /// to the end of the file. A client that fetches a file in pieces over several connections
    /// (lftp's pget) sends SIZE on one of them only. So a piece that does not begin at byte 0 needs
    /// a SIZE of its own. Such a client repeats a command that gets 450, and after 550 it fetches
    /// the file in one piece.
    pub(super) fn check_retrieve(
        &mut self,
        path: &VirtualPath,
        location: &Location,
        offset: u64,
    ) -> Result<(), Refusal> {
        let user = &self.user()?.config.name;
        let reported = &self.context.reported;
        match self.reported.of(path) {
            Some(ReportedLength::Upload(_)) => {
                reported.refused(user, location);
                self.reported.note(path, ReportedLength::Refused);
                Err(Refusal::LengthOfUpload(path.clone()))
            }
            Some(ReportedLength::Object(_)) => Ok(()),
            Some(ReportedLength::Refused | ReportedLength::Forgotten) | None
                if offset > 0 && reported.was_reported(user, location) =>
            {
                Err(Refusal::LengthOfUploadInOther(path.clone()))
            }
            Some(ReportedLength::Refused | ReportedLength::Forgotten) | None => Ok(()),
        }
    }

    /// Refuses to resume an upload if SIZE has reported the object's length to this session, and to
    /// append to the object if it has reported the upload's. Both stay untouched: an upload that
    /// still receives bytes is not stopped.
    pub(super) async fn check_resume(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        scope: &ResumeScope,
        location: &Location,
        from: ResumeAt,
    ) -> Result<(), Refusal> {
        let known = self.reported.of(path);
        let (underway, info) = match (known, from) {
            (None, ResumeAt::End) => return Ok(()),
            // The offset is that of an upload, or the client's own: it could only harm a running
            // upload.
            (Some(ReportedLength::Upload(offset)), ResumeAt::End)
            | (
                None
                | Some(
                    ReportedLength::Upload(_) | ReportedLength::Refused | ReportedLength::Forgotten,
                ),
                ResumeAt::Byte(offset),
            ) => {
                return match scope.earlier_uploads(location).running() {
                    Some(upload) if upload.has_begun() && !resumes_at(upload.size, offset) => {
                        Err(self.refuse_resume(path, resolved, &OwnUpload::Running(upload)))
                    }
                    _ => Ok(()),
                };
            }
            _ => {
                let object = existing_object(location);
                self.look(path, scope, location, object).await?
            }
        };
        if !matches!(underway, OwnUpload::None) {
            return Err(self.refuse_resume(path, resolved, &underway));
        }
        match known {
            Some(ReportedLength::Object(version))
                if version != info.as_ref().map(|info| self.reported.version(info)) =>
            {
                Err(Refusal::OtherLength(path.clone()))
            }
            Some(ReportedLength::Refused) => Err(Refusal::OtherLength(path.clone())),
            _ => Ok(()),
        }
    }

    /// Whether SIZE or a refusal has reported the length of an upload to the session.
    pub(super) fn knows_upload(&self, path: &VirtualPath) -> bool {
        let known = self.reported.of(path);
        matches!(
            known,
            Some(ReportedLength::Upload(_) | ReportedLength::Refused)
        )
    }

    /// The refusal that reports the length of the upload which another command would resume.
    pub(super) fn refuse_resume(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        underway: &OwnUpload,
    ) -> Refusal {
        let (length, appends) = match underway {
            OwnUpload::Running(upload) => (upload.size - 1, upload.appends()),
            OwnUpload::Interrupted(interrupted) => {
                (interrupted.reported_len(), interrupted.appends())
            }
            OwnUpload::InUse(seconds) => return Refusal::OnOtherServer(path.clone(), *seconds),
            OwnUpload::None => return Refusal::OtherLength(path.clone()),
        };
        if appends && !shows_files(resolved.permissions()) {
            // It is as long as the object and what was sent together.
            return Refusal::NothingToResume(path.clone());
        }
        self.reported.note(path, ReportedLength::Refused);
        match underway {
            OwnUpload::Running(upload)
                if upload.idle_for < self.context.options.resume.stalled_after =>
            {
                Refusal::InOtherSession(path.clone(), length)
            }
            _ => Refusal::Interrupted(path.clone(), length),
        }
    }

    /// The interrupted upload that a transfer resumes, and the object from a HEAD. An upload that
    /// still runs in this process is stopped and waited for.
    pub(super) async fn interrupted_upload(
        &self,
        path: &VirtualPath,
        scope: &ResumeScope,
        location: &Location,
    ) -> Result<(Option<Box<ResumableUpload>>, Option<ObjectInfo>), Refusal> {
        let fail = |error: ObjectError| Refusal::store(path, &error);
        let earlier = scope.earlier_uploads(location);
        earlier.stop();
        wait_until_gone(path, &earlier).await?;
        let lookup = Box::pin(scope.lookup(location, existing_object(location)));
        match lookup.await.map_err(fail)? {
            (Lookup::None, info) => Ok((None, info)),
            (Lookup::InUse { retry_after }, _) => {
                Err(Refusal::OnOtherServer(path.clone(), retry_after.as_secs()))
            }
            (Lookup::LaterFormat(format), _) => Err(Refusal::LaterRecord(path.clone(), format)),
            (Lookup::Resumable(interrupted), info) => Ok((Some(interrupted), info)),
        }
    }
}

/// The offset at which a client resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResumeAt {
    /// REST and STOR.
    Byte(u64),
    /// APPE.
    End,
}

/// Whether an upload that has received `size` bytes resumes at an offset. SIZE reports one byte
/// less than it has.
fn resumes_at(size: u64, offset: u64) -> bool {
    offset == size || offset + 1 == size
}

/// Whether the size of a file, and whether there is one, may be shown to the user.
pub(super) fn shows_files(permissions: Permissions) -> bool {
    permissions.allows(Permission::List) || permissions.allows(Permission::Read)
}

/// Waits until the user's uploads of this process have ended.
async fn wait_until_gone(path: &VirtualPath, earlier: &EarlierUploads) -> Result<(), Refusal> {
    let ended = timeout(EARLIER_WAIT, earlier.wait_until_gone()).await;
    ended.map_err(|_| Refusal::BeingSaved(path.clone()))
}

/// Waits until those that have broken off are stored for a resume.
pub(super) async fn wait_until_stored(
    path: &VirtualPath,
    earlier: &EarlierUploads,
) -> Result<(), Refusal> {
    let ended = timeout(EARLIER_WAIT, earlier.wait_until_stored()).await;
    ended.map_err(|_| Refusal::BeingSaved(path.clone()))
}

/// Refuses an append to a file of which a later version of this server is known to have recorded an
/// upload.
pub(super) async fn refuse_later(
    path: &VirtualPath,
    scope: &ResumeScope,
    location: &Location,
) -> Result<(), Refusal> {
    match scope.later_format(location).await {
        Ok(None) => Ok(()),
        Ok(Some(format)) => Err(Refusal::LaterRecord(path.clone(), format)),
        Err(error) => Err(Refusal::store(path, &error)),
    }
}
