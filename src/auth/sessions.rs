//! How many sessions there are: in all, per address, and of both those that nobody has logged in to.
//!
//! A connection has a place among all sessions from its accept on, also while the PROXY header that says whose it is has
//! not come, so that those who never send one are bounded by the same limits. Its address counts as soon as it is known.
//!
//! Who has not logged in can be anybody, and costs him nothing. Such sessions have fewer places, which they give back
//! with the login: whoever fills them, with silent connections from however many addresses, takes nothing from those
//! who are in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::network_of;
use crate::config::Limits;

/// Why there is no session. The text is that of the 421.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many as there may be.
    #[error("Too many sessions")]
    Full,
    /// As many as an address may have.
    #[error("Too many sessions from your address")]
    AddressFull,
    /// As many without a login as there may be.
    #[error("Too many sessions before login")]
    EarlyFull,
    /// As many without a login as an address may have.
    #[error("Too many sessions before login from your address")]
    EarlyAddressFull,
    /// Logins have failed too often.
    #[error("Too many failed logins from your address")]
    Banned,
}

/// Counts sessions. Share it in an `Arc`.
#[derive(Debug)]
pub struct SessionPlaces {
    limits: Limits,
    /// The lock is held for a look-up only.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: Count,
    /// By address, or /64 of IPv6; without those that have no session.
    per_address: HashMap<IpAddr, Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    sessions: usize,
    /// Those that nobody has logged in to.
    early: usize,
}

/// One session's place; free again on drop. It is one without a login at first.
#[derive(Debug)]
pub struct SessionPlace {
    places: Arc<SessionPlaces>,
    address: Option<IpAddr>,
    early: bool,
}

impl SessionPlaces {
    /// At most so many.
    pub fn new(limits: Limits) -> Self {
        SessionPlaces {
            limits,
            held: Mutex::default(),
        }
    }

    /// A place for a connection of whom nothing is known yet.
    ///
    /// # Errors
    /// [`Refused::Full`], [`Refused::EarlyFull`].
    pub fn enter(self: &Arc<Self>) -> Result<SessionPlace, Refused> {
        let mut held = self.held();
        if held.all.sessions >= self.limits.sessions {
            return Err(Refused::Full);
        }
        if held.all.early >= self.limits.before_login {
            return Err(Refused::EarlyFull);
        }
        held.all.sessions += 1;
        held.all.early += 1;
        drop(held);
        Ok(SessionPlace {
            places: Arc::clone(self),
            address: None,
            early: true,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each step leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionPlace {
    /// Counts it for the address of its client.
    ///
    /// # Errors
    /// [`Refused::AddressFull`], [`Refused::EarlyAddressFull`].
    pub fn take_for(&mut self, address: IpAddr) -> Result<(), Refused> {
        let address = network_of(address);
        let limits = &self.places.limits;
        let mut held = self.places.held();
        let mut here = held.per_address.get(&address).copied().unwrap_or_default();
        if here.sessions >= limits.sessions_per_address {
            return Err(Refused::AddressFull);
        }
        if here.early >= limits.before_login_per_address {
            return Err(Refused::EarlyAddressFull);
        }
        here.sessions += 1;
        here.early += 1;
        held.per_address.insert(address, here);
        self.address = Some(address);
        Ok(())
    }

    /// Somebody has logged in: it takes no place from those who have not.
    pub fn logged_in(&mut self) {
        if std::mem::take(&mut self.early) {
            let mut held = self.places.held();
            held.all.early -= 1;
            if let Some(here) = self.address.and_then(|a| held.per_address.get_mut(&a)) {
                here.early -= 1;
            }
        }
    }

    /// He is about to leave, and the session to stay.
    ///
    /// # Errors
    /// There are as many without a login as there may be: [`Refused::EarlyFull`], [`Refused::EarlyAddressFull`].
    pub fn log_out(&mut self) -> Result<(), Refused> {
        if self.early {
            return Ok(());
        }
        let limits = &self.places.limits;
        let mut held = self.places.held();
        if held.all.early >= limits.before_login {
            return Err(Refused::EarlyFull);
        }
        if let Some(here) = self.address.and_then(|a| held.per_address.get_mut(&a)) {
            if here.early >= limits.before_login_per_address {
                return Err(Refused::EarlyAddressFull);
            }
            here.early += 1;
        }
        held.all.early += 1;
        self.early = true;
        Ok(())
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.logged_in();
        let mut held = self.places.held();
        held.all.sessions -= 1;
        if let Some(address) = self.address
            && let Some(here) = held.per_address.get_mut(&address)
        {
            here.sessions -= 1;
            if here.sessions == 0 {
                held.per_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn places(sessions: [usize; 2], before_login: [usize; 2]) -> Arc<SessionPlaces> {
        Arc::new(SessionPlaces::new(Limits {
            sessions: sessions[0],
            sessions_per_address: sessions[1],
            before_login: before_login[0],
            before_login_per_address: before_login[1],
            sessions_per_user: None,
            login_attempts: 3,
        }))
    }

    fn enter(places: &Arc<SessionPlaces>, address: &str) -> Result<SessionPlace, Refused> {
        let mut place = places.enter()?;
        place.take_for(address.parse().unwrap())?;
        Ok(place)
    }

    fn log_in(places: &Arc<SessionPlaces>, address: &str) -> Result<SessionPlace, Refused> {
        let mut place = enter(places, address)?;
        place.logged_in();
        Ok(place)
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let places = places([3, 2], [3, 3]);
        let first = enter(&places, "10.0.0.1").unwrap();
        let _second = enter(&places, "::ffff:10.0.0.1").unwrap();
        assert_eq!(
            enter(&places, "10.0.0.1").unwrap_err(),
            Refused::AddressFull
        );
        let third = enter(&places, "10.0.0.2").unwrap();
        assert_eq!(enter(&places, "10.0.0.3").unwrap_err(), Refused::Full);
        drop(first);
        let _again = enter(&places, "10.0.0.1").unwrap();
        drop(third);
        assert_eq!(
            places.held().per_address.len(),
            1,
            "addresses without sessions are forgotten"
        );
        // Of whom nothing is known yet counts, too.
        let _unknown = places.enter().unwrap();
        assert_eq!(places.enter().unwrap_err(), Refused::Full);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let places = places([10, 1], [10, 10]);
        let _first = enter(&places, "2001:db8::1").unwrap();
        assert_eq!(
            enter(&places, "2001:db8::2").unwrap_err(),
            Refused::AddressFull
        );
        let _other = enter(&places, "2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn who_is_in_takes_no_place_from_those_before_login() {
        let places = places([9, 9], [2, 1]);
        let first = log_in(&places, "10.0.0.1").unwrap();
        let mut second = log_in(&places, "10.0.0.1").unwrap();
        let silent = enter(&places, "10.0.0.1").unwrap();
        assert_eq!(
            enter(&places, "10.0.0.1").unwrap_err(),
            Refused::EarlyAddressFull
        );
        let header = places.enter().unwrap();
        assert_eq!(places.enter().unwrap_err(), Refused::EarlyFull);
        // Who leaves needs one.
        assert_eq!(second.log_out(), Err(Refused::EarlyFull));
        drop(header);
        assert_eq!(second.log_out(), Err(Refused::EarlyAddressFull));
        drop(silent);
        second.log_out().unwrap();
        second.log_out().unwrap();
        assert_eq!(
            enter(&places, "10.0.0.1").unwrap_err(),
            Refused::EarlyAddressFull
        );
        drop((first, second));
        let held = places.held();
        assert_eq!((held.all.sessions, held.all.early), (0, 0));
        assert!(held.per_address.is_empty());
    }
}
