//! What is configured of sessions: deadlines, virtual hosts, and what a session needs to know of
//! other rooms' options.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::data::options::ActiveOptions;
use crate::object::options::ResumeOptions;

/// Deadlines. An await on a peer always has one of these.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From accept to a successful login.
    pub login: Duration,
    /// Without a command, no transfer running.
    pub idle: Duration,
    /// For the data connection to be there.
    pub data_connect: Duration,
    /// Without a byte moving on the data connection.
    pub data_stall: Duration,
    /// For a reply to be taken by the client.
    pub control_write: Duration,
    /// For a TLS handshake.
    pub tls_handshake: Duration,
    /// For an upload whose bytes have all come, while other sessions write the same name.
    pub same_name: Duration,
    /// The least time that an upload's end is held back to see whether the control connection ends
    /// with it.
    pub settle_min: Duration,
    /// From SIGTERM until running transfers are cut.
    pub shutdown_grace: Duration,
}

/// A virtual host (RFC 7151).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOptions {
    /// Its name, in lower case and without a dot at its end.
    pub name: String,
    /// What HOST is answered with, and an implicit listener's client that names it in its
    /// handshake; `None`: the server's own greeting.
    pub greeting: Option<String>,
    /// Who may log in; `None`: every user.
    pub users: Option<BTreeSet<String>>,
}

/// Virtual hosts by name, as [`HostOptions::name`] writes it.
pub type Hosts = BTreeMap<String, Arc<HostOptions>>;

impl HostOptions {
    /// Whether this user may log in here.
    pub fn admits(&self, user: &str) -> bool {
        self.users.as_ref().is_none_or(|users| users.contains(user))
    }
}

/// A host's name as it is compared: names differ neither by case nor by the dot of the root.
pub fn host_key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// What becomes of sessions whose user a reload removes or disables, or whose account expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemovedUsers {
    /// They end after the running transfer.
    #[default]
    AfterTransfer,
    /// They end at once; a running transfer is cut.
    Now,
    /// They go on as before.
    Keep,
}

/// What a session needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Text of the 220 greeting.
    pub greeting: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Failed logins after which a connection is closed with 421.
    pub login_attempts: u32,
    /// The delay of the reply to a failed login, if no other failure was counted.
    pub login_delay: Duration,
    /// Active data connections.
    pub active: ActiveOptions,
    /// Interrupted uploads.
    pub resume: ResumeOptions,
    /// What becomes of sessions whose users a reload removes.
    pub removed_users: RemovedUsers,
}
