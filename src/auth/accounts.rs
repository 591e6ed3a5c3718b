//! [`Accounts`]: the users of one configuration, by whose hashes passwords are checked.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::auth::hash::PasswordHash;
use crate::auth::options::UserOptions;
use crate::tls::identity::Identity;

/// The users of one configuration. A reload makes new ones.
#[derive(Debug, Default)]
pub struct Accounts {
    accounts: BTreeMap<String, Account>,
    /// The names of those with a password, so that a number can select one.
    names: Vec<String>,
}

/// A user, and what a password is compared with.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: Arc<UserOptions>,
    /// One of them must match; two during a rotation. Empty if a certificate is enough: then no
    /// password is right.
    pub(super) hashes: Arc<[PasswordHash]>,
    digest: OnceLock<[u8; 32]>,
}

impl Account {
    /// A digest of all that is configured for the user. It is made at the first use, since only few
    /// of many users log in.
    pub(super) fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| {
            let mut digest = Sha256::new();
            // `Debug` shows everything except the hashes.
            for hash in self.user.password.iter().chain(&self.user.next_password) {
                digest.update(hash.expose_secret());
                digest.update("\n");
            }
            digest.update(format!("{:?}", self.user));
            digest.finalize().into()
        })
    }

    /// The memory that a check of a password takes, bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        self.hashes.iter().map(PasswordHash::memory).max()
    }
}

impl Accounts {
    /// The accounts of these users. A user whose password is not a hash can't log in (the
    /// configuration refuses it earlier).
    pub fn new(users: &BTreeMap<String, Arc<UserOptions>>) -> Self {
        let mut accounts = BTreeMap::new();
        for (name, user) in users {
            let written = user.password.iter().chain(&user.next_password);
            match written.map(PasswordHash::parse).collect::<Result<_, _>>() {
                Ok(hashes) => {
                    let user = Arc::clone(user);
                    let account = Account {
                        user,
                        hashes,
                        digest: OnceLock::new(),
                    };
                    accounts.insert(name.clone(), account);
                }
                Err(error) => tracing::error!(user = %name, %error, "this user can't log in"),
            }
        }
        Accounts {
            names: accounts
                .iter()
                .filter(|(_, account)| !account.hashes.is_empty())
                .map(|(name, _)| name.clone())
                .collect(),
            accounts,
        }
    }

    /// The user with this name.
    pub fn user(&self, name: &str) -> Option<&Arc<UserOptions>> {
        self.accounts.get(name).map(|account| &account.user)
    }

    /// All users, in the order of their names.
    pub fn users(&self) -> impl Iterator<Item = &Arc<UserOptions>> {
        self.accounts.values().map(|account| &account.user)
    }

    /// The user with this name, if the holder of this certificate can log in as that user without a
    /// password.
    pub fn by_certificate(&self, user: &str, identity: &Identity) -> Option<Arc<UserOptions>> {
        let user = self.user(user)?;
        let login = user.certificate.as_ref()?;
        (!login.password && identity.is(&login.name)).then(|| Arc::clone(user))
    }

    /// The account with this name, if it has a password.
    pub(super) fn with_password(&self, name: &str) -> Option<&Account> {
        let account = self.accounts.get(name);
        account.filter(|account| !account.hashes.is_empty())
    }

    /// The account whose hashes stand in for those of an unknown name. `chooser` makes it the same
    /// one each time.
    pub(super) fn decoy(&self, unknown: &str, chooser: &impl BuildHasher) -> Option<&Account> {
        let count = u64::try_from(self.names.len())
            .ok()
            .filter(|count| *count > 0)?;
        let index = usize::try_from(chooser.hash_one(unknown) % count).ok()?;
        self.accounts.get(self.names.get(index)?)
    }

    /// The largest memory that a check of a password takes, bytes; `None` if there is no password.
    pub(super) fn largest_memory(&self) -> Option<u64> {
        self.accounts.values().filter_map(Account::memory).max()
    }
}
