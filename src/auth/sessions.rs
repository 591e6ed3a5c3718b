//! Limits on sessions: in total and per address, and for both of them the sessions before login.
//!
//! A connection counts as a session from its accept on, even while its PROXY header has not
//! arrived, so that the same limits apply to clients that never send one. Its address counts as
//! soon as it is known.
//!
//! A client before login is unknown, and connecting costs nothing. So such sessions have a smaller
//! limit, and no longer count for it after the login: a client that fills it with silent
//! connections, from however many addresses, takes nothing from logged-in users. Nor from new
//! clients: if this limit is reached, a session of the network that has the most of them is
//! displaced ([`early`]). Its permit is free at once; [`SessionPermit::ended`] signals its task,
//! which then ends without waiting for anything.

mod early;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::network::network_of;
use crate::auth::options::Limits;
use early::Early;

/// Why a session is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The limit of all sessions is reached.
    Full,
    /// The limit of an address is reached.
    AddressFull,
    /// The limit of sessions before login is reached, and none of them can be displaced.
    EarlyFull,
    /// The limit of an address for sessions before login is reached.
    EarlyAddressFull,
    /// The session was one before login, and another displaced it.
    Displaced,
    /// Too many logins have failed.
    Banned,
}

impl Refused {
    /// The key of the configuration that holds the limit, for the log.
    pub fn key(self) -> &'static str {
        match self {
            Refused::Full => "limits.sessions",
            Refused::AddressFull => "limits.sessions_per_address",
            Refused::EarlyFull | Refused::Displaced => "limits.sessions_before_login",
            Refused::EarlyAddressFull => "limits.sessions_before_login_per_address",
            Refused::Banned => "login_failures.ban_after",
        }
    }
}

/// Counts sessions. Share it in an `Arc`.
#[derive(Debug)]
pub struct SessionLimiter {
    limits: Limits,
    /// The lock is held for a look-up only.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    sessions: usize,
    /// By address, or /64 of IPv6; without addresses that have no session.
    per_address: HashMap<IpAddr, Count>,
    /// The sessions before login among them.
    early: Early,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    sessions: usize,
    early: usize,
}

/// The permit of one session; given back on drop. At first it is one before login.
#[derive(Debug)]
pub struct SessionPermit {
    limiter: Arc<SessionLimiter>,
    address: Option<IpAddr>,
    /// Its number among the sessions before login.
    early: Option<u64>,
    /// Cancelled when another session displaces it.
    ended: CancellationToken,
}

impl SessionLimiter {
    /// Creates it with these limits.
    pub fn new(limits: Limits) -> Self {
        SessionLimiter {
            limits,
            held: Mutex::default(),
        }
    }

    /// Returns a permit for a connection from this address; `None`: its header has not arrived yet,
    /// see [`SessionPermit::take_for`].
    ///
    /// # Errors
    /// [`Refused`], if a limit is reached.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<SessionPermit, Refused> {
        let address = address.map(network_of);
        let limits = &self.limits;
        let mut held = self.held();
        let full = held.sessions >= limits.sessions;
        let admitted = address.map_or(Ok(()), |address| held.admits(limits, address));
        let room = admitted.and_then(|()| held.make_room(limits, address, Instant::now()));
        let displaced = match room {
            // A displaced session gives back its share of the total, too.
            Ok(None) | Err(_) if full => return Err(Refused::Full),
            made => made?,
        };
        let ended = CancellationToken::new();
        held.sessions += 1;
        let early = held.add_early(address, &ended);
        if let Some(address) = address {
            held.count(address);
        }
        drop(held);
        end(displaced);
        Ok(SessionPermit {
            limiter: Arc::clone(self),
            address,
            early: Some(early),
            ended,
        })
    }

    /// The number of sessions, and of those before login among them.
    pub fn counts(&self) -> (usize, usize) {
        let held = self.held();
        (held.sessions, held.early.count())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each step leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Outside the lock: it wakes tasks.
fn end(displaced: Option<CancellationToken>) {
    if let Some(displaced) = displaced {
        displaced.cancel();
    }
}

impl Held {
    /// Whether one more session before login may come from this address.
    fn admits(&self, limits: &Limits, address: IpAddr) -> Result<(), Refused> {
        let here = self.per_address.get(&address).copied().unwrap_or_default();
        if here.sessions >= limits.sessions_per_address {
            return Err(Refused::AddressFull);
        }
        if here.early >= limits.before_login_per_address {
            return Err(Refused::EarlyAddressFull);
        }
        Ok(())
    }

    /// Makes sure that there is a permit before login. Returns the session that has to end for it.
    fn make_room(
        &mut self,
        limits: &Limits,
        newcomer: Option<IpAddr>,
        now: Instant,
    ) -> Result<Option<CancellationToken>, Refused> {
        if self.early.count() < limits.before_login {
            return Ok(None);
        }
        let displaced = self.early.displace(newcomer, now);
        let displaced = displaced.ok_or(Refused::EarlyFull)?;
        self.give_back(displaced.address, true);
        Ok(Some(displaced.end))
    }

    fn add_early(&mut self, address: Option<IpAddr>, ended: &CancellationToken) -> u64 {
        self.early.add(address, ended.clone(), Instant::now())
    }

    /// Counts a session before login for its address.
    fn count(&mut self, address: IpAddr) {
        let here = self.per_address.entry(address).or_default();
        here.sessions += 1;
        here.early += 1;
    }

    fn give_back(&mut self, address: Option<IpAddr>, early: bool) {
        self.sessions -= 1;
        if let Some(address) = address
            && let Some(here) = self.per_address.get_mut(&address)
        {
            here.sessions -= 1;
            here.early -= usize::from(early);
            if here.sessions == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

impl SessionPermit {
    /// Counts the session for the address of its client, which was not known.
    ///
    /// # Errors
    /// [`Refused::AddressFull`], [`Refused::EarlyAddressFull`], [`Refused::Displaced`].
    pub fn take_for(&mut self, address: IpAddr) -> Result<(), Refused> {
        let (None, Some(number)) = (self.address, self.early) else {
            return Ok(());
        };
        let address = network_of(address);
        let mut held = self.limiter.held();
        held.admits(&self.limiter.limits, address)?;
        if !held.early.is_of(address, number) {
            return Err(Refused::Displaced);
        }
        held.count(address);
        self.address = Some(address);
        Ok(())
    }

    /// Cancelled when another session displaces this one, which happens only before the login. The
    /// permit is already given away: the session has to end without waiting for anything.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// The user has logged in: the session no longer counts as one before login.
    ///
    /// # Errors
    /// [`Refused::Displaced`]: the session is being ended.
    pub fn logged_in(&mut self) -> Result<(), Refused> {
        let Some(number) = self.early else {
            return Ok(());
        };
        let mut held = self.limiter.held();
        if held.early.remove(self.address, number).is_none() {
            return Err(Refused::Displaced);
        }
        if let Some(here) = self.address.and_then(|a| held.per_address.get_mut(&a)) {
            here.early -= 1;
        }
        self.early = None;
        Ok(())
    }

    /// The user logs out and the session stays.
    ///
    /// # Errors
    /// The limit of sessions before login is reached: [`Refused::EarlyFull`],
    /// [`Refused::EarlyAddressFull`].
    pub fn log_out(&mut self) -> Result<(), Refused> {
        if self.early.is_some() {
            return Ok(());
        }
        let limits = &self.limiter.limits;
        let mut held = self.limiter.held();
        let here = self.address.and_then(|a| held.per_address.get(&a));
        if here.is_some_and(|here| here.early >= limits.before_login_per_address) {
            return Err(Refused::EarlyAddressFull);
        }
        let displaced = held.make_room(limits, self.address, Instant::now())?;
        if let Some(here) = self.address.and_then(|a| held.per_address.get_mut(&a)) {
            here.early += 1;
        }
        self.early = Some(held.add_early(self.address, &self.ended));
        drop(held);
        end(displaced);
        Ok(())
    }
}

impl Drop for SessionPermit {
    fn drop(&mut self) {
        let mut held = self.limiter.held();
        if let Some(number) = self.early
            && held.early.remove(self.address, number).is_none()
        {
            // Another session has the permit.
            return;
        }
        held.give_back(self.address, self.early.is_some());
    }
}

#[cfg(test)]
mod tests;
