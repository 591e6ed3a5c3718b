//! bcrypt: `$2b$12$` and 53 characters of salt and hash. `$2a$` and `$2y$` are the same.

use bcrypt::HashParts;
use secrecy::{ExposeSecret, SecretString};

use super::{HashError, Scheme, at_most};

const NAME: &str = "bcrypt";
/// The largest cost. Each one more doubles the time of a check.
const MOST_COST: u64 = 16;

/// The error for `$2x$`.
pub(super) const FAULTY: HashError = HashError::Unsupported {
    kind: "$2x$",
    reason: "it is bcrypt with a bug of old crypt_blowfish versions, which takes wrong passwords with letters outside ASCII; set a new password",
};

struct Bcrypt(SecretString);

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Box<dyn Scheme>, HashError> {
    let parts = text.parse::<HashParts>();
    match parts.map(|parts| u64::from(parts.get_cost())) {
        Ok(cost @ 4..=31) => at_most(NAME, "cost", cost, MOST_COST)?,
        _ => return Err(HashError::Malformed(NAME)),
    }
    Ok(Box::new(Bcrypt(text.into())))
}

impl Scheme for Bcrypt {
    fn name(&self) -> &'static str {
        NAME
    }

    fn matches(&self, password: &[u8]) -> bool {
        bcrypt::verify(password, self.0.expose_secret()).unwrap_or(false)
    }
}
