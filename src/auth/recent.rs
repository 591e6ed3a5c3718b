//! Recent logins: a device that logs in for each file costs one check of its password a minute.
//!
//! An entry says that a password was right, and until when that counts. Its key is an HMAC of the
//! name, the password and a digest of the user's entry in the configuration, hash included. So the
//! memory holds nothing to guess a password from, and a user who changes has no entries. Only who
//! knows the right password has a hit, so its time reveals nothing.
//!
//! A hit replaces the computation of the hash, and nothing else: the caller looks at bans before,
//! and at what the account requires after.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::time::Instant;

/// The largest number of entries, of about 100 bytes each. Beyond it the one that was used least
/// recently goes.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// The key of an entry.
pub(super) type Tag = [u8; 32];

/// The logins of this process.
pub(super) struct RecentLogins {
    /// With a random key of this process.
    mac: Hmac<Sha256>,
    /// How long an entry counts. Hits do not prolong it.
    lasts: Duration,
    /// Until when each counts. The lock is held for a look-up only.
    entries: Mutex<LruCache<Tag, Instant>>,
    hits: AtomicU64,
}

impl fmt::Debug for RecentLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecentLogins")
    }
}

impl RecentLogins {
    /// `None` if logins are not remembered: for no time, or without random numbers.
    pub(super) fn new(lasts: Duration) -> Option<Self> {
        if lasts.is_zero() {
            return None;
        }
        let mut key = [0; 32];
        if let Err(error) = getrandom::fill(&mut key) {
            tracing::warn!(%error, "no random numbers: each login checks the password's hash");
            return None;
        }
        Some(RecentLogins {
            mac: Hmac::new_from_slice(&key).ok()?,
            lasts,
            entries: Mutex::new(LruCache::sparse(MOST)),
            hits: AtomicU64::new(0),
        })
    }

    /// The key for this name, this password and the digest of an entry.
    pub(super) fn tag(&self, user: &str, password: &SecretString, entry: &[u8; 32]) -> Tag {
        let mut mac = self.mac.clone();
        for piece in [user.as_bytes(), password.expose_secret().as_bytes(), entry] {
            // With its length, so that no two triples read the same.
            mac.update(&piece.len().to_be_bytes());
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }

    /// Whether the password was right recently. Counts the hit.
    pub(super) fn has(&self, tag: &Tag, now: Instant) -> bool {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let hit = match entries.get(tag) {
            Some(until) if now < *until => true,
            Some(_) => {
                entries.pop(tag);
                false
            }
            None => false,
        };
        self.hits.fetch_add(u64::from(hit), Ordering::Relaxed);
        hit
    }

    /// The password was right.
    pub(super) fn add(&self, tag: Tag, now: Instant) {
        let until = now + self.lasts;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.put(tag, until);
    }

    /// The number of hits.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn tag_of(recent: &RecentLogins, number: usize) -> Tag {
        recent.tag(&number.to_string(), &"p".into(), &[0; 32])
    }

    #[test]
    fn an_entry_counts_for_its_time_however_often_it_is_used() {
        let recent = RecentLogins::new(MINUTE).unwrap();
        let tag = tag_of(&recent, 1);
        let begin = Instant::now();
        assert!(!recent.has(&tag, begin));
        recent.add(tag, begin);
        for seconds in [0, 30, 59] {
            assert!(recent.has(&tag, begin + Duration::from_secs(seconds)));
        }
        assert!(!recent.has(&tag, begin + MINUTE));
        assert_eq!(recent.hits(), 3);
        assert!(recent.entries.lock().unwrap().is_empty());
    }

    #[test]
    fn there_are_at_most_ten_thousand() {
        let recent = RecentLogins::new(MINUTE).unwrap();
        let now = Instant::now();
        for number in 0..MOST.get() + 5 {
            recent.add(tag_of(&recent, number), now);
        }
        assert_eq!(recent.entries.lock().unwrap().len(), 10_000);
        assert!(!recent.has(&tag_of(&recent, 0), now));
        assert!(recent.has(&tag_of(&recent, MOST.get()), now));
    }

    #[test]
    fn tags_differ_by_process_name_password_and_entry() {
        let (one, other) = (
            RecentLogins::new(MINUTE).unwrap(),
            RecentLogins::new(MINUTE).unwrap(),
        );
        let tags = [
            one.tag("ab", &"c".into(), &[0; 32]),
            one.tag("a", &"bc".into(), &[0; 32]),
            one.tag("ab", &"C".into(), &[0; 32]),
            one.tag("ab", &"c".into(), &[1; 32]),
            other.tag("ab", &"c".into(), &[0; 32]),
        ];
        for (index, tag) in tags.iter().enumerate() {
            assert!(!tags[index + 1..].contains(tag), "{index}");
        }
        assert!(RecentLogins::new(Duration::ZERO).is_none());
    }
}
