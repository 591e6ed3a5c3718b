//! Resuming an interrupted upload: what SIZE, MLST, REST + STOR and APPE know of it
//! (docs/design/resume-protocol.md).
//!
//! What is kept of a user's upload is to him what a half-written file is on other servers: SIZE tells its length, and
//! he goes on from there. Nobody else sees it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::network_of;
use crate::namespace::{Mount, Permission, Permissions, Resolved, VirtualPath};
use crate::object::{
    EarlierUploads, Location, Lookup, ObjectError, ObjectInfo, ResumableUpload, ResumeScope,
    UploadSnapshot,
};
use ftp_proto::Reply;

use crate::session::replies;
use crate::session::reported::ReportedLength;
use crate::session::resolve::existing_object;
use crate::session::state::Session;

/// How long a session waits for an upload of this process that has broken off, or that it stops, to be kept. Its parts
/// in flight may take longer over a slow line; then the client is told to try again.
const GONE: Duration = Duration::from_secs(70);

/// An upload of the user that is not published.
#[derive(Debug)]
pub(super) enum OwnUpload {
    /// There is none of which a byte would be reported.
    None,
    /// In this process.
    Running(UploadSnapshot),
    /// In another process, as far as its record shows for this number of seconds.
    InUse(u64),
    /// It has broken off.
    Interrupted(Box<ResumableUpload>),
}

/// What SIZE and MLST report of a file to a user who may write to it.
#[derive(Debug)]
pub(super) enum FileStatus {
    /// The object, if there is one.
    Object(Option<Box<ObjectInfo>>),
    /// Their own upload that is not published: its length, and when it last moved if that is known.
    Upload(u64, Option<jiff::Timestamp>),
}

impl Session {
    /// How uploads of the user to a mount are kept; `None` where they are not.
    pub(super) fn keep(&self, mount: &Mount) -> Option<ResumeScope> {
        self.state_of(mount).filter(|_| mount.keep_interrupted)
    }

    /// The state of the user's uploads to a mount, also if they are not kept when they break off.
    pub(super) fn state_of(&self, mount: &Mount) -> Option<ResumeScope> {
        let user = self.logged_in()?;
        Some(ResumeScope {
            user: user.config.name.as_str().into(),
            peer: Some(self.control.peer.ip()),
            state_bucket: mount.state_bucket.clone(),
            over_object: self.context.options.resume.keep_over_object,
        })
    }

    /// The same for where a place is.
    pub(super) fn keep_in(&self, resolved: &Resolved) -> Option<ResumeScope> {
        match resolved {
            Resolved::Mounted { mount, .. } => self.keep(mount),
            _ => None,
        }
    }

    /// The same, where the user may write to the place: who may not can have nothing kept there.
    pub(super) fn keep_at(&self, resolved: &Resolved) -> Option<ResumeScope> {
        let Resolved::Mounted { mount, .. } = resolved else {
            return None;
        };
        match self.converts(mount) {
            true => None,
            false => self.keep_of_any_type(resolved),
        }
    }

    /// The same for commands to which TYPE means nothing.
    pub(super) fn keep_of_any_type(&self, resolved: &Resolved) -> Option<ResumeScope> {
        let wanted = resolved.allows(Permission::Write);
        wanted.then(|| self.keep_in(resolved)).flatten()
    }

    /// What is reported of a file's length, and with it what this session and this process remember of that. `object`
    /// asks for the object, in parallel.
    ///
    /// The same user can be the one who resumes the upload and the one who downloads the object. If both are there, the
    /// upload's length is for the client that most likely sent it: it has broken off, and this client has the sender's
    /// address. A client that downloads by that length all the same is found out by its RETR (`check_retrieve`).
    pub(super) async fn file_status(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        keep: &ResumeScope,
        location: &Location,
        object: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<FileStatus, Reply> {
        let (underway, info) = self.look(path, keep, location, object).await?;
        let resumes = match info {
            _ if !resolved.allows(Permission::Read) => true,
            _ if self.context.reported.downloads(&keep.user, location) => false,
            None => true,
            Some(_) => self.is_interrupted_here(&underway),
        };
        let seen = match underway {
            OwnUpload::Running(upload) if resumes => FileStatus::Upload(upload.size - 1, None),
            OwnUpload::Interrupted(kept) if resumes => {
                FileStatus::Upload(kept.reported_len(), Some(kept.written()))
            }
            OwnUpload::InUse(seconds) if resumes => return Err(busy(path, seconds)),
            OwnUpload::None if !self.context.reported.was_reported(&keep.user, location) => {
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
            self.context.reported.reported(&keep.user, location);
        }
        Ok(seen)
    }

    /// Whether an upload has broken off, or receives nothing any more, and was sent from this client's address.
    fn is_interrupted_here(&self, underway: &OwnUpload) -> bool {
        let here = network_of(self.control.peer.ip());
        let is_here = |peer: Option<IpAddr>| peer.is_some_and(|peer| network_of(peer) == here);
        let stalled = self.context.options.resume.stalled_after;
        match underway {
            OwnUpload::Running(upload) => upload.idle_for >= stalled && is_here(upload.peer),
            OwnUpload::Interrupted(kept) => is_here(kept.peer()),
            // Its record shows that it was running, and not when its last byte came.
            OwnUpload::InUse(_) | OwnUpload::None => false,
        }
    }

    /// The user's upload of a file that is not published, and the object, which `object` asks for in parallel.
    pub(super) async fn look(
        &self,
        path: &VirtualPath,
        keep: &ResumeScope,
        location: &Location,
        object: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<(OwnUpload, Option<ObjectInfo>), Reply> {
        let fail = |error: ObjectError| replies::object_error(path, &error);
        let older = keep.earlier_uploads(location);
        if let Some(upload) = older.running() {
            let info = object.await.map_err(fail)?;
            return Ok(match upload.has_begun() {
                true => (OwnUpload::Running(upload), info),
                false => (OwnUpload::None, info),
            });
        }
        ending(path, &older).await?;
        let (stored, info) = tokio::join!(keep.stored(location), object);
        let info = info.map_err(fail)?;
        let Some(stored) = stored.map_err(fail)? else {
            return Ok((OwnUpload::None, info));
        };
        let underway = match Box::pin(judge(stored, location, keep, info.as_ref())).await {
            Ok(Lookup::None) => OwnUpload::None,
            Ok(Lookup::InUse { retry_after }) => OwnUpload::InUse(retry_after.as_secs()),
            Ok(Lookup::LaterFormat(format)) => return Err(later(path, format)),
            Ok(Lookup::Resumable(kept)) => OwnUpload::Interrupted(kept),
            Err(error) => return Err(fail(error)),
        };
        Ok((underway, info))
    }

    /// The length of the user's own upload, for those who may write and neither list nor read; `None` if there is none.
    /// Whether there is an object, and how long it is, has no influence: an upload that is appended to an object is not
    /// reported, since it is as long as both.
    pub(super) async fn own_upload(
        &mut self,
        path: &VirtualPath,
        keep: &ResumeScope,
        location: &Location,
    ) -> Result<Option<u64>, Reply> {
        let object = existing_object(location);
        let length = match self.look(path, keep, location, object).await?.0 {
            OwnUpload::Running(upload) if !upload.appends() => upload.size - 1,
            OwnUpload::Interrupted(kept) if !kept.appends() => kept.reported_len(),
            OwnUpload::InUse(seconds) => return Err(busy(path, seconds)),
            _ => return Ok(None),
        };
        self.reported.note(path, ReportedLength::Upload(length));
        Ok(Some(length))
    }

    /// Refuses a RETR whose client may take a length that SIZE reported of an upload for that of the object.
    ///
    /// A client that has asked SIZE in this session is refused once; it asks again, or reads to the end of the file.
    /// A client that fetches a file in pieces over several connections (lftp's pget) asks SIZE in one of them only: a
    /// piece that does not begin at byte 0 needs a SIZE of its own, for good, since such a client repeats what gets 450
    /// and fetches the file in one piece after 550.
    pub(super) fn check_retrieve(
        &mut self,
        path: &VirtualPath,
        location: &Location,
        offset: u64,
    ) -> Result<(), Reply> {
        let user = &self.user()?.config.name;
        let reported = &self.context.reported;
        match self.reported.of(path) {
            Some(ReportedLength::Upload(_)) => {
                reported.refused(user, location);
                self.reported.note(path, ReportedLength::Refused);
                Err(Reply::new(
                    450,
                    format!(
                        "{path}: the length that SIZE reported is that of an interrupted upload, ask SIZE again for the stored file"
                    ),
                ))
            }
            Some(ReportedLength::Object(_)) => Ok(()),
            Some(ReportedLength::Refused | ReportedLength::Forgotten) | None
                if offset > 0 && reported.was_reported(user, location) =>
            {
                Err(Reply::new(
                    550,
                    format!(
                        "{path}: SIZE has reported the length of an interrupted upload, ask SIZE in this session before a part of the stored file"
                    ),
                ))
            }
            Some(ReportedLength::Refused | ReportedLength::Forgotten) | None => Ok(()),
        }
    }

    /// Refuses to resume an upload, or to append to the object in its place, in a session that was told the length of
    /// the other of both. What is there stays untouched: an upload that still receives is not stopped.
    pub(super) async fn check_resume(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        keep: &ResumeScope,
        location: &Location,
        from: ResumeAt,
    ) -> Result<(), Reply> {
        let known = self.reported.of(path);
        let (underway, info) = match (known, from) {
            (None, ResumeAt::End) => return Ok(()),
            // The offset is that of an upload, or one of the client's own: only a running upload could suffer from it.
            (Some(ReportedLength::Upload(offset)), ResumeAt::End)
            | (
                None
                | Some(
                    ReportedLength::Upload(_) | ReportedLength::Refused | ReportedLength::Forgotten,
                ),
                ResumeAt::Byte(offset),
            ) => {
                return match keep.earlier_uploads(location).running() {
                    Some(upload) if upload.has_begun() && !resumes_at(upload.size, offset) => {
                        Err(self.refuse_resume(path, resolved, &OwnUpload::Running(upload)))
                    }
                    _ => Ok(()),
                };
            }
            _ => {
                let object = existing_object(location);
                self.look(path, keep, location, object).await?
            }
        };
        if !matches!(underway, OwnUpload::None) {
            return Err(self.refuse_resume(path, resolved, &underway));
        }
        match known {
            Some(ReportedLength::Object(version))
                if version != info.as_ref().map(|info| self.reported.version(info)) =>
            {
                Err(other_length(path))
            }
            Some(ReportedLength::Refused) => Err(other_length(path)),
            _ => Ok(()),
        }
    }

    /// Whether the session was told the length of an upload, by SIZE or by a refusal.
    pub(super) fn knows_upload(&self, path: &VirtualPath) -> bool {
        let known = self.reported.of(path);
        matches!(
            known,
            Some(ReportedLength::Upload(_) | ReportedLength::Refused)
        )
    }

    /// Says how long the upload is that another command would resume.
    pub(super) fn refuse_resume(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        underway: &OwnUpload,
    ) -> Reply {
        let (length, appends) = match underway {
            OwnUpload::Running(upload) => (upload.size - 1, upload.appends()),
            OwnUpload::Interrupted(kept) => (kept.reported_len(), kept.appends()),
            OwnUpload::InUse(seconds) => return busy(path, *seconds),
            OwnUpload::None => return other_length(path),
        };
        if appends && !shows_files(resolved.permissions()) {
            // It is as long as the object and what was sent together.
            return beyond(path);
        }
        self.reported.note(path, ReportedLength::Refused);
        match underway {
            OwnUpload::Running(upload)
                if upload.idle_for < self.context.options.resume.stalled_after =>
            {
                Reply::new(
                    450,
                    format!(
                        "{path}: another session of yours is uploading this file and has sent {length} bytes, try again when it has ended"
                    ),
                )
            }
            _ => Reply::new(
                554,
                format!(
                    "{path}: an upload of yours was interrupted, use REST {length} and STOR to resume it, or STOR without REST to start over"
                ),
            ),
        }
    }

    /// The kept upload that a transfer goes on with; one that is still running in this process is stopped for it, and
    /// waited for. With it, or without one, what a HEAD tells of the object.
    pub(super) async fn kept(
        &self,
        path: &VirtualPath,
        keep: &ResumeScope,
        location: &Location,
    ) -> Result<(Option<Box<ResumableUpload>>, Option<ObjectInfo>), Reply> {
        let fail = |error: ObjectError| replies::object_error(path, &error);
        let older = keep.earlier_uploads(location);
        older.stop();
        gone(path, &older).await?;
        let (stored, info) = tokio::join!(keep.stored(location), existing_object(location));
        let info = info.map_err(fail)?;
        let Some(stored) = stored.map_err(fail)? else {
            return Ok((None, info));
        };
        match Box::pin(judge(stored, location, keep, info.as_ref())).await {
            Ok(Lookup::None) => Ok((None, info)),
            Ok(Lookup::InUse { retry_after }) => Err(busy(path, retry_after.as_secs())),
            Ok(Lookup::LaterFormat(format)) => Err(later(path, format)),
            Ok(Lookup::Resumable(kept)) => Ok((Some(kept), info)),
            Err(error) => Err(fail(error)),
        }
    }
}

/// Where a client wants to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResumeAt {
    /// REST and STOR.
    Byte(u64),
    /// APPE.
    End,
}

/// Whether an upload of which this number of bytes has arrived resumes at an offset: one byte less is reported.
fn resumes_at(size: u64, offset: u64) -> bool {
    offset == size || offset + 1 == size
}

/// Whether the size of a file, and whether there is one, may be shown to the user.
pub(super) fn shows_files(permissions: Permissions) -> bool {
    permissions.allows(Permission::List) || permissions.allows(Permission::Read)
}

/// The same answer for each file whose size must not be shown.
pub(super) fn beyond(path: &VirtualPath) -> Reply {
    Reply::new(
        554,
        format!("{path}: nothing can be resumed at this offset, use STOR without REST"),
    )
}

/// The offset that the client knows is not one of what is there now.
pub(super) fn other_length(path: &VirtualPath) -> Reply {
    Reply::new(
        450,
        format!("{path}: the file is not the one whose length was reported, ask SIZE again"),
    )
}

/// Of an empty object a GET tells neither ETag nor time, which are what is judged by.
async fn judge(
    stored: crate::object::Stored,
    location: &Location,
    keep: &ResumeScope,
    info: Option<&ObjectInfo>,
) -> Result<Lookup, ObjectError> {
    match info {
        Some(info) if info.etag.is_empty() || info.modified == jiff::Timestamp::UNIX_EPOCH => {
            let info = existing_object(location).await?;
            stored.judge(location, keep, info.as_ref()).await
        }
        info => stored.judge(location, keep, info).await,
    }
}

/// Waits until the user's uploads of this process have ended.
async fn gone(path: &VirtualPath, older: &EarlierUploads) -> Result<(), Reply> {
    let ended = timeout(GONE, older.wait_until_gone()).await;
    ended.map_err(|_| being_kept(path))
}

/// Waits until those that have broken off are kept.
pub(super) async fn ending(path: &VirtualPath, older: &EarlierUploads) -> Result<(), Reply> {
    let ended = timeout(GONE, older.wait_until_stored()).await;
    ended.map_err(|_| being_kept(path))
}

fn being_kept(path: &VirtualPath) -> Reply {
    Reply::new(
        450,
        format!("{path}: an earlier upload is still being kept, try again in 10 s"),
    )
}

fn busy(path: &VirtualPath, seconds: u64) -> Reply {
    Reply::new(
        450,
        format!("{path}: another server is still at this upload, try again in {seconds} s"),
    )
}

/// Refuses an append to a file of which a later version of this server is known to have recorded an upload.
pub(super) async fn refuse_later(
    path: &VirtualPath,
    keep: &ResumeScope,
    location: &Location,
) -> Result<(), Reply> {
    match keep.later_format(location).await {
        Ok(None) => Ok(()),
        Ok(Some(format)) => Err(later(path, format)),
        Err(error) => Err(replies::object_error(path, &error)),
    }
}

fn later(path: &VirtualPath, format: u64) -> Reply {
    Reply::new(
        450,
        format!(
            "{path}: a later version of this server has recorded an upload of yours (format {format}), \
             retry when all servers have that version, or begin anew with STOR without REST"
        ),
    )
}
