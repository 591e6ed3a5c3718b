//! A user of another server, and what else its files say.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::auth::{HashError, PasswordHash, hash_password};

/// A user as it was found in the files of another server.
#[derive(Default)]
pub(super) struct ImportedUser {
    /// The login name.
    pub(super) name: String,
    /// The file and line that defines it.
    pub(super) origin: String,
    /// A hash that the server can check.
    pub(super) password: Option<SecretString>,
    /// Mounts that the files say; empty: the one of the command line.
    pub(super) mounts: BTreeMap<String, ImportedMount>,
    /// The user may not log in.
    pub(super) disabled: bool,
    /// The last day, or a time.
    pub(super) expires: Option<String>,
    /// Networks that the user may log in from; empty: all.
    pub(super) networks: Vec<String>,
    /// Sessions in parallel.
    pub(super) sessions: Option<u64>,
    /// The directory in which sessions begin.
    pub(super) start_directory: Option<String>,
    /// A note for operators.
    pub(super) comment: Option<String>,
    /// Bytes a second.
    pub(super) upload_rate: Option<u64>,
    /// Bytes a second.
    pub(super) download_rate: Option<u64>,
    /// What an operator may want to know; nothing is missing.
    pub(super) notes: Vec<String>,
    /// What could not be carried over.
    pub(super) lost: Vec<String>,
}

/// A mount of one user.
pub(super) enum ImportedMount {
    /// That of the command line.
    Given,
    /// A prefix of a bucket.
    Prefix {
        /// The name of its store.
        store: String,
        /// Its bucket.
        bucket: String,
        /// Empty, or ends in `/`.
        prefix: String,
        /// `None`: all.
        permissions: Option<Vec<&'static str>>,
    },
}

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The table's name as TOML writes it; empty: the top level.
    pub(super) table: String,
    /// The key.
    pub(super) key: &'static str,
    /// The value as TOML writes it.
    pub(super) value: String,
}

/// What is not about one user.
#[derive(Default)]
pub(super) struct ServerPart {
    /// Keys of the configuration.
    pub(super) settings: Vec<Setting>,
    /// What an operator may want to know.
    pub(super) notes: Vec<String>,
    /// What could not be carried over.
    pub(super) lost: Vec<String>,
}

/// All that was found.
#[derive(Default)]
pub(super) struct Found {
    /// The users, in the order of the files.
    pub(super) users: Vec<ImportedUser>,
    /// What is not about one user.
    pub(super) server: ServerPart,
}

impl ImportedUser {
    /// A user of this name.
    pub(super) fn new(name: &str, origin: String) -> ImportedUser {
        ImportedUser {
            name: name.to_owned(),
            origin,
            ..ImportedUser::default()
        }
    }

    /// Notes that something was not carried over.
    pub(super) fn lose(&mut self, what: impl Into<String>) {
        self.lost.push(what.into());
    }

    /// Notes that a restriction of the user was not carried over. The user is disabled: an import
    /// gives no user more rights than before.
    pub(super) fn lose_restriction(&mut self, what: impl Into<String>) {
        self.lose(what);
        self.disabled = true;
    }

    /// Takes the hash of the password, if the server can check it; else the user is disabled.
    pub(super) fn take_hash(&mut self, hash: &str) {
        let secret = SecretString::from(hash);
        let problem = match PasswordHash::parse(&secret) {
            Ok(_) => {
                self.password = Some(secret);
                return;
            }
            Err(error) => problem_of(hash, error),
        };
        self.lose_restriction(format!(
            "the password: {problem}; make a hash with `s3ftpd hash-password`"
        ));
    }

    /// Hashes a password.
    pub(super) fn take_password(&mut self, password: &str) {
        match hash_password(&SecretString::from(password)) {
            Ok(hash) => self.password = Some(hash.into()),
            Err(error) => self.lose_restriction(format!("the password: {error}")),
        }
    }
}

impl ServerPart {
    /// Sets a key, which replaces an earlier one.
    pub(super) fn set(&mut self, table: &str, key: &'static str, value: String) {
        self.settings
            .retain(|setting| setting.table != table || setting.key != key);
        let table = table.to_owned();
        self.settings.push(Setting { table, key, value });
    }
}

/// Why a hash can't be used. Quotes nothing of it but the name of its kind.
fn problem_of(hash: &str, error: HashError) -> String {
    if hash.is_empty() {
        return "there is none".to_owned();
    }
    let kinds = [
        ("$7$", "a scrypt hash ($7$)"),
        ("$gy$", "a gost-yescrypt hash ($gy$)"),
        ("$3$", "an NT hash ($3$)"),
        ("$md5", "a SunMD5 hash"),
        ("$sha1$", "a sha1-crypt hash"),
        ("$y$", "a yescrypt hash ($y$)"),
        ("$5$", "a sha256-crypt hash ($5$)"),
        ("$1$", "an md5-crypt hash ($1$)"),
        ("$apr1$", "an md5-crypt hash ($apr1$)"),
        ("_", "a hash of BSDi's crypt"),
    ];
    if error == HashError::Unrecognised {
        let kind = kinds.iter().find(|(prefix, _)| hash.starts_with(prefix));
        if let Some((_, kind)) = kind {
            return format!("it is {kind}, which the server does not check");
        }
        let is_des = hash.len() == 13 && hash.bytes().all(is_crypt_letter);
        return match is_des {
            true => "it is a DES hash of crypt(3), which the server does not check".to_owned(),
            false => "the server does not check this form".to_owned(),
        };
    }
    format!("it {error}")
}

fn is_crypt_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

/// The text of a secret, for the file.
pub(super) fn exposed(secret: &SecretString) -> &str {
    secret.expose_secret()
}
