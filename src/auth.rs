//! Logins: who may log in, and what failed logins lead to.
//!
//! A user is configured with a password hash, [`PasswordHash`]. [`Authenticator::verify`] checks a
//! password against it on a thread of the blocking pool. At most as many checks run in parallel as
//! there are cores. Memory for some of them is set aside from the process's budget, so that no login
//! waits for a transfer; the others take free memory of the budget. From each address only a few
//! logins wait for a core in the common queue (`queue`), however many the address sends, right or
//! wrong.
//!
//! A login that repeats one of the last minute waits for none of that:
//! [`Authenticator::logged_in_recently`].
//!
//! The time of a refusal does not show which names exist: the password for an unknown name is
//! checked as well, against the hash of a configured user that a keyed hash of the name selects. So
//! the same name always takes the same time, and unknown names take as long as known ones.
//!
//! [`Failures`] counts failed logins and bans, [`UserLimiter`] the sessions of each user,
//! [`TransferLimiter`] their transfers, [`SessionLimiter`] all sessions.

mod accounts;
mod failures;
mod hash;
mod network;
pub mod options;
mod probes;
mod queue;
mod recent;
mod sessions;
mod user_sessions;
mod user_transfers;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::auth::options::{AuthOptions, UserOptions};
use crate::memory::{Budget, Grant};

pub use accounts::Accounts;
pub(crate) use failures::BucketTable;
pub use failures::{Ban, Failures};
pub use hash::{HashError, PasswordHash, hash_password};
pub use network::network_of;
use probes::Probes;
use queue::Queues;
use recent::{RecentLogins, Tag};
pub use sessions::{Refused, SessionLimiter, SessionPermit};
pub use user_sessions::{UserLimiter, UserPermit};
pub use user_transfers::{TransferLimiter, TransferPermit, TransfersFull};

/// How long a login waits for a core and for memory in total.
const PATIENCE: Duration = Duration::from_secs(10);

/// Set aside for passwords: at most this fraction of the budget, an eighth; more only if a single
/// password needs more.
const SHARE: u64 = 8;

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such user, or another password. No client learns which.
    #[error("the user or the password is wrong")]
    Refused,
    /// Too many logins in parallel, in total or from this address: no core became free in time. A
    /// retry can succeed.
    #[error("too many logins at once")]
    Busy,
    /// Transfers hold the memory, and the budget is too small to set some aside. A retry can
    /// succeed.
    #[error("no memory free to check the password")]
    Memory,
    /// The address or the user was banned while the login waited; no password was checked.
    #[error("not heard any more")]
    Unheard,
}

/// A right password.
#[derive(Debug)]
pub struct Verified {
    /// Whose it is.
    pub user: Arc<UserOptions>,
    /// For [`Authenticator::remember`], once the client is logged in.
    pub ticket: Ticket,
}

/// Proof that a password was right under the configuration at that time.
pub struct Ticket(Option<Tag>);

/// Checks passwords. Share it in an `Arc`.
#[derive(Debug)]
pub struct Authenticator {
    /// Selects whose hash stands in for an unknown name; different in each process.
    chooser: RandomState,
    cores: Arc<Semaphore>,
    /// Which logins may wait for a core.
    queues: Arc<Queues>,
    budget: Budget,
    probes: Probes,
    /// Memory that is set aside for passwords; `None` if the budget has none for that.
    aside: Option<SetAside>,
    /// `None` if each login checks the hash.
    recent: Option<RecentLogins>,
    /// [`PATIENCE`], shorter in tests.
    patience: Duration,
}

impl Authenticator {
    /// Sets memory aside for the passwords of these accounts. Later ones may need more: those take it
    /// from the rest of the budget.
    pub fn new(accounts: &Accounts, options: &AuthOptions, budget: Budget) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Without a password there is nothing to set aside.
        let aside = accounts.largest_memory().and_then(|largest| {
            let aside = set_aside(&budget, largest, cores);
            if aside.is_none() {
                tracing::warn!(
                    "memory.budget is too small to set memory for passwords aside: logins wait while transfers hold it"
                );
            }
            aside.map(|at_once| SetAside {
                each: largest,
                permits: Arc::new(Semaphore::new(at_once)),
            })
        });
        Authenticator {
            chooser: RandomState::new(),
            cores: Arc::new(Semaphore::new(cores)),
            queues: Arc::new(Queues::new(cores)),
            budget,
            probes: Probes::default(),
            aside,
            recent: RecentLogins::new(options.cache),
            patience: PATIENCE,
        }
    }

    /// Returns the user if a login with this password was [remembered](Self::remember) recently, and
    /// the user's configuration is still the same. It waits for nothing.
    ///
    /// Ask only if the client may log in as this user, as far as is known before the password: the
    /// quick answer would show a banned client that its guess is right.
    pub fn logged_in_recently(
        &self,
        accounts: &Accounts,
        user: &str,
        password: &SecretString,
    ) -> Option<Arc<UserOptions>> {
        let recent = self.recent.as_ref()?;
        let known = accounts.with_password(user);
        // The same work for an unknown name, which has no entry.
        let account = known.or_else(|| accounts.decoy(user, &self.chooser))?;
        let tag = recent.tag(user, password, account.digest());
        let hit = recent.has(&tag, Instant::now());
        known
            .filter(|_| hit)
            .map(|account| Arc::clone(&account.user))
    }

    /// Remembers a login: not before the client is logged in, so that a failure is never remembered.
    pub fn remember(&self, ticket: Ticket) {
        if let (Some(recent), Some(tag)) = (&self.recent, ticket.0) {
            recent.add(tag, Instant::now());
        }
    }

    /// The number of logins that [`Self::logged_in_recently`] has answered.
    pub fn recent_hits(&self) -> u64 {
        self.recent.as_ref().map_or(0, RecentLogins::hits)
    }

    /// Returns the user if the password is right, by the accounts of one configuration. `heard` is called when it is this login's turn: a
    /// login that was banned while it waited takes no core from others. `address` is the client's
    /// address.
    ///
    /// # Errors
    /// [`AuthError::Refused`], after the same time for an unknown user as for a wrong password;
    /// [`AuthError::Busy`] if no core and [`AuthError::Memory`] if no memory became free within ten
    /// seconds; [`AuthError::Unheard`].
    pub async fn verify(
        &self,
        accounts: &Accounts,
        user: &str,
        password: &SecretString,
        address: IpAddr,
        heard: impl FnOnce() -> bool,
    ) -> Result<Verified, AuthError> {
        let known = accounts.with_password(user);
        let checked = known.or_else(|| accounts.decoy(user, &self.chooser));
        let Some((hashes, needed)) =
            checked.and_then(|account| Some((Arc::clone(&account.hashes), account.memory()?)))
        else {
            // There are no users, so a quick answer reveals nothing.
            return Err(AuthError::Refused);
        };
        let deadline = Instant::now() + self.patience;
        let turn = match timeout_at(deadline, self.queues.turn(network_of(address))).await {
            Ok(turn) => turn,
            Err(_) => return Err(AuthError::Busy),
        };
        let core = match timeout_at(deadline, Arc::clone(&self.cores).acquire_owned()).await {
            Ok(Ok(core)) => core,
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => return Err(AuthError::Busy),
        };
        if !heard() {
            return Err(AuthError::Unheard);
        }
        let memory = self.memory_for(needed, deadline).await?;
        let checked = password.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let right = hashes.iter().any(|hash| hash.verify(&checked));
            // Held until here, even if the session has ended in the meantime.
            drop((core, memory, turn));
            right
        });
        match (hashing.await, known) {
            (Ok(true), Some(account)) => {
                let tag = |recent: &RecentLogins| recent.tag(user, password, account.digest());
                Ok(Verified {
                    user: Arc::clone(&account.user),
                    ticket: Ticket(self.recent.as_ref().map(tag)),
                })
            }
            (Ok(_), _) => Err(AuthError::Refused),
            (Err(error), _) => {
                tracing::error!(%error, "checking a password failed");
                Err(AuthError::Busy)
            }
        }
    }

    /// Whether this name is one of a login without an account, which clients try on their own, and
    /// no user has it.
    pub fn is_probe(&self, accounts: &Accounts, user: &str) -> bool {
        Probes::is_name(user) && accounts.user(user).is_none()
    }

    /// How long the answer to such a login has to wait; `None` if too many from this address wait.
    pub fn probe_turn(&self, address: IpAddr) -> Option<Duration> {
        self.probes.turn(address)
    }

    /// Returns memory to check a password, `bytes` of it: set-aside memory, else free memory of the budget, else
    /// set-aside memory once some is free.
    async fn memory_for(&self, bytes: u64, deadline: Instant) -> Result<HashMemory, AuthError> {
        let aside = self.aside.as_ref().filter(|aside| bytes <= aside.each);
        let Some(SetAside { permits, .. }) = aside else {
            let patience = deadline.saturating_duration_since(Instant::now());
            let granted = self.budget.grant(bytes, patience).await;
            return granted
                .map(HashMemory::granted)
                .map_err(|_| AuthError::Memory);
        };
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(HashMemory::aside(permit));
        }
        if let Some(granted) = self.budget.try_grant(bytes) {
            return Ok(HashMemory::granted(granted));
        }
        match timeout_at(deadline, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(HashMemory::aside(permit)),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(AuthError::Busy),
        }
    }
}

/// Memory that is set aside.
#[derive(Debug)]
struct SetAside {
    /// The largest password that it is enough for, bytes.
    each: u64,
    /// One for each password that is checked at the same time.
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

/// Memory that is held while a password is checked: one of the two.
#[derive(Debug)]
struct HashMemory {
    _aside: Option<OwnedSemaphorePermit>,
    _granted: Option<Grant>,
}

impl HashMemory {
    fn aside(permit: OwnedSemaphorePermit) -> Self {
        HashMemory {
            _aside: Some(permit),
            _granted: None,
        }
    }

    fn granted(grant: Grant) -> Self {
        HashMemory {
            _aside: None,
            _granted: Some(grant),
        }
    }
}

/// Sets memory aside for passwords, the most demanding of which needs `largest` bytes. Returns for
/// how many in parallel.
fn set_aside(budget: &Budget, largest: u64, cores: usize) -> Option<usize> {
    let fit = budget.total() / SHARE / largest.max(1);
    let at_once = usize::try_from(fit).unwrap_or(cores).clamp(1, cores);
    let bytes = largest.saturating_mul(u64::try_from(at_once).ok()?);
    budget.set_aside(bytes).then_some(at_once)
}

#[cfg(test)]
mod tests;
