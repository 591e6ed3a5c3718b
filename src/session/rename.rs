//! RNFR, RNTO (RFC 959, 4.1.3): a copy and a delete; of a directory, key by key.

use crate::namespace::{Permission, Place, VirtualPath};
use crate::object::{
    CopyOf, CopyOptions, Deleted, DirectoryError, Expected, NameWatch, ObjectError, ObjectInfo, TransferId, copy,
    delete_keeping_directory, directory_exists, rename_directory,
};
use crate::protocol::Reply;

use super::files::{describe, parent_in_mount};
use super::{Handled, Session, replies, require};

/// What RNFR has found.
#[derive(Debug)]
pub(super) struct RenameSource {
    path: VirtualPath,
    place: Place,
    /// A file's HEAD, and the watch that began before it; `None`: a directory.
    file: Option<(ObjectInfo, NameWatch)>,
}

impl Session {
    pub(super) async fn rnfr(&mut self, argument: &str) -> Handled {
        let (path, place) = self.place(argument)?;
        require(&path, &place, Permission::Rename)?;
        if place.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(Reply::new(
                550,
                format!("{path}: holds a mount and can't be renamed"),
            ));
        }
        let watch = place.object().map(|location| location.watch());
        let file = describe(&path, &place).await?.zip(watch);
        self.rename_from = Some(RenameSource { path, place, file });
        Ok(Reply::new(350, "Send RNTO with the new name"))
    }

    pub(super) async fn rnto(&mut self, source: Option<RenameSource>, argument: &str) -> Handled {
        let source = source.ok_or_else(|| Reply::new(503, "Send RNFR first"))?;
        let (path, place) = self.place(argument)?;
        require(&path, &place, Permission::Rename)?;
        if place.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(Reply::new(550, format!("{path}: is a directory")));
        }
        let done = Reply::new(250, format!("{} is now {path}", source.path));
        if path == source.path {
            return Ok(done);
        }
        let id = TransferId::generate();
        let renamed = match &source.file {
            Some((info, watch)) => {
                self.rename_file(&source, (info, watch), &path, &place, id.clone())
                    .await
            }
            None => self.rename_tree(&source, &path, &place, &id).await,
        };
        match &renamed {
            Ok(()) => tracing::info!(
                transfer = %id, user = %self.user_label(),
                from = %source.path.to_string().escape_debug(), to = %path.to_string().escape_debug(), "renamed"
            ),
            Err(reply) => tracing::warn!(
                transfer = %id, user = %self.user_label(),
                from = %source.path.to_string().escape_debug(), to = %path.to_string().escape_debug(),
                reply = %reply.lines.join(" "), "rename failed"
            ),
        }
        renamed.map(|()| done)
    }

    async fn rename_file(
        &self,
        source: &RenameSource,
        (info, watch): (&ObjectInfo, &NameWatch),
        path: &VirtualPath,
        place: &Place,
        id: TransferId,
    ) -> Result<(), Reply> {
        let (Some(from), Some(to)) = (source.place.object(), place.object()) else {
            return Err(replies::not_found(path));
        };
        // Two mounts can show one object: to copy it and delete "the old one" would be the end of it.
        if from.same_object(&to) {
            return Ok(());
        }
        let options = CopyOptions {
            id,
            if_absent: !place.allows(Permission::Overwrite),
        };
        let written = copy(&from, info, &to, &options)
            .await
            .map_err(|error| match error {
                ObjectError::Conflict if options.if_absent => {
                    replies::forbidden(path, Permission::Overwrite)
                }
                ObjectError::Conflict | ObjectError::Changed => Reply::new(
                    451,
                    format!(
                        "{}: somebody else has written it meanwhile, try again",
                        source.path
                    ),
                ),
                ObjectError::NotFound => replies::not_found(&source.path),
                error => replies::object_error(path, &error),
            })?;
        if let Some(keep) = self.keep_in(place) {
            keep.wrote(&to);
        }
        let deleted = delete_keeping_directory(
            &from,
            parent_in_mount(&source.place).as_ref(),
            Some(Expected {
                version: &info.identity(),
                watch,
                copy: Some(CopyOf {
                    at: &to,
                    id: &options.id,
                    written: &written,
                }),
            }),
        )
        .await;
        if matches!(deleted, Ok(Deleted::Gone))
            && let Some(keep) = self.keep_in(&source.place)
            && let Err(error) = Box::pin(keep.removed(&from, info)).await
        {
            tracing::warn!(path = %source.path.to_string().escape_debug(), %error, "what is kept of an upload of it may be left");
        }
        match deleted {
            // One object by two names: it is at the new one, and as before at the old one.
            Ok(Deleted::IsTheCopy) => Ok(()),
            // Another session has removed it: that is what was asked for.
            Ok(Deleted::Gone) | Err(ObjectError::NotFound) => Ok(()),
            Err(ObjectError::Conflict) => Err(Reply::new(
                451,
                format!(
                    "{path} is there, but {} was written meanwhile and stays",
                    source.path
                ),
            )),
            Err(error) => {
                tracing::error!(%error, from = %source.path, to = %path, "copied, but the old name could not be deleted");
                Err(Reply::new(
                    451,
                    format!(
                        "{path} is there, but {} could not be deleted and stays",
                        source.path
                    ),
                ))
            }
        }
    }

    async fn rename_tree(
        &self,
        source: &RenameSource,
        path: &VirtualPath,
        place: &Place,
        id: &TransferId,
    ) -> Result<(), Reply> {
        if path.strip_prefix(&source.path).is_some() {
            return Err(Reply::new(
                553,
                format!("{path}: a directory can't be moved into itself"),
            ));
        }
        let (Some(from), Some(to), Some(file)) =
            (source.place.directory(), place.directory(), place.object())
        else {
            return Err(replies::not_found(path));
        };
        if from.same_bucket(&to) && (to.key.starts_with(&from.key) || from.key.starts_with(&to.key))
        {
            return Err(Reply::new(
                553,
                format!("{path}: a directory can't be moved into itself or onto one it is in"),
            ));
        }
        let fail = |error: ObjectError| replies::object_error(path, &error);
        let file_there = super::upload::existing(path, &file).await?.is_some();
        if file_there || directory_exists(&to).await.map_err(fail)? {
            return Err(Reply::new(
                553,
                format!("{path}: exists already, a directory is not moved onto it"),
            ));
        }
        rename_directory(&from, &to, id).await.map_err(|error| {
            tracing::error!(%error, from = %source.path, to = %path, "directory not renamed");
            not_renamed(&source.path, path, &error)
        })?;
        // The parent that has become empty stays.
        if let Some(parent) = parent_in_mount(&source.place)
            && !directory_exists(&parent).await.map_err(fail)?
            && let Err(error) = crate::object::make_directory(&parent).await
        {
            tracing::warn!(%error, "the marker of a directory that has become empty could not be written");
        }
        Ok(())
    }
}

/// What has become of a directory that was not renamed.
fn not_renamed(from: &VirtualPath, to: &VirtualPath, error: &DirectoryError) -> Reply {
    let reply = |error: &ObjectError| match error {
        ObjectError::Conflict => Reply::new(
            451,
            format!("{to}: somebody else has written there, or in {from}, meanwhile"),
        ),
        ObjectError::NotFound => replies::not_found(from),
        error => replies::object_error(to, error),
    };
    let (mut reply, left) = match error {
        DirectoryError::IntoItself => {
            return Reply::new(
                553,
                format!("{to}: a directory can't be moved into itself or onto one it is in"),
            );
        }
        DirectoryError::Unmoved(error) => (reply(error), "nothing was moved".to_owned()),
        DirectoryError::CopiesLeft(error) => (
            reply(error),
            format!("nothing was moved, but copies are left in {to}"),
        ),
        DirectoryError::SourceLeft(error) => (
            reply(error),
            format!("{to} is there, and a part of {from} is not deleted and stays"),
        ),
    };
    if let Some(line) = reply.lines.last_mut() {
        line.push_str("; ");
        line.push_str(&left);
    }
    reply
}
