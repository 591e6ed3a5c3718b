//! Temporary files: uploads under a name that says that they are not finished.
//!
//! Such a file is an object below the state prefix, which its user sees in their directory. A rename
//! to another name copies it to where all see it, and removes it.

use std::sync::Arc;

use crate::object::location::Location;
use crate::object::resume::keys::temporary_in;

/// Where the temporary files of a user in a directory lie: a location that ends in `/`, in the state
/// bucket of the same store.
pub fn temporary_directory(directory: &Location, state_bucket: &Arc<str>, user: &str) -> Location {
    Location {
        bucket: Arc::clone(state_bucket),
        key: temporary_in(&directory.bucket, &directory.key, user),
        ..directory.clone()
    }
}
