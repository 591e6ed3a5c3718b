//! RNFR, RNTO (RFC 959, 4.1.3): a copy and a delete. A directory is moved key by key.
//!
//! Inside one mount a rename needs the permission `rename`. From one mount to another it needs
//! `read` and `delete` at the source and `write` at the target. Otherwise a user could move files
//! out of a mount from which they may not read into one from which they may.
//!
//! The rename of a temporary file is the end of its user's upload, and needs what an upload needs:
//! `write`, and `overwrite` if the target exists. A file that becomes a temporary one is gone for
//! all others, so that needs `delete`, too.
//!
//! Some clients rename a file to claim it as their job: of two sessions that rename one file, only
//! one gets 250.

use crate::events::{Event, Kind};
use crate::namespace::{Mount, Permission, Resolved, VirtualPath};
use crate::object::{
    CopyOf, CopyOptions, DeleteError, Deleted, DirectoryError, Expected, Location, NameLock,
    NameWatch, ObjectError, ObjectInfo, PublishError, TakesKey, TransferId, copy,
    delete_keeping_directory, delete_temporary, keep_if_empty, rename_directory,
};

use crate::session::chronicle::Names;
use crate::session::occupant::refuse_directory;
use crate::session::replies::{Detail, Handled, Refusal, success};
use crate::session::resolve::{
    check_file_size, check_name, describe_with_crc, existing, exists_for_user, parent_in_mount,
    require,
};
use crate::session::state::{RenameSource, RenamedEntry, Session};
use crate::session::temporary::holds_temporary_anywhere;

impl Session {
    pub(in crate::session) async fn rnfr(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        if !self.may_take_elsewhere(&resolved) {
            require(&path, &resolved, Permission::Rename)?;
        }
        if resolved.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(Refusal::HoldsMount(path));
        }
        // If the user may not see names here, every name gets the same reply.
        let visible = resolved.allows(Permission::List) || resolved.allows(Permission::Read);
        let found = match visible {
            true => Some(find(&path, &resolved).await?),
            false => None,
        };
        if matches!(found, Some(RenamedEntry::Directory))
            && resolved.is_temporary()
            && !self.may_take_elsewhere(&resolved)
        {
            require_for(Names::Directory, &path, &resolved, Permission::Rename)?;
        }
        self.rename_from = Some(RenameSource {
            path,
            resolved,
            found,
        });
        Ok(success::rename_source_noted())
    }

    pub(in crate::session) async fn rnto(
        &mut self,
        source: Option<RenameSource>,
        argument: &str,
    ) -> Handled {
        let source = source.ok_or(Refusal::RnfrFirst)?;
        let (path, resolved) = self.resolve(argument)?;
        let names = source.names();
        may_rename(names, &source.path, &source.resolved, &path, &resolved)?;
        if resolved.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(Refusal::IsDirectory(path));
        }
        let visible = source.found.is_some();
        let found = match source.found {
            Some(found) => found,
            None => find(&source.path, &source.resolved).await?,
        };
        let names = match &found {
            RenamedEntry::File(_) => Names::File,
            RenamedEntry::Directory => Names::Directory,
        };
        let source = (source.path, source.resolved);
        if names == Names::Directory {
            let allowed = may_rename(names, &source.0, &source.1, &path, &resolved);
            allowed.map_err(|refusal| match visible {
                true => refusal,
                false => Refusal::NotFound(source.0.clone()),
            })?;
        }
        let done = success::renamed(&source.0, &path);
        if path == source.0 {
            return Ok(done);
        }
        if let (RenamedEntry::File(file), Resolved::Mounted { mount, .. }) = (&found, &resolved) {
            check_name(&path, mount)?;
            check_file_size(&path, file.0.size, self.limit_of_move(&source.1, mount))?;
        }
        let id = TransferId::generate();
        let published = match &found {
            RenamedEntry::File(file) if source.1.is_temporary() && !resolved.is_temporary() => {
                Some(self.check_temporary(&source, file, &path, &id).await?)
            }
            _ => None,
        };
        let renamed = match &found {
            RenamedEntry::File(file) => {
                self.rename_file(&source, file, (&path, &resolved), id.clone())
                    .await
            }
            RenamedEntry::Directory => self.rename_tree(&source, (&path, &resolved), &id).await,
        };
        // The name has another object now. An interrupted upload of the old name stays there.
        self.reported.forget(&path);
        renamed?;
        let event = match &published {
            // The object of the old name was never visible: it is the new one that counts.
            Some(_) => self.happened(Kind::Renamed, &path, names),
            None => self.happened(Kind::Renamed, &source.0, names),
        };
        let mut event = Event {
            path: Some(source.0.to_string().into()),
            to: Some(path.to_string().into()),
            ..event
        };
        if let (Some(published), RenamedEntry::File(file)) = (published, &found) {
            event.size = Some(file.0.size);
            event.detail = published.detail.map(Into::into);
        }
        event.id = Some(id.as_str().into());
        self.chronicle.send(event);
        Ok(done)
    }

    /// The largest file that may be moved: a file stays as large as it is inside one mount.
    fn limit_of_move(&self, from: &Resolved, to: &Mount) -> Option<u64> {
        match from {
            Resolved::Mounted { mount, .. } if is_one_mount(mount, to) => None,
            _ => self.max_file_size(to),
        }
    }

    /// Whether the user may rename from here into another of their mounts.
    fn may_take_elsewhere(&self, resolved: &Resolved) -> bool {
        let Resolved::Mounted { mount, .. } = resolved else {
            return false;
        };
        resolved.allows(Permission::Read)
            && resolved.allows(Permission::Delete)
            && self.logged_in().is_some_and(|user| {
                let mounts = user.namespace.mounts().iter();
                let mut others = mounts.filter(|other| !is_one_mount(other, mount));
                others.any(|other| other.permissions.allows(Permission::Write))
            })
    }

    async fn rename_file(
        &self,
        (old, from_resolved): &(VirtualPath, Resolved),
        (info, crc, watch): &(ObjectInfo, Option<u32>, NameWatch),
        (path, resolved): (&VirtualPath, &Resolved),
        id: TransferId,
    ) -> Result<(), Refusal> {
        let (Some(from), Some(to)) = (from_resolved.object(), resolved.object()) else {
            return Err(Refusal::NotFound(path.clone()));
        };
        // Two mounts can show the same object: a copy and a delete would destroy it.
        if from.same_object(&to) {
            return Ok(());
        }
        let _source = lock_source(old, &from).await?;
        refuse_directory(path, resolved, &to).await?;
        let options = CopyOptions {
            id,
            if_absent: !resolved.allows(Permission::Overwrite),
            source_crc: *crc,
        };
        let written = copy(&from, info, &to, &options).await;
        let unclear = matches!(written, Err(PublishError::Unclear(_)));
        if (written.is_ok() || unclear)
            && let Some(scope) = self.resume_scope_in(resolved)
        {
            scope.object_written(&to);
        }
        let written = written.map_err(|error| {
            let refusal = match error.cause() {
                ObjectError::Conflict if options.if_absent => {
                    Refusal::PermissionDenied(path.clone(), Permission::Overwrite)
                }
                ObjectError::Conflict | ObjectError::Changed => Refusal::SourceChanged(old.clone()),
                ObjectError::NotFound => Refusal::NotFound(old.clone()),
                error => Refusal::store(path, error),
            };
            match unclear {
                true => Refusal::MayBeRenamed(Box::new(refusal), path.clone(), old.clone()),
                false => refusal,
            }
        })?;
        self.transfers_of(&to)?.begins_anew();
        let expected = Expected {
            version: &info.identity(),
            watch,
            copy: Some(CopyOf {
                at: &to,
                id: &options.id,
                written: &written,
            }),
        };
        let deleted = match from_resolved.is_temporary() {
            true => delete_temporary(&from, expected).await,
            false => {
                let parent = parent_in_mount(from_resolved);
                delete_keeping_directory(&from, parent.as_ref(), Some(expected)).await
            }
        };
        let removed = match self.resume_scope_in(from_resolved) {
            Some(scope) if matches!(deleted, Ok(Deleted::Gone)) => {
                match from_resolved.is_temporary() {
                    true => Box::pin(scope.own_object_removed(&from, info)).await,
                    false => Box::pin(scope.object_removed(&from, info)).await,
                }
            }
            _ => Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %old.to_string().escape_debug(), %error, "an interrupted upload of it may be left");
        }
        match deleted {
            // The same object has two names, and stays at both.
            Ok(Deleted::IsTheCopy) => Ok(()),
            Ok(Deleted::Gone) => Ok(()),
            // Another process may have moved it for another client. The object at the new name
            // stays: it may be the only copy.
            Err(error) => {
                let detail = Detail::of(&error);
                let (path, old) = (path.clone(), old.clone());
                Err(match error {
                    DeleteError::Refused(ObjectError::NotFound) => Refusal::OldNameGone(path, old),
                    DeleteError::Refused(ObjectError::Conflict) => {
                        Refusal::OldNameWritten(path, old)
                    }
                    DeleteError::Refused(_) => Refusal::OldNameStays(path, old, detail),
                    DeleteError::Unclear(_) => Refusal::OldNameMayStay(path, old, detail),
                })
            }
        }
    }

    async fn rename_tree(
        &self,
        (old, from_resolved): &(VirtualPath, Resolved),
        (path, resolved): (&VirtualPath, &Resolved),
        id: &TransferId,
    ) -> Result<(), Refusal> {
        if path.strip_prefix(old).is_some() {
            return Err(Refusal::IntoItself(path.clone()));
        }
        let (Some(from), Some(to), Some(file)) = (
            from_resolved.directory(),
            resolved.directory(),
            resolved.object(),
        ) else {
            return Err(Refusal::KeyTooLong);
        };
        if from.same_bucket(&to) && (to.key.starts_with(&from.key) || from.key.starts_with(&to.key))
        {
            return Err(Refusal::IntoItself(path.clone()));
        }
        let _source = lock_source(old, &from).await?;
        let fail = |error: ObjectError| Refusal::store(path, &error);
        let file_there = existing(path, &file).await?.is_some();
        if file_there || exists_for_user(resolved).await.map_err(fail)? {
            return Err(Refusal::OntoExisting(path.clone()));
        }
        if holds_temporary_anywhere(from_resolved)
            .await
            .map_err(fail)?
        {
            return Err(Refusal::HoldsTemporary(old.clone()));
        }
        // Sessions that delete other entries of the parent at the same time see that this entry
        // goes, too.
        let parent = parent_in_mount(from_resolved);
        let _removal = parent.as_ref().map(Location::take_part);
        let rules = match resolved {
            Resolved::Mounted { mount, .. } => MovedFiles {
                to: path,
                limit: self.limit_of_move(from_resolved, mount),
                mount,
            },
            Resolved::Virtual(_) | Resolved::Nowhere(_) => {
                return Err(Refusal::NotFound(path.clone()));
            }
        };
        let takes = |name: &str, size: u64| rules.refusal(name, size).is_none();
        let takes: Option<&TakesKey<'_>> = rules.any().then_some(&takes);
        rename_directory(&from, &to, id, takes)
            .await
            .map_err(|error| match &error {
                DirectoryError::Refused { name, size } => {
                    let changed = || Refusal::TreeChanged(path.clone(), old.clone());
                    let cause = rules.refusal(name, *size).unwrap_or_else(changed);
                    Refusal::TreeUnmoved(Box::new(cause))
                }
                error => not_renamed(old, path, error),
            })?;
        // The parent stays if it has become empty.
        if let Some(parent) = parent {
            keep_if_empty(&parent).await;
        }
        Ok(())
    }
}

/// What holds for the files of a directory that is moved.
struct MovedFiles<'m> {
    /// The new name of the directory.
    to: &'m VirtualPath,
    mount: &'m Mount,
    /// The largest file.
    limit: Option<u64>,
}

impl MovedFiles<'_> {
    /// Whether any file can be refused.
    fn any(&self) -> bool {
        self.limit.is_some() || !self.mount.names.is_empty()
    }

    /// Why the key of this name below the directory, and of this size, may not come to be there. A
    /// name that the mount changes could not be named there any more.
    fn refusal(&self, name: &str, size: u64) -> Option<Refusal> {
        let mut path = self.to.clone();
        for element in name.split('/').filter(|element| !element.is_empty()) {
            path = path.child(element).unwrap_or(path);
            let changed = self.mount.names.change.apply(element);
            if changed != element {
                let rule = format!("names: it would be {changed}");
                return Some(Refusal::NameRefused(path, rule));
            }
        }
        // The marker of a directory.
        if name.is_empty() || name.ends_with('/') {
            return None;
        }
        let named = check_name(&path, self.mount);
        named
            .and_then(|()| check_file_size(&path, size, self.limit))
            .err()
    }
}

/// Waits for another session that renames the same source.
async fn lock_source(path: &VirtualPath, source: &Location) -> Result<NameLock, Refusal> {
    source.lock_as_source().await.map_err(|error| match error {
        ObjectError::Busy => Refusal::BeingRenamed(path.clone()),
        error => Refusal::store(path, &error),
    })
}

/// What a name stands for that is to be renamed; 550 if it does not exist.
async fn find(path: &VirtualPath, resolved: &Resolved) -> Result<RenamedEntry, Refusal> {
    let watch = resolved.object().map(|location| location.watch());
    Ok(match describe_with_crc(path, resolved).await?.zip(watch) {
        Some(((info, crc), watch)) => RenamedEntry::File(Box::new((info, crc, watch))),
        None => RenamedEntry::Directory,
    })
}

/// Refuses a rename without permission. `overwrite` is not checked here: it only matters if the
/// target exists.
fn may_rename(
    names: Names,
    old: &VirtualPath,
    from: &Resolved,
    new: &VirtualPath,
    to: &Resolved,
) -> Result<(), Refusal> {
    if names == Names::File {
        if from.is_temporary() {
            require(old, from, Permission::Write)?;
            return require(new, to, Permission::Write);
        }
        if to.is_temporary() {
            require(old, from, Permission::Delete)?;
            require(new, to, Permission::Write)?;
        }
    }
    match (from, to) {
        (Resolved::Mounted { mount: one, .. }, Resolved::Mounted { mount: other, .. })
            if !is_one_mount(one, other) =>
        {
            require_for(names, old, from, Permission::Read)?;
            require_for(names, old, from, Permission::Delete)?;
            require_for(names, new, to, Permission::Write)
        }
        _ => {
            require_for(names, old, from, Permission::Rename)?;
            require_for(names, new, to, Permission::Rename)
        }
    }
}

/// As [`require`]; a directory of a temporary name is an ordinary one.
fn require_for(
    names: Names,
    path: &VirtualPath,
    resolved: &Resolved,
    permission: Permission,
) -> Result<(), Refusal> {
    match names {
        Names::Directory if !resolved.permissions_for(true).allows(permission) => {
            Err(Refusal::PermissionDenied(path.clone(), permission))
        }
        _ => require(path, resolved, permission),
    }
}

/// Whether two mounts are the same, shown at two paths.
fn is_one_mount(one: &Mount, other: &Mount) -> bool {
    one.store.name() == other.store.name()
        && one.bucket == other.bucket
        && one.prefix == other.prefix
        && one.permissions == other.permissions
        && one.max_file_size == other.max_file_size
        && one.names == other.names
}

/// What became of a directory that was not renamed, or only in part.
fn not_renamed(old: &VirtualPath, new: &VirtualPath, error: &DirectoryError) -> Refusal {
    let cause = |error: &ObjectError| {
        Box::new(match error {
            ObjectError::Conflict | ObjectError::Changed => {
                Refusal::TreeChanged(new.clone(), old.clone())
            }
            ObjectError::NotFound => Refusal::NotFound(old.clone()),
            error => Refusal::store(new, error),
        })
    };
    match error {
        DirectoryError::IntoItself => Refusal::IntoItself(new.clone()),
        DirectoryError::Refused { .. } => Refusal::TreeChanged(new.clone(), old.clone()),
        DirectoryError::Unmoved(error) => Refusal::TreeUnmoved(cause(error)),
        DirectoryError::CopiesLeft(error) => Refusal::TreeCopiesLeft(cause(error), new.clone()),
        DirectoryError::SourceLeft(error) => {
            Refusal::TreeSourceLeft(cause(error), new.clone(), old.clone())
        }
    }
}
