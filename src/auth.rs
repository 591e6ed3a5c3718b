//! Who may log in.
//!
//! A user is configured with the hash of his password ([`PasswordHash`]: argon2id, bcrypt, sha512-crypt).
//! [`Authenticator::verify`] checks a password against it on a thread of the blocking pool, at most as many at
//! once as there are cores. The memory for some of them is set aside of the process's budget, so that no login waits for a
//! transfer; the others take what the budget has at the moment. Of each address only a few wait for a core beside those of others (`queue`), however many it sends, right
//! ones or wrong.
//!
//! Nobody can learn from the time of a refusal which names exist: the password for an unknown name is
//! checked as well, against the hash of a configured user that a keyed hash of the name chooses. So the
//! same name always takes the same time, and unknown names cost what the known ones cost.
//!
//! What failed logins lead to is kept by [`Failures`], how many sessions a user has by [`UserLimiter`], how many there are
//! by [`SessionLimiter`].

mod failures;
mod hash;
mod network;
pub mod options;
mod probes;
mod queue;
mod sessions;
mod user_sessions;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::auth::options::UserOptions;
use crate::memory::{Budget, Grant};
use crate::tls::identity::Identity;

pub use failures::Failures;
pub use hash::{HashError, PasswordHash, hash_password};
pub use network::network_of;
use probes::Probes;
use queue::Queues;
pub use sessions::{Refused, SessionLimiter, SessionPermit};
pub use user_sessions::{UserLimiter, UserPermit};

/// How long a login waits for a core and for memory, in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// This part of the budget at most is set aside for passwords: an eighth; more only where one of them needs more.
const SHARE: u64 = 8;

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such user, or another password. Which of them is told to nobody.
    #[error("the user or the password is wrong")]
    Refused,
    /// Too many logins at once, in all or of this address: no core became free in time. Trying again can help.
    #[error("too many logins at once")]
    Busy,
    /// Transfers hold the memory, of which a small budget has none set aside. Trying again can help.
    #[error("no memory free to check the password")]
    Memory,
    /// Whoever asked is not to be heard any more; no password was checked.
    #[error("not heard any more")]
    Unheard,
}

/// Checks passwords. Share it in an `Arc`.
#[derive(Debug)]
pub struct Authenticator {
    accounts: BTreeMap<String, Account>,
    /// The names again, so that one of them can be chosen by a number.
    names: Vec<String>,
    /// Keys the choice; another one in each process.
    chooser: RandomState,
    cores: Arc<Semaphore>,
    /// Who may wait for a core.
    queues: Arc<Queues>,
    budget: Budget,
    probes: Probes,
    /// Passwords for which memory is set aside; `None` where the budget has none for that.
    aside: Option<Arc<Semaphore>>,
    /// [`PATIENCE`], shorter in tests.
    patience: Duration,
}

#[derive(Debug)]
struct Account {
    user: Arc<UserOptions>,
    /// None where a certificate suffices: then no password is right.
    hash: Option<Arc<PasswordHash>>,
}

impl Authenticator {
    /// For these users. One whose password is no hash can't log in (the configuration refuses it before).
    pub fn new(users: &BTreeMap<String, Arc<UserOptions>>, budget: Budget) -> Self {
        let mut accounts = BTreeMap::new();
        for (name, user) in users {
            let hash = match user.password.as_ref().map(PasswordHash::parse).transpose() {
                Ok(hash) => hash.map(Arc::new),
                Err(error) => {
                    tracing::error!(user = %name, %error, "this user can't log in");
                    continue;
                }
            };
            let user = Arc::clone(user);
            accounts.insert(name.clone(), Account { user, hash });
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hashes = accounts
            .values()
            .filter_map(|account| account.hash.as_ref());
        let largest = hashes.map(|hash| hash.memory()).max();
        // Without a password there is nothing to set aside.
        let aside = largest.and_then(|largest| {
            let aside = set_aside(&budget, largest, cores);
            if aside.is_none() {
                tracing::warn!(
                    "memory.budget is too small to set memory for passwords aside: logins wait while transfers hold it"
                );
            }
            aside.map(|at_once| Arc::new(Semaphore::new(at_once)))
        });
        Authenticator {
            names: accounts
                .iter()
                .filter(|(_, account)| account.hash.is_some())
                .map(|(name, _)| name.clone())
                .collect(),
            accounts,
            chooser: RandomState::new(),
            cores: Arc::new(Semaphore::new(cores)),
            queues: Arc::new(Queues::new(cores)),
            budget,
            probes: Probes::default(),
            aside,
            patience: PATIENCE,
        }
    }

    /// The user, where the password is his. `heard` is asked once it is his turn: who has been banned since he began to
    /// wait takes no core from others. `address` is where he is.
    ///
    /// # Errors
    /// [`AuthError::Refused`] after the same time for an unknown user as for a wrong password; [`AuthError::Busy`] where no
    /// core and [`AuthError::Memory`] where no memory became free within ten seconds; [`AuthError::Unheard`].
    pub async fn verify(
        &self,
        user: &str,
        password: &SecretString,
        address: IpAddr,
        heard: impl FnOnce() -> bool,
    ) -> Result<Arc<UserOptions>, AuthError> {
        let known = self
            .accounts
            .get(user)
            .filter(|account| account.hash.is_some());
        let Some(hash) = known
            .or_else(|| self.decoy(user))
            .and_then(|account| account.hash.clone())
        else {
            // There are no users at all, and so nothing to find out.
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
        let memory = self.memory_for(&hash, deadline).await?;
        let password = password.clone();
        let hashing = tokio::task::spawn_blocking(move || {
            let right = hash.verify(&password);
            // Held to here, also when the session has gone meanwhile.
            drop((core, memory, turn));
            right
        });
        match (hashing.await, known) {
            (Ok(true), Some(account)) => Ok(Arc::clone(&account.user)),
            (Ok(_), _) => Err(AuthError::Refused),
            (Err(error), _) => {
                tracing::error!(%error, "checking a password failed");
                Err(AuthError::Busy)
            }
        }
    }

    /// Whether a login by this name is one without an account, as clients try it of themselves, and there is no such user.
    pub fn is_probe(&self, user: &str) -> bool {
        Probes::is_name(user) && !self.accounts.contains_key(user)
    }

    /// How long the answer to such a login has to wait; `None` if too many from this address wait already.
    pub fn probe_turn(&self, address: IpAddr) -> Option<Duration> {
        self.probes.turn(address)
    }

    /// Memory to check a password: what is set aside, else what transfers leave, else what is set aside once it is free.
    async fn memory_for(
        &self,
        hash: &PasswordHash,
        deadline: Instant,
    ) -> Result<HashMemory, AuthError> {
        let Some(aside) = &self.aside else {
            let patience = deadline.saturating_duration_since(Instant::now());
            let granted = self.budget.grant(hash.memory(), patience).await;
            return granted
                .map(HashMemory::granted)
                .map_err(|_| AuthError::Memory);
        };
        if let Ok(permit) = Arc::clone(aside).try_acquire_owned() {
            return Ok(HashMemory::aside(permit));
        }
        if let Some(granted) = self.budget.try_grant(hash.memory()) {
            return Ok(HashMemory::granted(granted));
        }
        match timeout_at(deadline, Arc::clone(aside).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(HashMemory::aside(permit)),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(AuthError::Busy),
        }
    }

    /// The user of that name, where the holder of this certificate is let in as him without a password.
    pub fn by_certificate(&self, user: &str, identity: &Identity) -> Option<Arc<UserOptions>> {
        let user = &self.accounts.get(user)?.user;
        let login = user.certificate.as_ref()?;
        (!login.password && identity.is(&login.name)).then(|| Arc::clone(user))
    }

    /// The account whose hash stands in for that of an unknown name.
    fn decoy(&self, unknown: &str) -> Option<&Account> {
        let count = u64::try_from(self.names.len())
            .ok()
            .filter(|count| *count > 0)?;
        let index = usize::try_from(self.chooser.hash_one(unknown) % count).ok()?;
        self.accounts.get(self.names.get(index)?)
    }
}

/// Memory that is held while a password is checked: one of both.
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

/// Sets memory aside for checking passwords of which the most demanding needs so much: for how many at once.
fn set_aside(budget: &Budget, largest: u64, cores: usize) -> Option<usize> {
    let fit = budget.total() / SHARE / largest.max(1);
    let at_once = usize::try_from(fit).unwrap_or(cores).clamp(1, cores);
    let bytes = largest.saturating_mul(u64::try_from(at_once).ok()?);
    budget.set_aside(bytes).then_some(at_once)
}

#[cfg(test)]
mod tests;
