//! CWD, CDUP, MKD, RMD (RFC 959, 4.1.1 and 4.1.3).

use crate::namespace::{Permission, Resolved};
use crate::object::{ObjectError, make_directory, remove_directory};
use ftp_proto::Reply;

use crate::session::replies;
use crate::session::resolve::{is_directory, parent_in_mount, require};
use crate::session::state::{Handled, Session};

/// Whether the user may learn what is there: by listing or by reading it. The tree of mounts is theirs to see.
fn sees_names(resolved: &Resolved) -> bool {
    match resolved {
        Resolved::Mounted { .. } => {
            resolved.allows(Permission::List) || resolved.allows(Permission::Read)
        }
        Resolved::Virtual(_) | Resolved::Nowhere(_) => true,
    }
}

/// What CWD's argument stands for if nothing is called so: nothing and `~` for the start directory, `~/x` for what is below
/// it. Only in CWD: in every other command `~` is a name.
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
            // A directory of that name goes first, for those who may see it.
            let named = !argument.is_empty() && sees_names(&resolved);
            if !named || !is_directory(&path, &resolved, &self.user()?.namespace).await? {
                (path, resolved) = self.resolve(from_start)?;
            }
        }
        // Any directory can be stored into, whether it is there or not: a user who sees no names may go anywhere, and a
        // reply that looked would be an oracle for names.
        if sees_names(&resolved) && !is_directory(&path, &resolved, &self.user()?.namespace).await?
        {
            return Err(Reply::new(550, format!("{path}: no such directory")));
        }
        self.cwd = path;
        Ok(Reply::new(
            250,
            format!(
                "{} is the working directory",
                Reply::quote_path(&self.cwd.to_string())
            ),
        ))
    }

    pub(in crate::session) async fn mkd(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Mkdir)?;
        let exists = Reply::new(550, format!("{path}: exists already"));
        if resolved.object().is_none() || self.user()?.namespace.holds_mount(&path) {
            return Err(exists);
        }
        // A file of that name may exist, whose key is just as long as one can be.
        let directory = resolved.directory().ok_or_else(replies::path_too_long)?;
        match make_directory(&directory).await {
            Err(ObjectError::Conflict) if sees_names(&resolved) => Err(exists),
            Ok(()) | Err(ObjectError::Conflict) => Ok(Reply::new(
                257,
                format!("{} created", Reply::quote_path(&path.to_string())),
            )),
            Err(error) => Err(replies::object_error(&path, &error)),
        }
    }

    pub(in crate::session) async fn rmd(&mut self, argument: &str) -> Handled {
        let (path, resolved) = self.resolve(argument)?;
        require(&path, &resolved, Permission::Rmdir)?;
        if self.user()?.namespace.holds_mount(&path) || resolved.object().is_none() {
            return Err(Reply::new(
                550,
                format!("{path}: holds a mount and can't be removed"),
            ));
        }
        let directory = resolved
            .directory()
            .ok_or_else(|| replies::not_found(&path))?;
        match remove_directory(&directory, parent_in_mount(&resolved).as_ref()).await {
            Ok(()) => {
                if self.cwd.strip_prefix(&path).is_some() {
                    // Nobody should stand in a directory that is gone.
                    self.cwd = path.parent().unwrap_or_default();
                }
                Ok(Reply::new(250, format!("{path}: removed")))
            }
            Err(ObjectError::Conflict | ObjectError::NotFound) if !sees_names(&resolved) => {
                let text = format!("{path}: no such directory, or it is not empty");
                Err(Reply::new(550, text))
            }
            Err(ObjectError::Conflict) => Err(Reply::new(
                550,
                format!("{path}: the directory is not empty"),
            )),
            Err(ObjectError::NotFound) => {
                Err(Reply::new(550, format!("{path}: no such directory")))
            }
            Err(error) => Err(replies::object_error(&path, &error)),
        }
    }
}
