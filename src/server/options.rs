//! All options of a server, composed of the options of each room.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::auth::options::{AuthOptions, Limits, LoginFailureOptions, UserOptions};
use crate::data::options::{ActiveOptions, PassiveOptions};
use crate::events::metrics::options::MetricsOptions;
use crate::events::options::LogOptions;
use crate::hooks::options::{BeforePublishOptions, EventHookOptions};
use crate::net::proxy::options::ProxyOptions;
use crate::object::options::{ResumeOptions, StoreOptions, TransferOptions};
use crate::server::inputs::Inputs;
use crate::session::options::{Hosts, RemovedUsers, SessionOptions, Timeouts};
use crate::tls::options::{Protection, TlsOptions};

/// The validated configuration of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// A hash of what was written, without secrets: two processes with the same one are configured
    /// alike.
    pub hash: String,
    /// The files that it was read from.
    pub inputs: Inputs,
    /// A hash of each top-level key, by which two configurations are compared.
    pub sections: BTreeMap<String, String>,
    /// When files are looked at, and what becomes of sessions whose users are gone.
    pub reload: ReloadOptions,
    /// Control listeners.
    pub listen: Vec<ListenOptions>,
    /// TLS; `None`: off.
    pub tls: Option<TlsOptions>,
    /// Text of the 220 greeting.
    pub greeting: String,
    /// Passive data connections.
    pub passive: PassiveOptions,
    /// Active data connections.
    pub active: ActiveOptions,
    /// Health endpoints; `None`: off.
    pub admin: Option<AdminOptions>,
    /// The log and the transfer log.
    pub log: LogOptions,
    /// What metrics count.
    pub metrics: MetricsOptions,
    /// The process's memory for transfers.
    pub memory: MemoryOptions,
    /// Parts, ranges and parallelism.
    pub transfer: TransferOptions,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Limits on sessions.
    pub limits: Limits,
    /// Load balancers that send their clients' addresses.
    pub proxy_protocol: ProxyOptions,
    /// How passwords are checked.
    pub auth: AuthOptions,
    /// Delays and bans after failed logins.
    pub login_failures: LoginFailureOptions,
    /// Virtual hosts by name.
    pub hosts: Hosts,
    /// A name that no other running process has; see [`crate::object::Replica::name`].
    pub replica: Option<String>,
    /// Interrupted uploads.
    pub resume: ResumeOptions,
    /// When stores are looked at.
    pub store_looks: LookOptions,
    /// URLs that events are posted to, by name.
    pub events: BTreeMap<String, EventHookOptions>,
    /// Who is asked before an upload is published; `None`: no one.
    pub before_publish: Option<BeforePublishOptions>,
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<StoreOptions>>,
    /// Users by name.
    pub users: BTreeMap<String, Arc<UserOptions>>,
}

impl ServerOptions {
    /// The options of sessions.
    pub fn session(&self) -> SessionOptions {
        SessionOptions {
            greeting: self.greeting.clone(),
            timeouts: self.timeouts.clone(),
            login_attempts: self.limits.login_attempts,
            login_delay: self.login_failures.delay,
            active: self.active.clone(),
            resume: self.resume.clone(),
            removed_users: self.reload.removed_users,
        }
    }

    /// The address whose passive ports serve the sessions of a listener: its own, or all addresses
    /// of its family if a listener has them, since a port can't be bound at both.
    pub fn passive_address(&self, ip: IpAddr) -> IpAddr {
        let all = match ip {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match self.listen.iter().any(|l| l.address.ip() == all) {
            true => all,
            false => ip,
        }
    }
}

/// What a configuration was read from: its files, directories, and the files of its secrets.
/// One control listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Its address.
    pub address: SocketAddr,
    /// Whether TLS begins with the first byte, instead of with AUTH.
    pub implicit: bool,
    /// TLS of control connections.
    pub control: Protection,
    /// TLS of data connections; `Off` if that of control connections is off.
    pub data: Protection,
}

/// Health endpoints and status page.
#[derive(Debug, Clone)]
pub struct AdminOptions {
    /// Address of the HTTP listener.
    pub listen: SocketAddr,
    /// What changes over it are allowed with; `None`: it is read-only.
    pub token: Option<SecretString>,
}

/// When stores are looked at. No keys: tests change them.
#[derive(Debug, Clone)]
pub struct LookOptions {
    /// How often a store is looked at while the server runs; zero: never, nor at the start.
    pub every: Duration,
    /// For how long the start looks at a required store that fails.
    pub required_for: Duration,
    /// The pause between two of these looks.
    pub required_pause: Duration,
}

impl Default for LookOptions {
    fn default() -> Self {
        LookOptions {
            every: Duration::from_secs(60),
            required_for: Duration::from_secs(60),
            required_pause: Duration::from_secs(2),
        }
    }
}

/// Reloads of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct ReloadOptions {
    /// How often its files are looked at; zero: never.
    pub every: Duration,
    /// What becomes of sessions whose users are gone.
    pub removed_users: RemovedUsers,
}

/// The memory budget.
#[derive(Debug, Clone)]
pub struct MemoryOptions {
    /// Bytes that all transfers and password hashing share.
    pub budget: u64,
    /// Time for which an upload holds the memory of a half-filled part while others wait for
    /// memory.
    pub hold: Duration,
}
