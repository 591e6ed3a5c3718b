//! Virtual paths, mounts and permissions: the path in a command → a bucket and a key.
//!
//! A client's argument becomes a [`VirtualPath`], which can't leave its root. The user's
//! [`Namespace`] finds the mount that contains the path, and returns a [`Resolved`], which knows
//! its key in the bucket and what the user may do there.

pub mod attributes;
mod keys;
mod lookup;
mod name_patterns;
pub mod names;
pub mod options;
mod path;
mod permissions;
pub mod template;
mod tree;
pub use keys::MAX_KEY;
pub(crate) use keys::hidden as is_state_key;
pub use name_patterns::{NamePattern, NamePatternError, NamePatterns};
pub use path::{PathError, VirtualPath};
pub use permissions::{Permission, Permissions};
pub use tree::{Mount, Namespace, Resolved, TemporaryNames};
