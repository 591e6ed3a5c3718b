//! Password hashes: parses and checks each kind, and makes one of them.
//!
//! Each kind has a file that reads its text and checks a password against it. A text is read when
//! the configuration is, and all of it: what [`PasswordHash::parse`] accepts, a password can be
//! checked against. So the bounds on the cost of a check hold from the start.

mod argon2id;
mod bcrypt;
mod md5_crypt;
mod pbkdf2;
mod sha1;
mod sha_crypt;
mod yescrypt;

use std::fmt;

use ::argon2::{Argon2, PasswordHasher};
use base64ct::{Base64ShaCrypt, Encoding};
use secrecy::{ExposeSecret, SecretString};

/// Longer passwords are never right: the time of sha512-crypt grows with the square of the length.
const LONGEST_PASSWORD: usize = 1024;
/// Memory charged for each kind without large tables: its state, rounded up generously, bytes.
const SMALL: u64 = 1024 * 1024;

/// A parsed hash, ready to check passwords against. Its `Debug` shows the kind only.
pub struct PasswordHash(Box<dyn Scheme>);

/// A hash of one kind.
trait Scheme: Send + Sync {
    /// The kind's name.
    fn name(&self) -> &'static str;

    /// Whether the password is the one that was hashed. Compares in constant time.
    fn matches(&self, password: &[u8]) -> bool;

    /// Bytes that [`Scheme::matches`] needs.
    fn memory(&self) -> u64 {
        SMALL
    }

    /// What makes it weak, if it is.
    fn weakness(&self) -> Option<&'static str> {
        None
    }
}

/// Why a text is not a hash, or why a password can't be hashed. Never contains any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The text begins like none of the kinds.
    #[error(
        "is not a password hash (a plain-text password must be hashed: `s3ftpd hash-password`)"
    )]
    Unrecognised,
    /// The text begins like one of the kinds, and is damaged or has parameters that this kind does
    /// not have.
    #[error("is a damaged {0} hash")]
    Malformed(&'static str),
    /// The text begins like a kind that is not checked, for this reason.
    #[error("is a {kind} hash: {reason}")]
    Unsupported {
        /// What it is.
        kind: &'static str,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A check would take too long, or too much memory.
    #[error("is a {kind} hash with {parameter} = {value}, and the server checks at most {limit}")]
    TooCostly {
        /// What it is.
        kind: &'static str,
        /// The parameter that is too large.
        parameter: &'static str,
        /// Its value.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
    /// An empty password can't be hashed: it is a mistake.
    #[error("the password is empty")]
    Empty,
    /// No password is longer than 1,024 bytes.
    #[error("the password is longer than {LONGEST_PASSWORD} bytes")]
    TooLong,
    /// The operating system gave no random bytes or no memory.
    #[error("the password can't be hashed")]
    Failed,
}

/// Hashes a password for the configuration: argon2id with the parameters that OWASP recommends (19
/// MiB, 2 passes).
///
/// # Errors
/// [`HashError::Empty`], [`HashError::TooLong`], [`HashError::Failed`].
pub fn hash_password(password: &SecretString) -> Result<String, HashError> {
    let password = password.expose_secret().as_bytes();
    if password.is_empty() {
        return Err(HashError::Empty);
    }
    if password.len() > LONGEST_PASSWORD {
        return Err(HashError::TooLong);
    }
    let hash = Argon2::default()
        .hash_password(password)
        .map_err(|_| HashError::Failed)?;
    Ok(hash.to_string())
}

impl PasswordHash {
    /// Recognises the kind and checks that [`PasswordHash::verify`] will understand all of it.
    ///
    /// # Errors
    /// [`HashError::Unrecognised`], [`HashError::Malformed`], [`HashError::Unsupported`],
    /// [`HashError::TooCostly`].
    pub fn parse(hash: &SecretString) -> Result<Self, HashError> {
        let text = hash.expose_secret();
        let (prefix, rest) = split_prefix(text).ok_or(HashError::Unrecognised)?;
        let kind = match prefix {
            "$argon2id$" => argon2id::parse(text)?,
            "$y$" => yescrypt::parse(rest)?,
            "$2a$" | "$2b$" | "$2y$" => bcrypt::parse(text)?,
            "$2x$" => return Err(bcrypt::FAULTY),
            "$6$" => sha_crypt::parse_sha512(rest)?,
            "$5$" => sha_crypt::parse_sha256(rest)?,
            "$1$" => md5_crypt::parse_md5_crypt(rest)?,
            "$apr1$" => md5_crypt::parse_apr1(rest)?,
            "$pbkdf2-sha1$" => pbkdf2::parse_sha1(rest)?,
            "$pbkdf2-sha256$" => pbkdf2::parse_sha256(rest)?,
            "$pbkdf2-sha512$" => pbkdf2::parse_sha512(rest)?,
            "$pbkdf2-b64salt-sha256$" => pbkdf2::parse_sha256_with_base64_salt(rest)?,
            // RFC 2307: the case of a scheme does not matter.
            scheme if scheme.eq_ignore_ascii_case("{SSHA}") => sha1::parse_salted(rest)?,
            scheme if scheme.eq_ignore_ascii_case("{SHA}") => sha1::parse_unsalted(rest)?,
            _ => return Err(HashError::Unrecognised),
        };
        Ok(PasswordHash(kind))
    }

    /// Whether the password is the one that was hashed. Takes as long for a wrong one; blocks its
    /// thread.
    pub fn verify(&self, password: &SecretString) -> bool {
        let password = password.expose_secret().as_bytes();
        password.len() <= LONGEST_PASSWORD && self.0.matches(password)
    }

    /// Bytes that [`PasswordHash::verify`] needs.
    pub fn memory(&self) -> u64 {
        self.0.memory()
    }

    /// What makes the hash weak, if its password can be guessed quickly once the hash is known.
    pub fn weakness(&self) -> Option<&'static str> {
        self.0.weakness()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHash({})", self.0.name())
    }
}

/// `$kind$` or `{SCHEME}`, and the rest.
fn split_prefix(text: &str) -> Option<(&str, &str)> {
    let end = match text.as_bytes().first()? {
        b'$' => text[1..].find('$')? + 2,
        b'{' => text.find('}')? + 1,
        _ => return None,
    };
    Some(text.split_at(end))
}

/// A parameter in decimal digits.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number of more digits is above every bound.
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// An error if the parameter's value is above the limit.
fn at_most(
    kind: &'static str,
    parameter: &'static str,
    value: u64,
    limit: u64,
) -> Result<(), HashError> {
    if value <= limit {
        return Ok(());
    }
    Err(HashError::TooCostly {
        kind,
        parameter,
        value,
        limit,
    })
}

/// Whether crypt(3) takes it as a salt: it stands between two `$` in a line of fields between `:`.
fn is_crypt_salt(salt: &str) -> bool {
    salt.bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'$' && byte != b':')
}

/// Decodes the base64 of crypt(3), whose text must stand for exactly `N` bytes.
fn decode_crypt<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let decoded = Base64ShaCrypt::decode(text, &mut bytes).ok()?;
    (decoded.len() == N).then_some(bytes)
}

#[cfg(test)]
mod tests;
