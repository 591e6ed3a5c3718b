//! Failed logins: their answers get slower, then their address and the user at that address are
//! banned.
//!
//! Three counts are kept: the failures of an address (of IPv6 its /64, which is what one customer
//! gets), of a user name, and of a user name at an address. The first two slow down the answer to a
//! failure; each session waits for its own answer, and a right password is never delayed. The first
//! and, as configured, the second or third lead to a ban:
//!
//! - A banned **address** gets a reply that says so when it connects.
//! - A banned **user** can't log in, and no client can see it: the password is checked as always,
//!   and the answer is that to a wrong one, after the same time. By default a user is banned at the
//!   address that the failures came from, so that guessing does not lock the user out elsewhere.
//!   Guessing from many addresses is then limited only by the counts of the addresses; `ban_users =
//!   "everywhere"` stops it, but then every client that knows a name can lock its owner out. The
//!   right password of a banned user is not counted as a failure: devices that keep sending it
//!   would else get their whole network banned, although another client guessed. A wrong one counts
//!   for its address as always, so that guessing ends.
//!
//! **Counting** uses leaky buckets: a ban needs `ban_after` failures, and each is forgotten after
//! `ban_for / ban_after`, so that the typing errors of a busy network never add up. A bucket is one
//! instant, at which it will be empty. Logins that were in progress before a ban are counted when
//! they have been checked, so guesses sent in parallel gain nothing.
//!
//! **The tables are bounded.** Names and addresses are kept as keyed hashes, so an entry has a
//! fixed size whatever the client sends. A full table forgets the bucket that would be empty first:
//! a client that cycles through names or addresses, one failure each, only pushes out entries like
//! its own, never a ban or one that is close to it.

mod bans;
mod table;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::network::network_of;
use crate::auth::options::{BanUsers, LoginFailureOptions};
use crate::events::{Cause, Event, Events, Kind, Level};
use bans::{BanKey, BanList};
use table::FailureCount;

pub use bans::Ban;
pub(crate) use table::BucketTable;

/// The size of a bucket, in failures, if nothing is banned.
const UNBANNED: u32 = 20;

/// The failed logins of a server.
#[derive(Debug)]
pub struct Failures {
    config: LoginFailureOptions,
    events: Events,
    /// Keys the hashes; different in each process.
    hasher: RandomState,
    /// The lock is held for a look-up only.
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    addresses: BucketTable,
    users: BucketTable,
    users_at_addresses: BucketTable,
    listed: BanList,
}

/// The keys under which one login is counted.
#[derive(Debug, Clone, Copy)]
struct BucketKeys {
    address: u64,
    user: u64,
    user_at_address: u64,
}

impl Tables {
    /// Whether the user is banned, at this address or everywhere.
    fn bans_user(&mut self, keys: &BucketKeys, now: Instant) -> bool {
        self.users.is_banned(keys.user, now)
            || self.users_at_addresses.is_banned(keys.user_at_address, now)
    }
}

impl Failures {
    /// Creates it as configured, without failures.
    pub fn new(config: LoginFailureOptions) -> Self {
        let per_address = config.ban_users == BanUsers::PerAddress;
        let table = |ban_after: Option<u32>| {
            BucketTable::new(
                config.table_size,
                config.ban_for,
                ban_after.unwrap_or(UNBANNED),
                ban_after.is_some(),
            )
        };
        let tables = Tables {
            addresses: table(config.ban_after),
            users: table(config.ban_user_after.filter(|_| !per_address)),
            users_at_addresses: table(config.ban_user_after.filter(|_| per_address)),
            listed: BanList::default(),
        };
        Failures {
            config,
            events: Events::none(),
            hasher: RandomState::new(),
            tables: Mutex::new(tables),
        }
    }

    /// Reports bans as events.
    #[must_use]
    pub fn with_events(mut self, events: Events) -> Self {
        self.events = events;
        self
    }

    /// Whether all logins from this address are refused now.
    pub fn bans_address(&self, address: IpAddr) -> bool {
        self.bans_address_at(address, Instant::now())
    }

    /// Whether a login with the right password has to be refused as if it were wrong.
    pub fn bans(&self, address: IpAddr, user: &str) -> bool {
        self.bans_at(address, user, Instant::now())
    }

    /// Counts a login with wrong credentials. Returns how long its answer has to wait.
    pub fn failed(&self, address: IpAddr, user: &str) -> Duration {
        self.failed_at(address, user, Instant::now())
    }

    /// Counts a login that was refused although the user proved who they are. That of a banned user
    /// is not counted.
    pub fn refused(&self, address: IpAddr, user: &str) -> Duration {
        self.refused_at(address, user, Instant::now())
    }

    /// Forgets the failures of a user at an address after a successful login from there.
    pub fn succeeded(&self, address: IpAddr, user: &str) {
        let keys = self.keys(address, user);
        // The count of the address stays: else an account of one's own would make guessing at
        // others free.
        self.lock().users_at_addresses.forget(keys.user_at_address);
    }

    /// The number of addresses and of users that are banned now.
    pub fn ban_counts(&self) -> (usize, usize) {
        let now = Instant::now();
        let mut tables = self.lock();
        let addresses = tables.addresses.banned(now);
        let users = tables.users.banned(now) + tables.users_at_addresses.banned(now);
        (addresses, users)
    }

    /// The bans that hold, the newest first; at most a thousand.
    pub fn list_bans(&self) -> Vec<Ban> {
        self.lock().listed.all(Instant::now())
    }

    /// Lifts a ban. Its failures are forgotten. `None`: it has ended, or there was none.
    pub fn lift_ban(&self, id: u64) -> Option<Ban> {
        let mut tables = self.lock();
        let (ban, key) = tables.listed.remove(id, Instant::now())?;
        match key {
            BanKey::Address(key) => tables.addresses.lift(key),
            BanKey::User(key) => tables.users.lift(key),
            BanKey::UserAtAddress(key) => tables.users_at_addresses.lift(key),
        }
        Some(ban)
    }

    fn bans_address_at(&self, address: IpAddr, now: Instant) -> bool {
        !self.is_exempt(address)
            && self
                .lock()
                .addresses
                .is_banned(self.hash(network_of(address)), now)
    }

    fn bans_at(&self, address: IpAddr, user: &str, now: Instant) -> bool {
        if self.is_exempt(address) {
            return false;
        }
        let keys = self.keys(address, user);
        let mut tables = self.lock();
        tables.addresses.is_banned(keys.address, now) || tables.bans_user(&keys, now)
    }

    fn failed_at(&self, address: IpAddr, user: &str, now: Instant) -> Duration {
        if self.is_exempt(address) {
            return self.config.delay;
        }
        let keys = self.keys(address, user);
        let mut tables = self.lock();
        let of_address = tables.addresses.add(keys.address, now);
        let of_user = tables.users.add(keys.user, now);
        let of_both = tables.users_at_addresses.add(keys.user_at_address, now);
        let until = now + self.config.ban_for;
        let network = Some(network_of(address));
        if of_address.newly_banned {
            let key = BanKey::Address(keys.address);
            tables.listed.add(key, network, None, until);
        }
        if of_user.newly_banned {
            let key = BanKey::User(keys.user);
            tables.listed.add(key, None, Some(user), until);
        }
        if of_both.newly_banned {
            let key = BanKey::UserAtAddress(keys.user_at_address);
            tables.listed.add(key, network, Some(user), until);
        }
        drop(tables);
        if of_address.newly_banned {
            let reason = "too many failed logins from this address";
            self.events.send(self.banned(address, None, reason));
        }
        if of_user.newly_banned {
            let reason = "too many failed logins of this user, who is banned at all addresses";
            self.events.send(self.banned(address, Some(user), reason));
        } else if of_both.newly_banned {
            let reason = "too many failed logins of this user at this address";
            self.events.send(self.banned(address, Some(user), reason));
        }
        self.delay(&[of_address, of_user, of_both])
    }

    fn banned(&self, address: IpAddr, user: Option<&str>, reason: &str) -> Event {
        let mut event = Event::new(Kind::Banned, Level::Warn);
        event.peer = Some(SocketAddr::new(address, 0));
        event.user = user.map(Into::into);
        event.seconds = Some(self.config.ban_for.as_secs_f64());
        event.cause = Some(Cause::Password);
        event.reason = Some(reason.into());
        event
    }

    fn refused_at(&self, address: IpAddr, user: &str, now: Instant) -> Duration {
        let keys = self.keys(address, user);
        if !self.is_exempt(address) && self.lock().bans_user(&keys, now) {
            return self.config.max_delay;
        }
        self.failed_at(address, user, now)
    }

    /// The delay doubles with each failure. While a user is banned it does not grow, so that it
    /// reveals nothing about the password.
    fn delay(&self, counts: &[FailureCount]) -> Duration {
        if counts.iter().any(|count| count.banned) {
            return self.config.max_delay;
        }
        let level = counts.iter().map(|count| count.level).max();
        let doublings = level.unwrap_or(1).saturating_sub(1).min(20);
        self.config
            .delay
            .saturating_mul(1 << doublings)
            .min(self.config.max_delay)
    }

    fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.config
            .exempt
            .iter()
            .any(|network| network.contains(&address))
    }

    fn keys(&self, address: IpAddr, user: &str) -> BucketKeys {
        let network = network_of(address);
        BucketKeys {
            address: self.hash(network),
            user: self.hash(user),
            user_at_address: self.hash((network, user)),
        }
    }

    fn hash(&self, of: impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Each step leaves the tables whole.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
