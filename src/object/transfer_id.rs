//! [`TransferId`]: the name of one transfer.

use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

/// Name of the user metadata that holds the transfer id.
pub(in crate::object) const TRANSFER_KEY: &str = "s3ftpd-transfer";

/// Name of one transfer: in replies, logs, and in the metadata of each object written (`s3ftpd-transfer`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransferId(String);

impl TransferId {
    /// A new one: 20 characters of lower-case base 32 (RFC 4648 "extended hex", so that names sort by time), beginning
    /// with the time in milliseconds, the rest random.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time only makes ids sort by age"
    )]
    pub fn generate() -> Self {
        let mut random = [0; 8];
        let random = match getrandom::fill(&mut random) {
            Ok(()) => u64::from_ne_bytes(random),
            // If the system has no randomness to give, the seed of hash maps is the next best.
            Err(_) => RandomState::new().hash_one(Timestamp::now()),
        };
        let time = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        // 45 bits of time last until the year 3084; 55 random bits follow.
        let value = u128::from(time & ((1 << 45) - 1)) << 55 | u128::from(random >> 9);
        let digits = b"0123456789abcdefghijklmnopqrstuv";
        let text = (0..20)
            .rev()
            .map(|place| char::from(digits[(value >> (5 * place)) as usize & 31]))
            .collect();
        TransferId(text)
    }

    /// One that was written down.
    pub(in crate::object) fn named(name: &str) -> Self {
        TransferId(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TransferId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_begin_with_the_time() {
        let names: std::collections::HashSet<_> =
            (0..1000).map(|_| TransferId::generate()).collect();
        assert_eq!(names.len(), 1000);
        let now = Timestamp::now().as_millisecond();
        for name in names {
            assert_eq!(name.as_str().len(), 20);
            let time = i64::from_str_radix(&name.as_str()[..9], 32).unwrap_or(0);
            assert!((now - 60_000..=now).contains(&time), "{name}");
        }
    }
}
