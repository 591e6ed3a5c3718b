//! A user's tree of mounts.
//!
//! Its pure parts (which mount contains a path, and its key) are in [`super::lookup`] and
//! [`super::keys`]; this file combines them with the stores.

use std::sync::Arc;

use crate::namespace::keys;
use crate::namespace::lookup::{self, MountLookup, MountPoint};
use crate::namespace::name_patterns::NamePatterns;
use crate::namespace::names::NameRules;
use crate::namespace::options::ControlLoss;
use crate::namespace::path::{PathError, VirtualPath};
use crate::namespace::permissions::{Permission, Permissions};
use crate::object::{Location, ObjectAttributes, Store, temporary_directory};

/// A mount with its store.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Its path in the tree.
    pub path: VirtualPath,
    /// Its store.
    pub store: Arc<Store>,
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Empty, or ends in `/`.
    pub prefix: String,
    /// What the user may do there.
    pub permissions: Permissions,
    /// See [`crate::namespace::options::MountOptions::ascii_convert`].
    pub ascii_convert: bool,
    /// See [`crate::namespace::options::MountOptions::times_metadata`].
    pub times_metadata: bool,
    /// See [`crate::namespace::options::MountOptions::verify_downloads`].
    pub verify_downloads: bool,
    /// The bucket of records and tails of uploads.
    pub state_bucket: Arc<str>,
    /// See [`crate::namespace::options::MountOptions::keep_interrupted`].
    pub keep_interrupted: bool,
    /// See [`crate::namespace::options::MountOptions::on_control_loss`].
    pub on_control_loss: ControlLoss,
    /// What its objects are like.
    pub attributes: Option<Arc<ObjectAttributes>>,
    /// See [`crate::namespace::options::MountOptions::max_file_size`].
    pub max_file_size: Option<u64>,
    /// See [`crate::namespace::options::MountOptions::names`].
    pub names: Arc<NameRules>,
    /// The names of temporary files, if the mount has any.
    pub temporary: Option<TemporaryNames>,
}

/// Names of files that others do not see before they are renamed.
///
/// The object of such a name lies below the server's own prefix in the state bucket, at a key of
/// its own for each directory and user. Everything that takes the object of a path gets that one.
/// Only files have it: a directory of such a name is an ordinary one.
#[derive(Debug, Clone)]
pub struct TemporaryNames {
    /// Which names.
    pub patterns: NamePatterns,
    /// The user, whose files they are.
    pub user: Arc<str>,
}

/// What a path resolves to.
#[derive(Debug, Clone)]
pub enum Resolved {
    /// Above a mount and in none: a directory that contains only the ways to mounts.
    Virtual(VirtualPath),
    /// In a mount.
    Mounted {
        /// The requested path.
        path: VirtualPath,
        /// The mount.
        mount: Arc<Mount>,
        /// The path's elements below the mount, joined by `/`; empty at the mount's root.
        rest: String,
    },
    /// In no mount and above none: does not exist.
    Nowhere(VirtualPath),
}

/// A user's tree.
#[derive(Debug, Clone)]
pub struct Namespace {
    mounts: Vec<Arc<Mount>>,
}

impl Mount {
    /// Whether a key of its bucket is the server's own state (`.s3ftpd/` at the bucket's root),
    /// which no path names and no listing shows. `key` is the whole key, including the mount's
    /// prefix.
    pub fn hidden(&self, key: &str) -> bool {
        keys::hidden(key)
    }

    /// The fact `unique` of an entry (RFC 3659, 7.5.2): 16 hexadecimal digits that follow from
    /// store, bucket and key alone, so they are the same each time. `key` is the whole key; a
    /// directory's ends in `/`.
    pub fn unique(&self, key: &str) -> String {
        keys::unique(self.store.name(), &self.bucket, key)
    }

    /// Whether a file of this name is a temporary one.
    pub fn is_temporary(&self, name: &str) -> bool {
        let names = self.temporary.as_ref();
        names.is_some_and(|names| names.patterns.matches(name))
    }

    /// Where the user's temporary files of a directory lie; `None` if the mount has no such names.
    /// `directory` is a location of this mount.
    pub fn temporary_in(&self, directory: &Location) -> Option<Location> {
        let names = self.temporary.as_ref()?;
        Some(temporary_directory(
            directory,
            &self.state_bucket,
            &names.user,
        ))
    }

    /// What the user may do with their own temporary files. They are parts of an upload, so who may
    /// write may also write them again, remove them and rename them.
    pub fn temporary_permissions(&self) -> Permissions {
        let permissions = self.permissions;
        match permissions.allows(Permission::Write) {
            true => permissions
                .with(Permission::Overwrite)
                .with(Permission::Append)
                .with(Permission::Delete)
                .with(Permission::Rename),
            false => permissions,
        }
    }
}

impl Namespace {
    /// Creates the tree from the mounts of a user. The mount with the longest path wins.
    pub fn new(mounts: Vec<Mount>) -> Self {
        Namespace {
            mounts: mounts.into_iter().map(Arc::new).collect(),
        }
    }

    /// Resolves `path`.
    pub fn resolve(&self, path: &VirtualPath) -> Resolved {
        let points = self.mounts.iter().map(|mount| MountPoint {
            path: &mount.path,
            prefix: &mount.prefix,
        });
        match lookup::find(points, path) {
            MountLookup::In(number, rest) => Resolved::Mounted {
                path: path.clone(),
                mount: Arc::clone(&self.mounts[number]),
                rest,
            },
            MountLookup::Above => Resolved::Virtual(path.clone()),
            MountLookup::Nowhere => Resolved::Nowhere(path.clone()),
        }
    }

    /// The path in place of one that a client has sent: its elements as the mounts change them, each
    /// by the rules of the mount in which it is. Elements that lead to a mount stay.
    ///
    /// # Errors
    ///
    /// A changed element is not a name, or the path becomes too long.
    pub fn changed(&self, path: VirtualPath) -> Result<VirtualPath, PathError> {
        let mut mounts = self.mounts.iter();
        if mounts.all(|mount| mount.names.change.is_empty()) {
            return Ok(path);
        }
        let mut changed = VirtualPath::root();
        for element in path.elements() {
            let kept = changed.child(element)?;
            changed = match self.resolve(&changed) {
                Resolved::Mounted { mount, .. } if !self.holds_mount(&kept) => {
                    changed.child(&mount.names.change.apply(element))?
                }
                _ => kept,
            };
        }
        Ok(changed)
    }

    /// The names directly below `path` that are mount points or lie on the way to one; sorted,
    /// without duplicates.
    pub fn mount_names(&self, path: &VirtualPath) -> Vec<String> {
        lookup::names_below(self.paths(), path)
    }

    /// Whether `path` is a mount point or lies above one: such a directory can't be removed or
    /// renamed.
    pub fn holds_mount(&self, path: &VirtualPath) -> bool {
        lookup::holds(self.paths(), path)
    }

    /// The mounts.
    pub fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }

    fn paths(&self) -> impl Iterator<Item = &VirtualPath> {
        self.mounts.iter().map(|mount| &mount.path)
    }
}

impl Resolved {
    /// The requested path.
    pub fn path(&self) -> &VirtualPath {
        match self {
            Resolved::Virtual(path) | Resolved::Mounted { path, .. } | Resolved::Nowhere(path) => {
                path
            }
        }
    }

    /// The object that the path names, if it names a file; `None` for a virtual directory, a mount's
    /// root, a path in no mount, and if the key [would be too long](Self::key_too_long).
    pub fn object(&self) -> Option<Location> {
        let Resolved::Mounted { mount, rest, .. } = self else {
            return None;
        };
        let key = keys::object(&mount.prefix, rest)?;
        let (parent, name) = keys::split(&key);
        if !mount.is_temporary(name) {
            return Some(mount.location(key));
        }
        let mut at = mount.temporary_in(&mount.location(parent.to_owned()))?;
        at.key.push_str(name);
        Some(at).filter(|at| at.key.len() <= keys::MAX_KEY)
    }

    /// Whether a file of this name is a temporary one.
    pub fn is_temporary(&self) -> bool {
        match self {
            Resolved::Mounted { mount, rest, .. } => {
                !rest.is_empty() && mount.is_temporary(keys::split(rest).1)
            }
            Resolved::Virtual(_) | Resolved::Nowhere(_) => false,
        }
    }

    /// Where the user's temporary files of this directory lie; `None` if it can have none.
    pub fn temporary_directory(&self) -> Option<Location> {
        let Resolved::Mounted { mount, .. } = self else {
            return None;
        };
        mount.temporary_in(&self.directory()?)
    }

    /// The location whose key is the directory's prefix: ends in `/`, or is empty at the root of a
    /// bucket. `None` for a virtual directory, a path in no mount, and if the key [would be too
    /// long](Self::key_too_long).
    pub fn directory(&self) -> Option<Location> {
        let Resolved::Mounted { mount, rest, .. } = self else {
            return None;
        };
        keys::directory(&mount.prefix, rest).map(|key| mount.location(key))
    }

    /// Whether the path is in a mount, and its key as a directory, with the mount's prefix and the
    /// slash at its end, would be longer than S3 accepts ([`MAX_KEY`](super::MAX_KEY)), or that of a
    /// temporary file would be. [`object`](Self::object) is `None` then, except for a key of exactly
    /// that length. Nothing with that name can exist: a command that would make it gets a 553,
    /// others a 550.
    pub fn key_too_long(&self) -> bool {
        match self {
            Resolved::Mounted { .. } => {
                self.directory().is_none() || self.is_temporary() && self.object().is_none()
            }
            Resolved::Virtual(_) | Resolved::Nowhere(_) => false,
        }
    }

    /// Whether the user has this permission here (in a virtual directory only `List`).
    pub fn allows(&self, permission: Permission) -> bool {
        self.permissions().allows(permission)
    }

    /// The user's permissions here, for a file or a directory, which is never temporary.
    pub fn permissions_for(&self, directory: bool) -> Permissions {
        match self {
            Resolved::Mounted { mount, .. } if directory => mount.permissions,
            _ => self.permissions(),
        }
    }

    /// The letters of the fact `perm` (RFC 3659, 7.5.5) of the file or directory here, see
    /// [`Permissions::perm`]. A mount's root and a virtual directory can't be removed or renamed; a
    /// path in no mount has no permissions.
    pub fn perm(&self, directory: bool) -> String {
        match self {
            Resolved::Nowhere(_) => String::new(),
            Resolved::Mounted { mount, rest, .. } if rest.is_empty() => mount
                .permissions
                .without(Permission::Rmdir)
                .without(Permission::Rename)
                .perm(directory),
            _ => self.permissions_for(directory).perm(directory),
        }
    }

    /// The fact `unique` of the file or directory here, see [`Mount::unique`]. `None` in no mount.
    pub fn unique(&self, directory: bool) -> Option<String> {
        let Resolved::Mounted { mount, .. } = self else {
            return None;
        };
        let location = if directory {
            self.directory()
        } else {
            self.object()
        };
        location.map(|location| mount.unique(&location.key))
    }

    /// The user's permissions here; those of a temporary file if it is the name of one. A directory
    /// of such a name has those of the mount.
    pub fn permissions(&self) -> Permissions {
        match self {
            Resolved::Mounted { mount, .. } if self.is_temporary() => mount.temporary_permissions(),
            Resolved::Mounted { mount, .. } => mount.permissions,
            Resolved::Virtual(_) => Permissions::none().with(Permission::List),
            Resolved::Nowhere(_) => Permissions::none(),
        }
    }
}

impl Mount {
    /// An object of its bucket.
    pub fn location(&self, key: String) -> Location {
        Location {
            store: Arc::clone(&self.store),
            bucket: Arc::clone(&self.bucket),
            key,
            attributes: self.attributes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    /// Without mounts, as these need a store; trees with mounts are tested in [`lookup`], their
    /// keys in [`keys`].
    #[test]
    fn a_tree_without_mounts_is_one_virtual_directory() {
        let tree = Namespace::new(Vec::new());
        let root = tree.resolve(&VirtualPath::root());
        assert!(matches!(&root, Resolved::Virtual(path) if path.is_root()));
        let nowhere = tree.resolve(&VirtualPath::root().join("a").unwrap());
        assert!(matches!(&nowhere, Resolved::Nowhere(path) if path.to_string() == "/a"));
        for permission in Permission::ALL {
            assert_eq!(root.allows(permission), permission == Permission::List);
            assert!(!nowhere.allows(permission));
        }
        assert_eq!(
            (root.perm(true).as_str(), nowhere.perm(true).as_str()),
            ("el", "")
        );
        for resolved in [root, nowhere] {
            assert!(
                resolved.object().is_none()
                    && resolved.directory().is_none()
                    && resolved.unique(true).is_none()
            );
            assert!(!resolved.key_too_long());
            assert!(
                !tree.holds_mount(resolved.path()) && tree.mount_names(resolved.path()).is_empty()
            );
        }
    }
}
