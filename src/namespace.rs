//! Virtual paths, mounts and permissions: what a client names → a bucket and a key.

mod path;
mod permissions;
mod tree;
pub use path::{PathError, VirtualPath};
pub use permissions::{Permission, Permissions};
pub use tree::{Mount, Namespace, Place};
