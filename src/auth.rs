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

pub use failures::{Failures, network_of};
pub use hash::{HashError, PasswordHash, hash_password};
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::auth::options::UserTls;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// `password`, `password` again and `Hello world!`, as cheap as the kinds allow.
    const HASHES: [(&str, &str, &str); 3] = [
        (
            "anna",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "password",
        ),
        (
            "bert",
            "$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96",
            "password",
        ),
        (
            "carl",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "Hello world!",
        ),
    ];

    fn authenticator() -> Authenticator {
        with_budget(Budget::new(64 << 20))
    }

    fn with_budget(budget: Budget) -> Authenticator {
        let user = |(name, hash, _): (&str, &str, &str)| {
            let user = UserOptions {
                name: name.to_owned(),
                password: Some(SecretString::from(hash)),
                certificate: None,
                tls: UserTls::default(),
                lenient_close: false,
                mounts: BTreeMap::new(),
                sessions: None,
            };
            (name.to_owned(), Arc::new(user))
        };
        Authenticator::new(&HASHES.into_iter().map(user).collect(), budget)
    }

    #[tokio::test]
    async fn the_right_password_only() {
        let authenticator = authenticator();
        for (name, _, password) in HASHES {
            let user = authenticator
                .verify(name, &password.into(), HERE, || true)
                .await
                .unwrap();
            assert_eq!(user.name, name);
            for wrong in ["", "Password", "password ", "Hello world"] {
                let refused = authenticator
                    .verify(name, &wrong.into(), HERE, || true)
                    .await;
                assert_eq!(
                    refused.unwrap_err(),
                    AuthError::Refused,
                    "{name}, {wrong:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn no_login_waits_for_transfers_but_where_the_budget_is_tiny() {
        // Each of these hashes is charged with a mebibyte.
        for (budget, at_once) in [(64, 8), (8, 1), (2, 1)] {
            let cores = 16;
            assert_eq!(
                set_aside(&Budget::new(budget << 20), 1 << 20, cores),
                Some(at_once)
            );
        }
        for (budget, waits) in [(2, false), (1, true)] {
            let budget = Budget::new(budget << 20);
            let mut authenticator = with_budget(budget.clone());
            authenticator.patience = Duration::ZERO;
            let password = "password".into();
            let verify = || authenticator.verify("bert", &password, HERE, || true);
            let held = budget.grant(1 << 20, Duration::ZERO).await.unwrap();
            match verify().await {
                Ok(_) => assert!(!waits),
                Err(error) => assert_eq!((error, waits), (AuthError::Memory, true)),
            }
            drop(held);
            verify().await.unwrap();
            assert_eq!(budget.in_use(), 0);
        }
    }

    #[tokio::test]
    async fn beyond_what_is_set_aside_it_is_what_transfers_leave() {
        let budget = Budget::new(8 << 20);
        let mut authenticator = with_budget(budget.clone());
        authenticator.cores = Arc::new(Semaphore::new(4));
        authenticator.patience = Duration::ZERO;
        let aside = Arc::clone(authenticator.aside.as_ref().unwrap());
        let _another = aside.try_acquire_owned().unwrap();
        let password = "password".into();
        let verify = || authenticator.verify("bert", &password, HERE, || true);
        verify().await.unwrap();
        let transfers = budget.grant(7 << 20, Duration::ZERO).await.unwrap();
        assert_eq!(verify().await.unwrap_err(), AuthError::Busy);
        drop(transfers);
        verify().await.unwrap();
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn an_unknown_user_is_refused_even_with_the_password_of_his_decoy() {
        let authenticator = authenticator();
        for unknown in ["", "ANNA", "anna ", "root"] {
            for password in ["password", "Hello world!"] {
                let refused = authenticator
                    .verify(unknown, &password.into(), HERE, || true)
                    .await;
                assert_eq!(refused.unwrap_err(), AuthError::Refused);
            }
        }
    }

    #[test]
    fn unknown_names_cost_what_known_ones_cost() {
        let authenticator = authenticator();
        let mut seen = BTreeSet::new();
        for number in 0..200 {
            let name = format!("unknown{number}");
            let decoy = &authenticator.decoy(&name).unwrap().user.name;
            assert_eq!(
                decoy,
                &authenticator.decoy(&name).unwrap().user.name,
                "the same each time"
            );
            seen.insert(decoy.clone());
        }
        assert_eq!(
            seen.len(),
            HASHES.len(),
            "every kind of hash stands in for somebody"
        );
    }

    #[tokio::test]
    async fn busy_when_no_core_becomes_free() {
        let mut authenticator = authenticator();
        authenticator.patience = Duration::ZERO;
        let all = u32::try_from(authenticator.cores.available_permits()).unwrap();
        let held = authenticator.cores.acquire_many(all).await.unwrap();
        let busy = authenticator
            .verify("anna", &"password".into(), HERE, || true)
            .await;
        assert_eq!(busy.unwrap_err(), AuthError::Busy);
        drop(held);
    }

    #[tokio::test]
    async fn who_is_not_heard_any_more_takes_no_core() {
        let authenticator = authenticator();
        let unheard = authenticator
            .verify("anna", &"password".into(), HERE, || false)
            .await;
        assert_eq!(unheard.unwrap_err(), AuthError::Unheard);
    }

    #[tokio::test]
    async fn nobody_is_configured() {
        let authenticator = Authenticator::new(&BTreeMap::new(), Budget::new(64 << 20));
        assert_eq!(
            authenticator
                .verify("anna", &"x".into(), HERE, || true)
                .await
                .unwrap_err(),
            AuthError::Refused
        );
    }

    #[test]
    fn debug_shows_no_hash() {
        let shown = format!("{:?}", authenticator());
        for (_, hash, _) in HASHES {
            assert!(!shown.contains(hash), "{shown}");
        }
    }
}
