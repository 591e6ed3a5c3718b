//! How many sessions there are: in all, per address, and of both those that nobody has logged in to.
//!
//! A connection has a place among all sessions from its accept on, also while the PROXY header that says whose it is has
//! not come, so that those who never send one are bounded by the same limits. Its address counts as soon as it is known.
//!
//! Who has not logged in can be anybody, and costs him nothing. Such sessions have fewer places, which they give back
//! with the login: whoever fills them, with silent connections from however many addresses, takes nothing from those
//! who are in. Nor from those who come: where these places are full, one of the network that has the most of them is
//! ended ([`early`]). Its place is free at once; its task sees it by [`SessionPermit::ended`], and waits for nobody then.

mod early;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::network::network_of;
use crate::auth::options::Limits;
use early::Early;

/// Why there is no session. The text is that of the 421.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many as there may be.
    #[error("Too many sessions")]
    Full,
    /// As many as an address may have.
    #[error("Too many sessions from your address")]
    AddressFull,
    /// As many without a login as there may be, and none of them makes room.
    #[error("Too many sessions before login")]
    EarlyFull,
    /// As many without a login as an address may have.
    #[error("Too many sessions before login from your address")]
    EarlyAddressFull,
    /// It was one before login, and had to make room.
    #[error("Too many sessions before login, this one made room for another")]
    Displaced,
    /// Logins have failed too often.
    #[error("Too many failed logins from your address")]
    Banned,
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
    /// By address, or /64 of IPv6; without those that have no session.
    per_address: HashMap<IpAddr, Count>,
    /// Those of them that nobody has logged in to.
    early: Early,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    sessions: usize,
    early: usize,
}

/// One session's place; free again on drop. It is one without a login at first.
#[derive(Debug)]
pub struct SessionPermit {
    limiter: Arc<SessionLimiter>,
    address: Option<IpAddr>,
    /// Its number among those without a login.
    early: Option<u64>,
    /// Cancelled when it has to make room.
    ended: CancellationToken,
}

impl SessionLimiter {
    /// At most so many.
    pub fn new(limits: Limits) -> Self {
        SessionLimiter {
            limits,
            held: Mutex::default(),
        }
    }

    /// A place for a connection from there; `None`: its header has not come yet, see [`SessionPermit::take_for`].
    ///
    /// # Errors
    /// What of [`Refused`] is a matter of places.
    pub fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<SessionPermit, Refused> {
        let address = address.map(network_of);
        let limits = &self.limits;
        let mut held = self.held();
        let full = held.sessions >= limits.sessions;
        let admitted = address.map_or(Ok(()), |address| held.admits(limits, address));
        let room = admitted.and_then(|()| held.make_room(limits, address, Instant::now()));
        let displaced = match room {
            // One that is ended gives back its place among all, too.
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
    /// Whether one more without a login may come from there.
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

    /// Sees to it that there is a place without a login; which session is to be ended for it.
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

    /// Counts one without a login for its address.
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
    /// Counts it for the address of its client, which was not known.
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

    /// Cancelled when it has to make room for another, which is only while nobody has logged in. Its place is taken
    /// then: it is to end without waiting for anything.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Somebody has logged in: it takes no place from those who have not.
    ///
    /// # Errors
    /// [`Refused::Displaced`]: it is being ended.
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

    /// He is about to leave, and the session to stay.
    ///
    /// # Errors
    /// There are as many without a login as there may be: [`Refused::EarlyFull`], [`Refused::EarlyAddressFull`].
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
            // Another has it.
            return;
        }
        held.give_back(self.address, self.early.is_some());
    }
}

#[cfg(test)]
mod tests;
