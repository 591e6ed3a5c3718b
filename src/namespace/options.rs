//! Options of a mount.

use crate::namespace::attributes::MountAttributes;
use std::sync::Arc;

use crate::namespace::names::NameRules;
use std::time::Duration;

use crate::namespace::name_patterns::NamePatterns;
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
    /// What the user may do there.
    pub permissions: Permissions,
    /// Whether TYPE A converts line ends (`ascii = "convert"`) or not (`"binary"`, the default).
    pub ascii_convert: bool,
    /// Whether times are kept in the user metadata (`times = "metadata"`) or are LastModified
    /// (`"store"`, the default).
    pub times_metadata: bool,
    /// Whether a download of a whole object is compared with the checksum that the store holds
    /// (default: true).
    pub verify_downloads: bool,
    /// The bucket of records and tails, in the same store; by default the mount's bucket.
    pub state_bucket: Option<String>,
    /// Whether interrupted uploads are kept (`interrupted = "keep"`, the default) or removed
    /// (`"abort"`).
    pub keep_interrupted: bool,
    /// What happens to an upload that loses its control connection.
    pub on_control_loss: ControlLoss,
    /// What its objects are like.
    pub attributes: MountAttributes,
    /// The largest file that may come to be there, bytes.
    pub max_file_size: Option<u64>,
    /// Which names files may have, and how names are changed.
    pub names: Arc<NameRules>,
    /// Names of files that are not visible to others before they are renamed (default: none).
    pub temporary: NamePatterns,
    /// How long such a file is kept after its last write; `None`: for ever.
    pub temporary_keep: Option<Duration>,
}

/// What happens to an upload if the control connection ends without QUIT before the server has seen
/// the end of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ControlLoss {
    /// It is kept and not published: the client may have died during the transfer.
    #[default]
    Keep,
    /// It is published when its data connection ends: for devices that are known to behave so.
    Publish,
}
