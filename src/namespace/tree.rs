//! A user's tree of mounts.

use std::sync::Arc;

use super::{Permission, Permissions, VirtualPath};
use crate::object::{Location, Store};

/// A mount, its store at hand.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Where it is in the tree.
    pub path: VirtualPath,
    /// Its store.
    pub store: Arc<Store>,
    /// Its bucket.
    pub bucket: Arc<str>,
    /// Empty, or ends in `/`.
    pub prefix: String,
    /// What the user may do there.
    pub permissions: Permissions,
    /// See [`crate::config::MountConfig::ascii_convert`].
    pub ascii_convert: bool,
    /// See [`crate::config::MountConfig::times_metadata`].
    pub times_metadata: bool,
}

/// What a path names.
#[derive(Debug, Clone)]
pub enum Place {
    /// Above a mount and in none: a directory that holds only the ways to mounts.
    Virtual(VirtualPath),
    /// In a mount.
    Mounted {
        /// The path asked for.
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

impl Namespace {
    /// From the mounts of a user. The mount with the longest path wins.
    pub fn new(mounts: Vec<Mount>) -> Self {
        Namespace { mounts: mounts.into_iter().map(Arc::new).collect() }
    }
    /// What `path` names.
    pub fn resolve(&self, path: &VirtualPath) -> Place {
        let _ = path;
        todo!()
    }
    /// Names directly below `path` that are mount points or lie on the way to one; sorted, no doubles.
    pub fn mount_names(&self, path: &VirtualPath) -> Vec<String> {
        let _ = path;
        todo!()
    }
    /// Whether `path` is a mount point or lies above one: such a directory can't be removed or renamed.
    pub fn holds_mount(&self, path: &VirtualPath) -> bool {
        let _ = path;
        todo!()
    }
    /// The mounts.
    pub fn mounts(&self) -> &[Arc<Mount>] {
        &self.mounts
    }
}

impl Place {
    /// The object a path names; `None` for a virtual directory, a mount's root, and nowhere.
    pub fn object(&self) -> Option<Location> {
        todo!()
    }
    /// The location whose key is the directory's prefix: ends in `/`, or is empty at the root of a bucket.
    pub fn directory(&self) -> Option<Location> {
        todo!()
    }
    /// Whether the user may do it here (never in a virtual directory but `List`).
    pub fn allows(&self, permission: Permission) -> bool {
        let _ = permission;
        todo!()
    }
}
