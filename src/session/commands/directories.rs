//! CWD, CDUP, MKD, RMD (RFC 959, 4.1.1 and 4.1.3).

use crate::events::Kind;
use crate::namespace::{Permission, Resolved};
use crate::object::{DeleteError, ObjectError, make_directory, remove_directory};

use crate::session::chronicle::Names;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::resolve::{existing, holds_temporary, is_directory, parent_in_mount, require};
use crate::session::state::Session;

/// Whether the user may learn which names exist here: by listing or by reading. Every user may see
/// the tree of their mounts.
fn sees_names(resolved: &Resolved) -> bool {
    match resolved {
        Resolved::Mounted { .. } => {
            resolved.allows(Permission::List) || resolved.allows(Permission::Read)
        }
        Resolved::Virtual(_) | Resolved::Nowhere(_) => true,
    }
}

/// The path of an argument of CWD from the start directory: no argument and `~` mean the start
/// directory, `~/x` a directory below it. Only CWD knows this: in every other command `~` is a
/// name.
fn from_start(argument: &str) -> Option<&str> {
    match argument.strip_prefix('~') {
        Some("") => Some("/"),
        Some(below) if below.starts_with('/') => Some(below),
        None if argument.is_empty() => Some("/"),
        _ => None,
    }
}

impl Session {
    pub(in crate::session) async fn cwd(&mut self, argument: &str) -> Handled {
        let (mut path, mut resolved) = self.resolve(argument)?;
        if let Some(from_start) = from_start(argument) {
            // A directory of that name comes first, for users who may see it.
            let named = !argument.is_empty() && sees_names(&resolved);
            if !named || !is_directory(&path, &resolved, &self.user()?.namespace).await? {
                (path, resolved) = self.resolve(from_start)?;
            }
        }
        // Files can be stored into any directory, whether it exists or not. A user who may see no
        // names may change to any: a reply that depends on the directory would disclose names.
        if sees_names(&resolved) && !is_directory(&path, &resolved, &self.user()?.namespace).await?
        {
            return Err(Refusal::NoSuchDirectory(path));
        }
        self.cwd = path;
        Ok(success::changed_directory(&self.cwd))
    }

    pub(in crate::session) async fn mkd(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Mkdir)?;
        if resolved.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(Refusal::Exists(path));
        }
        // A file of that name may exist whose key already has the largest length.
        let directory = resolved.directory().ok_or(Refusal::KeyTooLong)?;
        // The store does not see that both have one name.
        if resolved.is_temporary()
            && let Some(file) = resolved.object()
            && existing(&path, &file).await?.is_some()
        {
            return Err(Refusal::Exists(path));
        }
        match make_directory(&directory).await {
            Err(ObjectError::Conflict) if sees_names(&resolved) => Err(Refusal::Exists(path)),
            Ok(()) => {
                let event = self.happened(Kind::DirectoryMade, &path, Names::Directory);
                self.chronicle.send(event);
                Ok(success::created(&path))
            }
            // This user may not learn that it exists.
            Err(ObjectError::Conflict) => Ok(success::created(&path)),
            Err(error) => Err(Refusal::store(&path, &error)),
        }
    }

    pub(in crate::session) async fn rmd(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Rmdir)?;
        if self.user()?.namespace.holds_mount(&path) || resolved.object().is_none() {
            return Err(Refusal::HoldsMount(path));
        }
        let directory = resolved
            .directory()
            .ok_or_else(|| Refusal::NotFound(path.clone()))?;
        let holds = holds_temporary(&resolved)
            .await
            .map_err(|error| Refusal::store(&path, &error))?;
        if holds {
            return Err(Refusal::NotEmpty(path));
        }
        match remove_directory(&directory, parent_in_mount(&resolved).as_ref()).await {
            Ok(()) => {
                if self.cwd.strip_prefix(&path).is_some() {
                    // The session must not stay in a directory that is gone.
                    self.cwd = path.parent().unwrap_or_default();
                }
                let event = self.happened(Kind::DirectoryRemoved, &path, Names::Directory);
                self.chronicle.send(event);
                Ok(success::removed(&path))
            }
            Err(DeleteError::Refused(ObjectError::Conflict | ObjectError::NotFound))
                if !sees_names(&resolved) =>
            {
                Err(Refusal::NoneOrNotEmpty(path))
            }
            Err(DeleteError::Refused(ObjectError::Conflict)) => Err(Refusal::NotEmpty(path)),
            Err(DeleteError::Refused(ObjectError::NotFound)) => Err(Refusal::NoSuchDirectory(path)),
            Err(error) => Err(Refusal::delete(&path, &error)),
        }
    }
}
