//! What is configured of a mount.

use crate::namespace::permissions::Permissions;

/// A part of a bucket that appears as a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// Name of the store.
    pub store: String,
    /// The bucket.
    pub bucket: String,
    /// Empty, or ends in `/` and does not begin with it.
    pub prefix: String,
    /// What users may do here.
    pub permissions: Permissions,
    /// Whether TYPE A converts line ends (`ascii = "convert"`) or not (`"binary"`, the default).
    pub ascii_convert: bool,
    /// Whether times are kept in the user metadata (`times = "metadata"`) or are LastModified (`"store"`, the default).
    pub times_metadata: bool,
    /// Whether a download of a whole object is compared with the checksum that the store holds (default: true).
    pub verify_downloads: bool,
    /// The bucket of records and tails, in the same store; left out: the bucket itself.
    pub state_bucket: Option<String>,
    /// Whether what has arrived of a broken upload is kept (`interrupted = "keep"`, the default) or removed (`"abort"`).
    pub keep_interrupted: bool,
    /// What becomes of an upload that loses its control connection.
    pub on_control_loss: ControlLoss,
}

/// What becomes of an upload whose control connection ends without QUIT before its last byte was taken for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlLoss {
    /// It is kept, and not published: the client may have died in the middle.
    Keep,
    /// It is published when its data connection ends: for devices that are known to behave so.
    Publish,
}
