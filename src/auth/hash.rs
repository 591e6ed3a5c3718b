//! Password hashes: parses and checks each kind, and makes one of them.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use sha_crypt::ShaCrypt;

/// Longer passwords are never right: sha512-crypt's time grows with the square of the length.
const LONGEST_PASSWORD: usize = 1024;
/// Memory charged for each kind except argon2id: its state, rounded up generously, bytes.
const SMALL: u64 = 1024 * 1024;
/// Blocks of 1 KiB that a check by argon2id reserves, at least. glibc keeps freed memory in the
/// arena of the thread that allocated it, unless the allocation was larger than its largest mmap
/// threshold (32 MiB). Reserved memory that is not used is never resident.
const OWN_MAPPING: usize = 33 * 1024;

/// A parsed hash, ready to check passwords against. Its `Debug` shows the kind only.
pub struct PasswordHash(HashKind);

enum HashKind {
    /// PHC string, RFC 9106.
    Argon2id(Box<phc::PasswordHash>),
    /// `$2a$`, `$2b$`, `$2y$`.
    Bcrypt(SecretString),
    /// `$6$`.
    Sha512Crypt(SecretString),
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
    /// [`HashError::Unrecognised`], [`HashError::Malformed`].
    pub fn parse(hash: &SecretString) -> Result<Self, HashError> {
        let text = hash.expose_secret();
        if text.starts_with("$argon2id$") {
            return argon2id(text).ok_or(HashError::Malformed("argon2id"));
        }
        if ["$2a$", "$2b$", "$2y$"]
            .iter()
            .any(|kind| text.starts_with(kind))
        {
            let cost = text
                .parse::<bcrypt::HashParts>()
                .map(|parts| parts.get_cost());
            return match cost {
                Ok(4..=31) => Ok(PasswordHash(HashKind::Bcrypt(hash.clone()))),
                _ => Err(HashError::Malformed("bcrypt")),
            };
        }
        if let Some(rest) = text.strip_prefix("$6$") {
            return if sha512_crypt_is_whole(rest) {
                Ok(PasswordHash(HashKind::Sha512Crypt(hash.clone())))
            } else {
                Err(HashError::Malformed("sha512-crypt"))
            };
        }
        Err(HashError::Unrecognised)
    }

    /// Whether the password is the one that was hashed. Takes as long for a wrong one; blocks its
    /// thread.
    pub fn verify(&self, password: &SecretString) -> bool {
        let password = password.expose_secret().as_bytes();
        if password.len() > LONGEST_PASSWORD {
            return false;
        }
        match &self.0 {
            HashKind::Argon2id(hash) => argon2id_matches(hash, password).unwrap_or(false),
            HashKind::Bcrypt(hash) => {
                bcrypt::verify(password, hash.expose_secret()).unwrap_or(false)
            }
            HashKind::Sha512Crypt(hash) => ShaCrypt::default()
                .verify_password(password, hash.expose_secret())
                .is_ok(),
        }
    }

    /// Bytes that [`PasswordHash::verify`] needs.
    pub fn memory(&self) -> u64 {
        match &self.0 {
            HashKind::Argon2id(hash) => argon2::Params::try_from(hash.as_ref())
                .map_or(SMALL, |params| {
                    (u64::from(params.m_cost()) * 1024).max(SMALL)
                }),
            HashKind::Bcrypt(_) | HashKind::Sha512Crypt(_) => SMALL,
        }
    }
}

/// `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`
fn argon2id(text: &str) -> Option<PasswordHash> {
    let hash = phc::PasswordHash::new(text).ok()?;
    argon2::Params::try_from(&hash).ok()?;
    argon2::Version::try_from(hash.version?).ok()?;
    hash.hash.as_ref()?;
    let whole = hash.algorithm == ARGON2ID_IDENT
        && hash
            .salt
            .as_ref()
            .is_some_and(|salt| salt.len() >= argon2::MIN_SALT_LEN);
    whole.then(|| PasswordHash(HashKind::Argon2id(Box::new(hash))))
}

/// Whether argon2id makes this hash from the password, in memory that returns to the system at the
/// end.
fn argon2id_matches(
    hash: &phc::PasswordHash,
    password: &[u8],
) -> argon2::password_hash::Result<bool> {
    let (Some(version), Some(salt), Some(expected)) = (hash.version, &hash.salt, &hash.hash) else {
        return Ok(false);
    };
    let params = argon2::Params::try_from(hash)?;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(params.block_count().max(OWN_MAPPING))
        .map_err(|_| argon2::Error::OutOfMemory)?;
    memory.resize(params.block_count(), Block::new());
    let mut output = [0; phc::Output::MAX_LENGTH];
    let output = &mut output[..expected.len()];
    Argon2::new(Algorithm::Argon2id, version.try_into()?, params).hash_password_into_with_memory(
        password,
        salt,
        output,
        &mut memory,
    )?;
    // Compares in constant time.
    Ok(phc::Output::new(output)? == *expected)
}

/// `salt$hash` or `rounds=5000$salt$hash`, as the specification of sha-crypt says.
fn sha512_crypt_is_whole(rest: &str) -> bool {
    let rest = match rest.strip_prefix("rounds=") {
        Some(with_rounds) => match with_rounds.split_once('$') {
            Some((rounds, rest))
                if rounds
                    .parse::<u32>()
                    .is_ok_and(|rounds| sha_crypt::Params::new(rounds).is_ok()) =>
            {
                rest
            }
            _ => return false,
        },
        None => rest,
    };
    let crypt = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
    };
    rest.split_once('$').is_some_and(|(salt, hash)| {
        (1..=16).contains(&salt.len()) && crypt(salt) && hash.len() == 86 && crypt(hash)
    })
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            HashKind::Argon2id(_) => "argon2id",
            HashKind::Bcrypt(_) => "bcrypt",
            HashKind::Sha512Crypt(_) => "sha512-crypt",
        };
        write!(f, "PasswordHash({kind})")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn parse(text: &str) -> Result<PasswordHash, HashError> {
        PasswordHash::parse(&text.into())
    }

    #[test]
    fn vectors() {
        // argon2id: the reference implementation's tests; bcrypt: crypt_blowfish and others;
        // sha512-crypt: Drepper's specification, passlib.
        for (hash, password) in [
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                "password",
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
                "password",
            ),
            (
                "$2a$04$UuTkLRZZ6QofpDOlMz32MuuxEHA43WOemOYHPz6.SjsVsyO1tDU96",
                "password",
            ),
            (
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "U*U",
            ),
            (
                "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "U*U",
            ),
            (
                "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "U*U",
            ),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
            (
                "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
                "Hello world!",
            ),
        ] {
            let parsed = parse(hash).unwrap();
            assert!(parsed.verify(&password.into()), "{hash}");
            for wrong in ["", "passwor", "password\0", "Hello world", "U*U*"] {
                assert!(!parsed.verify(&wrong.into()), "{hash} took {wrong:?}");
            }
        }
    }

    #[test]
    fn malformed() {
        for (hash, error) in [
            ("", HashError::Unrecognised),
            ("hunter2", HashError::Unrecognised),
            ("$1$salt$0123456789012345678901", HashError::Unrecognised),
            (
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8",
                HashError::Unrecognised,
            ),
            (
                "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Unrecognised,
            ),
            ("$argon2id$", HashError::Malformed("argon2id")),
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
                HashError::Malformed("argon2id"),
            ),
            (
                "$argon2id$v=18$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Malformed("argon2id"),
            ),
            (
                "$argon2id$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Malformed("argon2id"),
            ),
            (
                "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Malformed("argon2id"),
            ),
            (
                "$argon2id$v=19$m=256,t=2,p=1$c29t$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
                HashError::Malformed("argon2id"),
            ),
            (
                "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe",
                HashError::Malformed("bcrypt"),
            ),
            (
                "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                HashError::Malformed("bcrypt"),
            ),
            (
                "$2b$xx$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                HashError::Malformed("bcrypt"),
            ),
            ("$6$", HashError::Malformed("sha512-crypt")),
            (
                "$6$$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                HashError::Malformed("sha512-crypt"),
            ),
            ("$6$saltstring$svn8", HashError::Malformed("sha512-crypt")),
            (
                "$6$rounds=9$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                HashError::Malformed("sha512-crypt"),
            ),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1$",
                HashError::Malformed("sha512-crypt"),
            ),
        ] {
            assert_eq!(parse(hash).err(), Some(error), "{hash}");
        }
    }

    #[test]
    fn what_is_made_is_recognised() {
        let hash = hash_password(&"changeme".into()).unwrap();
        let parsed = parse(&hash).unwrap();
        assert!(parsed.verify(&"changeme".into()));
        assert!(!parsed.verify(&"Changeme".into()));
        assert_eq!(parsed.memory(), 19 * 1024 * 1024);
        assert_ne!(hash, hash_password(&"changeme".into()).unwrap(), "salted");
    }

    #[test]
    fn passwords_that_are_mistakes() {
        assert_eq!(hash_password(&"".into()), Err(HashError::Empty));
        assert_eq!(
            hash_password(&"x".repeat(1025).into()),
            Err(HashError::TooLong)
        );
    }
}
