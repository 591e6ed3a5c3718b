//! SIZE, MDTM, MFMT, DELE (RFC 3659, 3 and 4; draft-somers-ftp-mfxx; RFC 959).

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::events::Kind;
use crate::memory::Budget;
use crate::namespace::{Permission, Resolved, VirtualPath};
use crate::object::{
    DeleteError, Location, MTIME_KEY, ObjectError, ObjectInfo, TransferId,
    delete_keeping_directory, head, head_with_crc, peek, set_metadata,
};
use ftp_proto::{Reply, time};

use crate::session::chronicle::Names;
use crate::session::last_file::{LastFile, PEEK, Whole};
use crate::session::replies::{Handled, Refusal, success};
use crate::session::resolve::{file_at, modified, parent_of_file, require};
use crate::session::resume::{FileStatus, OwnUpload, wait_until_stored};
use crate::session::state::Session;

impl Session {
    pub(in crate::session) async fn size(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        if let Err(refused) = require_any(&path, &resolved) {
            // Such a user may only learn the length of their own upload.
            return match self.binary_writer_scope(&resolved).zip(resolved.object()) {
                Some((scope, location)) if scope.may_have_upload(&location) => {
                    let length = Box::pin(self.own_upload(&path, &scope, &location)).await?;
                    Ok(success::size(length.ok_or(refused)?))
                }
                _ => Err(refused),
            };
        }
        let (mount, location) = file_at(&path, &resolved)?;
        if self.converts(&mount) {
            return Err(Refusal::SizeInAscii(path));
        }
        let scope = self.binary_writer_scope(&resolved);
        // Taken out, so that the object and the interrupted upload can be looked up in parallel.
        let mut last_file = std::mem::take(&mut self.last_file);
        let budget = self.context.budget.clone();
        let asked = info(&mut last_file, &budget, &path, &resolved, FileQuery::Size);
        let seen = match &scope {
            Some(scope) => {
                Box::pin(self.file_status(&path, &resolved, scope, &location, found(asked))).await
            }
            None => asked
                .await
                .map(|info| FileStatus::Object(Some(Box::new(info))))
                .map_err(|error| Refusal::store(&path, &error)),
        };
        let size = match seen? {
            FileStatus::Object(info) => {
                // The next RETR is compared with it, and sent from it.
                self.last_file = last_file;
                info.ok_or_else(|| Refusal::NotFound(path.clone()))?.size
            }
            FileStatus::Upload(size, _) => size,
        };
        Ok(success::size(size))
    }

    pub(in crate::session) async fn mdtm(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.readable(argument)?;
        let info = self.time_of(&path, &resolved).await?;
        Ok(success::time(time::format(modified(&info, &resolved))))
    }

    /// `MDTM time path`, an old form of MFMT. If a file has the whole text as its name, this is
    /// MDTM of that file.
    pub(in crate::session) async fn mdtm_set(
        &mut self,
        when: Timestamp,
        argument: &str,
        whole: &str,
    ) -> Handled {
        let (path, resolved) = self.readable(whole)?;
        match self.time_of(&path, &resolved).await {
            Ok(info) => Ok(success::time(time::format(modified(&info, &resolved)))),
            Err(_) => self.mfmt(when, argument, "modify").await,
        }
    }

    /// MFMT, and MFF with its only fact: the client's time goes into the metadata.
    pub(in crate::session) async fn mfmt(
        &mut self,
        when: Timestamp,
        argument: &str,
        fact: &str,
    ) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Write)?;
        let (mount, location) = file_at(&path, &resolved)?;
        if !mount.times_metadata {
            return Err(Refusal::TimesNotKept(path));
        }
        self.last_file.forget();
        // As rclone writes it: seconds since 1970, with a fraction.
        let mtime = format!("{}.{:09}", when.as_second(), when.subsec_nanosecond());
        let change = |metadata: &mut BTreeMap<String, String>| {
            metadata.insert(MTIME_KEY.to_owned(), mtime);
        };
        Box::pin(set_metadata(&location, change, &TransferId::generate()))
            .await
            .map_err(|error| Refusal::store(&path, &error))?;
        Ok(success::time_set(fact, &time::format(when), &path))
    }

    /// SITE UTIME. It is not offered if no mount of the user keeps times, so that lftp does not
    /// send it for each file.
    pub(in crate::session) async fn site_utime(
        &mut self,
        when: Timestamp,
        argument: &str,
    ) -> Handled {
        let namespace = &self.user()?.namespace;
        if !namespace.mounts().iter().any(|mount| mount.times_metadata) {
            return Err(Refusal::NotOffered("SITE UTIME"));
        }
        let set = self.mfmt(when, argument, "modify").await?;
        Ok(Reply { code: 200, ..set })
    }

    pub(in crate::session) async fn dele(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Delete)?;
        if self.user()?.namespace.holds_mount(&path) {
            return Err(Refusal::IsDirectory(path));
        }
        let (_, location) = file_at(&path, &resolved)?;
        let parent = parent_of_file(&resolved);
        let scope = self.writer_scope(&resolved);
        // Interrupted uploads of the same name are deleted with the file if this process knows that
        // there may be one.
        let ends = match &scope {
            Some(scope) => {
                wait_until_stored(&path, &scope.earlier_uploads(&location)).await?;
                match Box::pin(scope.ended_by_delete(&location)).await {
                    Ok(ends) => ends,
                    Err(error) => {
                        tracing::warn!(path = %path.to_string().escape_debug(), %error, "an interrupted upload of it may be left");
                        Vec::new()
                    }
                }
            }
            None => Vec::new(),
        };
        match delete_keeping_directory(&location, parent.as_ref(), None).await {
            Ok(_) => {
                let event = self.happened(Kind::Deleted, &path, Names::File);
                self.chronicle.send(event);
                self.reported.forget(&path);
                self.transfers_of(&location)?.begins_anew();
                for stored in ends {
                    stored.discard(&location).await;
                }
                Ok(success::deleted(&path))
            }
            // Only the user's interrupted upload of the file exists.
            Err(DeleteError::Refused(ObjectError::NotFound))
                if self
                    .discard_interrupted(&path, &resolved, &location)
                    .await? =>
            {
                let mut event = self.happened(Kind::Deleted, &path, Names::File);
                event.detail = Some("an interrupted upload, there was no file".into());
                self.chronicle.send(event);
                self.transfers_of(&location)?.begins_anew();
                Ok(success::interrupted_upload_deleted(&path))
            }
            Err(error) => Err(Refusal::delete(&path, &error)),
        }
    }

    /// Removes the user's interrupted upload of a file; returns whether there was one.
    async fn discard_interrupted(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
        location: &Location,
    ) -> Result<bool, Refusal> {
        let Some(scope) = self.writer_scope(resolved) else {
            return Ok(false);
        };
        self.reported.forget(path);
        let absent = async { Ok(None) };
        match Box::pin(self.look(path, &scope, location, absent)).await?.0 {
            OwnUpload::Interrupted(_) => scope
                .discard(location)
                .await
                .map_err(|error| Refusal::store(path, &error)),
            _ => Ok(false),
        }
    }

    /// A path whose size and time the user may learn.
    fn readable(&self, argument: &str) -> Result<(VirtualPath, Resolved), Refusal> {
        let (path, resolved) = self.resolve(argument)?;
        require_any(&path, &resolved)?;
        Ok((path, resolved))
    }

    async fn time_of(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
    ) -> Result<ObjectInfo, Refusal> {
        file_at(path, resolved)?;
        let budget = self.context.budget.clone();
        info(
            &mut self.last_file,
            &budget,
            path,
            resolved,
            FileQuery::Time,
        )
        .await
        .map_err(|error| Refusal::store(path, &error))
    }
}

/// Refuses if the user may neither list nor read.
fn require_any(path: &VirtualPath, resolved: &Resolved) -> Result<(), Refusal> {
    match resolved.allows(Permission::Read) {
        true => Ok(()),
        false => require(path, resolved, Permission::List),
    }
}

/// A file's HEAD, or what the command before has found out.
async fn info(
    last_file: &mut LastFile,
    budget: &Budget,
    path: &VirtualPath,
    resolved: &Resolved,
    wanted: FileQuery,
) -> Result<ObjectInfo, ObjectError> {
    let known = last_file.info(path);
    let suffices = |info: &&ObjectInfo| wanted == FileQuery::Size || has_time(info);
    if let Some(info) = known.filter(suffices) {
        return Ok(info.clone());
    }
    let again = known.is_some();
    let location = resolved.object().ok_or(ObjectError::NotFound)?;
    let peeks = last_file.peek_pays() && !again && resolved.allows(Permission::Read);
    // The bytes retained for a RETR count in the memory budget. If memory is short, SIZE is a HEAD.
    let grant = peeks.then(|| budget.try_grant(PEEK)).flatten();
    let peeked = if grant.is_some() {
        let peeked = peek(&location, PEEK).await?;
        Some(peeked).filter(|peeked| wanted == FileQuery::Size || has_time(&peeked.info))
    } else {
        None
    };
    let verifies = matches!(resolved, Resolved::Mounted { mount, .. } if mount.verify_downloads);
    let mut crc = None;
    let (info, first) = match peeked {
        Some(peeked) => (peeked.info, peeked.first),
        None if verifies && wanted == FileQuery::Size && resolved.allows(Permission::Read) => {
            let (info, whole_crc) = head_with_crc(&location).await?;
            crc = whole_crc;
            (info, Bytes::new())
        }
        None => (head(&location).await?, Bytes::new()),
    };
    let whole = (info.size == first.len() as u64).then_some(Whole {
        bytes: first,
        grant,
    });
    last_file.remember(path.clone(), info.clone(), whole);
    last_file.remember_crc(crc);
    Ok(info)
}

/// `None` if the object does not exist.
async fn found(
    asked: impl Future<Output = Result<ObjectInfo, ObjectError>>,
) -> Result<Option<ObjectInfo>, ObjectError> {
    match asked.await {
        Ok(info) => Ok(Some(info)),
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is asked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileQuery {
    Size,
    Time,
}

/// Whether the time is known: [`peek`] does not find it for an empty object.
fn has_time(info: &ObjectInfo) -> bool {
    info.modified != Timestamp::UNIX_EPOCH
}
