//! The TLS sessions that the client of one control session can resume.
//!
//! It differs from a usual cache in three ways. It belongs to one control session. It takes only
//! the entries of the control connection's handshake: a session that a data connection has begun
//! could be another client's, which would then resume it and pass for the right one. And an entry
//! can be used more than once, also in TLS 1.3, whose tickets are usually removed when used:
//! FileZilla, WinSCP and others offer the control connection's session on each of their data
//! connections.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

/// Limit of all entries of a session, bytes. Each contains the client's certificates, if there are
/// any: with long ones there are fewer tickets.
const MOST_BYTES: usize = 64 * 1024;

/// The cache of one control session.
pub(super) struct Resumption {
    /// As many entries as the handshake sends tickets.
    most: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    sessions: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: usize,
    /// The control connection's handshake is done.
    closed: bool,
}

impl Resumption {
    /// For a handshake that sends this number of tickets, or that is of TLS 1.2 and has one
    /// session.
    pub(super) fn new(most: usize) -> Self {
        Resumption {
            most,
            entries: Mutex::default(),
        }
    }

    /// The control connection's handshake is done: no further entries are taken.
    pub(super) fn close(&self) {
        self.entries().closed = true;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics while it holds the lock.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut entries = self.entries();
        let bytes = entries.bytes + key.len() + value.len();
        let fits = entries.sessions.is_empty() || bytes <= MOST_BYTES;
        let room = !entries.closed && fits && entries.sessions.len() < self.most;
        if room {
            entries.bytes = bytes;
            entries.sessions.push((key, value));
        }
        room
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let entries = self.entries();
        let found = entries.sessions.iter().find(|(of, _)| of == key);
        found.map(|(_, value)| value.clone())
    }

    /// Does not remove it.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    /// The server offers no session that can't be resumed: the client would forget the one that
    /// can.
    fn can_cache(&self) -> bool {
        !self.entries().closed
    }
}

/// Without the entries, which are secrets.
impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resumption")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_connections_entries_are_used_again_and_no_others_are_taken() {
        let cache = Resumption::new(8);
        assert!(cache.can_cache() && cache.put(b"control".to_vec(), b"1".to_vec()));
        cache.close();
        assert!(!cache.can_cache());
        assert!(!cache.put(b"data".to_vec(), b"2".to_vec()));
        for _ in 0..3 {
            assert_eq!(cache.take(b"control"), Some(b"1".to_vec()));
            assert_eq!(cache.get(b"control"), Some(b"1".to_vec()));
            assert_eq!(cache.take(b"data"), None);
        }
        assert_eq!(format!("{cache:?}"), "Resumption");
    }

    #[test]
    fn one_handshake_can_not_fill_it_without_end() {
        let cache = Resumption::new(8);
        let taken = (0..100_u8).filter(|n| cache.put(vec![*n], Vec::new()));
        assert_eq!(taken.count(), 8);
        // Not with long ones either; but there is always one.
        for (length, most) in [(MOST_BYTES / 4, 3), (2 * MOST_BYTES, 1)] {
            let cache = Resumption::new(8);
            let taken = (0..100_u8).filter(|n| cache.put(vec![*n], vec![0; length]));
            assert_eq!(taken.count(), most);
        }
    }
}
