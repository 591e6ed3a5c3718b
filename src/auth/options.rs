//! What is configured of users, their limits, and what failed logins lead to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::namespace::VirtualPath;
use crate::namespace::options::MountOptions;
use crate::tls::identity::RequiredName;
use crate::tls::options::Protection;

/// One user.
#[derive(Debug, Clone)]
pub struct UserOptions {
    /// Login name.
    pub name: String,
    /// The password's hash: argon2id (PHC), bcrypt (`$2b$…`), sha512-crypt (`$6$…`); none where a certificate suffices.
    pub password: Option<SecretString>,
    /// The client certificate he must have.
    pub certificate: Option<CertificateLogin>,
    /// What he must do, or can't, in place of what the listener says.
    pub tls: UserTls,
    /// Whether his uploads under TLS end with a mere FIN too (`lenient_close`): for devices that never send close_notify.
    pub lenient_close: bool,
    /// Where in his tree which mount is, `{user}` in its prefix already replaced.
    pub mounts: BTreeMap<VirtualPath, Arc<MountOptions>>,
    /// His sessions at once; `None`: [`Limits::sessions_per_user`].
    pub sessions: Option<usize>,
}

/// A user's own demands on TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserTls {
    /// Of his control connections.
    pub control: Option<Protection>,
    /// Of his data connections.
    pub data: Option<Protection>,
}

/// A user's client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateLogin {
    /// The name that is in it.
    pub name: RequiredName,
    /// Whether a password is wanted too.
    pub password: bool,
}

/// Limits on sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once, in all.
    pub sessions: usize,
    /// Sessions at once from one address, or one /64 of IPv6.
    pub sessions_per_address: usize,
    /// Of [`Limits::sessions`], those that nobody has logged in to.
    pub before_login: usize,
    /// Of [`Limits::sessions_per_address`], those that nobody has logged in to.
    pub before_login_per_address: usize,
    /// Sessions at once of a user that has no limit of his own; `None`: any number.
    pub sessions_per_user: Option<usize>,
    /// Failed logins after which a connection is closed with 421.
    pub login_attempts: u32,
}

impl Limits {
    /// A quarter of all sessions, and of very few all but some: most sessions are there for those who log in.
    pub(crate) fn default_before_login(sessions: usize) -> usize {
        (sessions / 4).max(4).min(sessions)
    }

    /// 250, and no more than half of them all, so that one address never takes them from the others.
    pub(crate) fn default_before_login_per_address(before_login: usize) -> usize {
        (before_login / 2).clamp(2, 250).min(before_login)
    }

    /// So many sessions in all, and of the other limits no more than the defaults are then.
    pub(crate) fn held_to(&self, sessions: usize) -> Limits {
        Limits {
            sessions,
            ..self.before_login_held_to(Limits::default_before_login(sessions))
        }
    }

    /// No more than so many sessions before login, and of one address no more than the default is then, unless more than
    /// the default were wanted.
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

    /// Sessions that are taken to transfer at once: a quarter, and of very few all but some.
    pub(crate) fn transfers(&self) -> usize {
        self.sessions.div_ceil(4).max(4).min(self.sessions)
    }
}

/// What failed logins lead to.
#[derive(Debug, Clone)]
pub struct LoginFailureOptions {
    /// The first is answered after this long, each further one after twice as long.
    pub delay: Duration,
    /// None is answered later than this.
    pub max_delay: Duration,
    /// Failures after which an address is banned; `None`: never.
    pub ban_after: Option<u32>,
    /// Failures after which a user is banned; `None`: never.
    pub ban_user_after: Option<u32>,
    /// Where a user is banned.
    pub ban_users: BanUsers,
    /// How long a ban lasts, and until so many failures as lead to one are forgotten.
    pub ban_for: Duration,
    /// Addresses, and users, that are remembered at once.
    pub table_size: usize,
    /// Clients whose failures are neither counted nor banned.
    pub exempt: Vec<IpNet>,
}

/// Where a user whose logins fail is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanUsers {
    /// At the address that his logins failed at: whoever guesses there bans nobody elsewhere.
    PerAddress,
    /// Everywhere: guessing from many addresses ends, and anybody can ban him.
    Everywhere,
}
