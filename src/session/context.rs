//! What sessions share: of the whole server, and of one control listener.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticator, Failures, SessionLimiter, TransferLimiter, UserLimiter};
use crate::data::advertise::Advertise;
use crate::data::linger::Lingering;
use crate::data::passive::PassivePool;
use crate::events::Events;
use crate::events::metrics::Metrics;
use crate::hooks::BeforePublish;
use crate::memory::Budget;
use crate::object::ActiveUploads;
use crate::session::options::SessionOptions;
use crate::tls::Tls;
use crate::tls::options::Protection;

use crate::session::broken::BrokenTransfers;
use crate::session::configured::Newest;
use crate::session::live::LiveSessions;
use crate::session::reported::ReportedUploads;

/// What all sessions of a server share.
#[derive(Debug)]
pub struct ServerContext {
    /// What is configured of sessions.
    pub options: SessionOptions,
    /// Where sessions report what happens.
    pub events: Events,
    /// What commands and transfers are counted by.
    pub metrics: Arc<Metrics>,
    /// TLS, if it is configured.
    pub tls: Option<Arc<Tls>>,
    /// Users, hosts and stores, which a reload replaces.
    pub newest: Newest,
    /// What checks passwords.
    pub authenticator: Authenticator,
    /// Failed logins and bans.
    pub failures: Failures,
    /// The sessions that run.
    pub live: Arc<LiveSessions>,
    /// How many sessions there are.
    pub sessions: Arc<SessionLimiter>,
    /// How many sessions each user has.
    pub user_sessions: Arc<UserLimiter>,
    /// How many transfers each user has, and their rates.
    pub user_transfers: Arc<TransferLimiter>,
    /// Who is asked before an upload is published, if anyone is.
    pub before_publish: Option<Arc<BeforePublish>>,
    /// The memory of all transfers.
    pub budget: Budget,
    /// The uploads of this process.
    pub active_uploads: Arc<ActiveUploads>,
    /// The names of which SIZE has reported the length of an upload to a user.
    pub reported: ReportedUploads,
    /// Transfers that broke off.
    pub broken: Arc<BrokenTransfers>,
    /// The address that PASV reports.
    pub advertise: Advertise,
    /// Finished data connections that clients have not closed yet.
    pub lingering: Lingering,
    /// Cancelled when the server begins to drain. Then idle sessions end.
    pub drain: CancellationToken,
    /// Cancelled when the grace period ends. Then running transfers end.
    pub cut: CancellationToken,
}

/// What the sessions of one control listener share.
#[derive(Debug)]
pub struct Listener {
    /// The ports of their passive data connections.
    pub passive: Arc<PassivePool>,
    /// Whether TLS begins with the first byte.
    pub implicit: bool,
    /// Whether control connections may or must use TLS.
    pub control: Protection,
    /// Whether data connections may or must use TLS.
    pub data: Protection,
}
