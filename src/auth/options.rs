//! Options of users, session limits and failed logins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::namespace::VirtualPath;
use crate::namespace::options::MountOptions;
use crate::tls::identity::RequiredName;
use crate::tls::options::Protection;

/// One user. `Debug` shows every field except the hash: recent logins count only while it does not
/// change.
#[derive(Debug, Clone)]
pub struct UserOptions {
    /// Login name.
    pub name: String,
    /// The group whose keys were the defaults.
    pub group: Option<String>,
    /// The password's hash, which [`PasswordHash`](crate::auth::PasswordHash) understands; `None` if
    /// a certificate is enough.
    pub password: Option<SecretString>,
    /// The hash of the password that will replace the other one. During a rotation both are right.
    pub next_password: Option<SecretString>,
    /// The client certificate that the user must show.
    pub certificate: Option<CertificateLogin>,
    /// The user's own rules for TLS, in place of the listener's.
    pub tls: UserTls,
    /// Whether this user's uploads under TLS may end with a mere FIN (`lenient_close`): for devices
    /// that never send close_notify.
    pub lenient_close: bool,
    /// The mounts by their path in the user's tree; placeholders in a prefix are already replaced.
    pub mounts: BTreeMap<VirtualPath, Arc<MountOptions>>,
    /// Where the user's sessions begin.
    pub start_directory: VirtualPath,
    /// Concurrent sessions of this user; `None`: [`Limits::sessions_per_user`].
    pub sessions: Option<usize>,
    /// What bounds the user's transfers and idle sessions.
    pub limits: UserLimits,
    /// Where the user may come from; empty: from everywhere.
    pub networks: Vec<IpNet>,
    /// Whether the user can't log in for now.
    pub disabled: bool,
    /// When the account ends; `None`: never.
    pub expires: Option<Timestamp>,
    /// What operators note about the user.
    pub comment: Option<String>,
    /// The values of placeholders, with those of the group.
    pub attributes: BTreeMap<String, String>,
}

impl UserOptions {
    /// A user with no password, no mounts and no limits.
    pub fn new(name: &str) -> Self {
        UserOptions {
            name: name.to_owned(),
            group: None,
            password: None,
            next_password: None,
            certificate: None,
            tls: UserTls::default(),
            lenient_close: false,
            mounts: BTreeMap::new(),
            start_directory: VirtualPath::root(),
            sessions: None,
            limits: UserLimits::default(),
            networks: Vec::new(),
            disabled: false,
            expires: None,
            comment: None,
            attributes: BTreeMap::new(),
        }
    }

    /// Whether the account is disabled, or has expired at this time.
    pub fn ended(&self, now: Timestamp) -> bool {
        self.disabled || self.expires.is_some_and(|end| now >= end)
    }

    /// Whether the user may come from this address.
    pub fn admits(&self, address: IpAddr) -> bool {
        // An IPv4 client of a dual-stack listener has an IPv4-mapped address.
        let address = address.to_canonical();
        let mut networks = self.networks.iter();
        self.networks.is_empty() || networks.any(|network| network.contains(&address))
    }
}

/// How passwords are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthOptions {
    /// What becomes of weak hashes.
    pub weak_hashes: WeakHashes,
    /// How long a right password counts without another check of its hash; zero: not at all.
    pub cache: Duration,
}

/// What becomes of hashes from which a password can be guessed quickly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeakHashes {
    /// A warning at the start names the users.
    #[default]
    Warn,
    /// They are errors of the configuration.
    Refuse,
    /// They are like other hashes.
    Allow,
}

/// What bounds the transfers and idle sessions of a user. `None`: the user has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Concurrent transfers of files, in all sessions of the user.
    pub transfers: Option<usize>,
    /// The rate of all uploads together, bytes a second.
    pub upload_rate: Option<u64>,
    /// The rate of all downloads together, bytes a second.
    pub download_rate: Option<u64>,
    /// How long a session of the user may be without a command.
    pub idle: Option<Duration>,
    /// The largest file that the user may store, bytes.
    pub max_file_size: Option<u64>,
}

/// A user's own rules for TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserTls {
    /// For control connections.
    pub control: Option<Protection>,
    /// For data connections.
    pub data: Option<Protection>,
}

/// A user's client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateLogin {
    /// The name that the certificate must have.
    pub name: RequiredName,
    /// Whether a password is required as well.
    pub password: bool,
}

/// Limits on sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent sessions in total.
    pub sessions: usize,
    /// Concurrent sessions from one address, or one /64 of IPv6.
    pub sessions_per_address: usize,
    /// The part of [`Limits::sessions`] for sessions before login.
    pub before_login: usize,
    /// The part of [`Limits::sessions_per_address`] for sessions before login.
    pub before_login_per_address: usize,
    /// Concurrent sessions of a user without a limit of their own; `None`: no limit.
    pub sessions_per_user: Option<usize>,
    /// Failed logins after which a connection is closed with 421.
    pub login_attempts: u32,
}

impl Limits {
    /// A quarter of all sessions; if there are very few, all except a few: most sessions are for
    /// logged-in users.
    pub(crate) fn default_before_login(sessions: usize) -> usize {
        (sessions / 4).max(4).min(sessions)
    }

    /// 250, and at most half of them all, so that one address never takes them from the others.
    pub(crate) fn default_before_login_per_address(before_login: usize) -> usize {
        (before_login / 2).clamp(2, 250).min(before_login)
    }

    /// Limits with this number of sessions in total; the other limits are at most the defaults for
    /// it.
    pub(crate) fn held_to(&self, sessions: usize) -> Limits {
        Limits {
            sessions,
            ..self.before_login_held_to(Limits::default_before_login(sessions))
        }
    }

    /// Limits the sessions before login to this number, and those of one address to the default for
    /// it, unless more than the default was configured.
    pub(crate) fn before_login_held_to(&self, most: usize) -> Limits {
        let before_login = self.before_login.min(most);
        let usual = Limits::default_before_login_per_address(self.before_login);
        let per_address = match self.before_login_per_address > usual {
            true => before_login,
            false => Limits::default_before_login_per_address(before_login),
        };
        Limits {
            before_login,
            before_login_per_address: self.before_login_per_address.min(per_address),
            ..self.clone()
        }
    }

    /// Sessions that are assumed to transfer at the same time: a quarter; if there are very few,
    /// all except a few.
    pub(crate) fn transfers(&self) -> usize {
        self.sessions.div_ceil(4).max(4).min(self.sessions)
    }
}

/// What failed logins lead to.
#[derive(Debug, Clone)]
pub struct LoginFailureOptions {
    /// The delay of the first answer; each further one doubles it.
    pub delay: Duration,
    /// The longest delay of an answer.
    pub max_delay: Duration,
    /// Failures after which an address is banned; `None`: never.
    pub ban_after: Option<u32>,
    /// Failures after which a user is banned; `None`: never.
    pub ban_user_after: Option<u32>,
    /// Where a user is banned.
    pub ban_users: BanUsers,
    /// How long a ban lasts, and until as many failures as lead to a ban are forgotten.
    pub ban_for: Duration,
    /// Addresses, and users, that are remembered at the same time.
    pub table_size: usize,
    /// Clients whose failures are neither counted nor banned.
    pub exempt: Vec<IpNet>,
}

/// Where a user with failed logins is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BanUsers {
    /// At the address of the failed logins: guessing there bans the user nowhere else.
    #[default]
    PerAddress,
    /// Everywhere: guessing from many addresses ends, but every client can get the user banned.
    Everywhere,
}
