//! Logins as `anonymous`, which many clients try on their own before the configured name.
//!
//! If there is no such user, the failure is not a guess: it is not counted, and no password is
//! checked. Each address gets one answer a second, and the others wait for their turn, so that such
//! logins can't keep a server busy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::network::network_of;

/// The names that RFC 1635 gives to logins without an account.
const NAMES: [&str; 2] = ["anonymous", "ftp"];

/// Time between two answers to one address.
const EVERY: Duration = Duration::from_secs(1);

/// The longest wait for a turn.
const LONGEST: Duration = Duration::from_secs(30);

/// Addresses that are remembered, each for a second after its last answer.
const MOST: usize = 4096;

/// When each address gets its last answer.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The lock is held for a look-up only.
    last: Mutex<HashMap<IpAddr, Instant>>,
}

impl Probes {
    /// Whether this is the name of a login without an account.
    pub(super) fn is_name(name: &str) -> bool {
        NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// How long the answer to a client at this address has to wait; `None` if too many wait there.
    pub(super) fn turn(&self, address: IpAddr) -> Option<Duration> {
        self.turn_at(address, Instant::now())
    }

    fn turn_at(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        // Each step leaves the table whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST {
            last.retain(|_, last| *last + EVERY > now);
            if last.len() >= MOST {
                return Some(EVERY);
            }
        }
        let last = last.entry(network_of(address));
        let turn = match &last {
            std::collections::hash_map::Entry::Occupied(last) => (*last.get() + EVERY).max(now),
            std::collections::hash_map::Entry::Vacant(_) => now,
        };
        let wait = turn - now;
        if wait > LONGEST {
            return None;
        }
        last.insert_entry(turn);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn an_address_gets_one_answer_a_second_and_no_other_waits_for_it() {
        let probes = Probes::default();
        let now = Instant::now();
        for turn in 0..=30 {
            let wait = probes.turn_at(address(1), now).unwrap();
            assert_eq!(wait, Duration::from_secs(turn));
        }
        assert_eq!(probes.turn_at(address(1), now), None);
        assert_eq!(probes.turn_at(address(2), now), Some(Duration::ZERO));
        let later = now + Duration::from_secs(10);
        let wait = probes.turn_at(address(1), later);
        assert_eq!(wait, Some(Duration::from_secs(21)));
    }

    #[test]
    fn the_addresses_of_a_network_are_one_and_the_table_is_bounded() {
        let probes = Probes::default();
        let now = Instant::now();
        let six = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        assert_eq!(probes.turn_at(six(1), now), Some(Duration::ZERO));
        assert_eq!(probes.turn_at(six(2), now), Some(EVERY));
        for number in 0..2 * MOST as u32 {
            let wait = probes.turn_at(IpAddr::from(number.to_be_bytes()), now);
            assert!(wait.unwrap() <= EVERY);
        }
        assert!(probes.last.lock().unwrap().len() <= MOST);
        let later = now + Duration::from_secs(5);
        assert_eq!(probes.turn_at(address(9), later), Some(Duration::ZERO));
    }
}
