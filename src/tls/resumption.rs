//! The TLS sessions that one control session's clients can resume.
//!
//! Different from a common cache in two ways. It is one control session's own, so that a resumption proves the same
//! client. And an entry can be used more than once, also in TLS 1.3, whose tickets are commonly taken out when used:
//! FileZilla, WinSCP and others offer the control connection's session on each of their data connections.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;

/// Entries of the control connection's handshake.
const MOST_OF_CONTROL: usize = 8;
/// Entries of data connections that were not resumed ones (TLS 1.2), the oldest going first.
const MOST_OF_DATA: usize = 4;

/// The cache of one control session.
#[derive(Default)]
pub(super) struct Resumption(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    of_control: Vec<(Vec<u8>, Vec<u8>)>,
    of_data: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// The control connection's handshake is done.
    kept: bool,
}

impl Resumption {
    /// What is in it now stays, whatever comes.
    pub(super) fn keep(&self) {
        self.entries().kept = true;
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Resumption {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut entries = self.entries();
        if entries.kept {
            if entries.of_data.len() == MOST_OF_DATA {
                entries.of_data.pop_front();
            }
            entries.of_data.push_back((key, value));
            return true;
        }
        let room = entries.of_control.len() < MOST_OF_CONTROL;
        if room {
            entries.of_control.push((key, value));
        }
        room
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let entries = self.entries();
        let mut all = entries.of_control.iter().chain(&entries.of_data);
        all.find(|(of, _)| of == key)
            .map(|(_, value)| value.clone())
    }

    /// Leaves it where it is.
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
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
    fn entries_are_used_again_and_those_of_the_control_connection_stay() {
        let cache = Resumption::default();
        assert!(cache.put(b"control".to_vec(), b"1".to_vec()));
        cache.keep();
        for number in 0..100_u8 {
            assert!(cache.put(vec![number], vec![number]));
        }
        for _ in 0..3 {
            assert_eq!(cache.take(b"control"), Some(b"1".to_vec()));
            assert_eq!(cache.get(&[99]), Some(vec![99]));
        }
        assert_eq!(cache.get(&[0]), None, "bounded");
        assert_eq!(format!("{cache:?}"), "Resumption");
    }

    #[test]
    fn one_handshake_can_not_fill_it_without_end() {
        let cache = Resumption::default();
        let taken = (0..100_u8).filter(|n| cache.put(vec![*n], Vec::new()));
        assert_eq!(taken.count(), MOST_OF_CONTROL);
    }
}
