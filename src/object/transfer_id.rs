//! [`TransferId`]: identifies one transfer in replies, log lines and objects.

use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

/// The name of the user metadata that contains the transfer id.
pub const TRANSFER_KEY: &str = "s3ftpd-transfer";

/// The first characters of an id, which are the time.
const TIME: usize = 9;

/// The id of one transfer. Replies and log lines show it, and the metadata of each object that the
/// server writes contains it (`s3ftpd-transfer`), so that the server can recognize its own write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransferId(String);

impl TransferId {
    /// Creates a new id: 20 characters of lower-case base 32, first the time in milliseconds, then
    /// random bits. RFC 4648's "extended hex" alphabet makes ids sort by time.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time only makes ids sort by age"
    )]
    pub fn generate() -> Self {
        let mut random = [0; 8];
        let random = match getrandom::fill(&mut random) {
            Ok(()) => u64::from_ne_bytes(random),
            // If the system has no random numbers, the seed of a hash map is the next best source.
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

    /// The id that was read from an object or a record.
    pub(in crate::object) fn named(name: &str) -> Self {
        TransferId(name.to_owned())
    }

    /// Whether this transfer began after another, by the clocks of their servers.
    pub(in crate::object) fn began_after(&self, other: &TransferId) -> bool {
        match (self.0.get(..TIME), other.0.get(..TIME)) {
            (Some(time), Some(others)) => time > others,
            _ => false,
        }
    }

    /// The text of the id.
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
            let time = i64::from_str_radix(&name.as_str()[..TIME], 32).unwrap_or(0);
            assert!((now - 60_000..=now).contains(&time), "{name}");
        }
    }

    #[test]
    fn what_began_later() {
        let [first, second, foreign] = ["1k8n92cea0", "1k8n92ceb0", "short"].map(TransferId::named);
        assert!(second.began_after(&first));
        assert!(!first.began_after(&second));
        assert!(!first.began_after(&TransferId::named("1k8n92cea9")));
        assert!(!foreign.began_after(&first));
        assert!(!second.began_after(&foreign));
    }
}
