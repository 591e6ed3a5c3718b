//! Downloads that broke off: who goes on with one must get the rest of the same version.
//!
//! lftp and wget go on by REST within the same command, curl with `-C -`. If the object was replaced in between, they would
//! put the end of the new version behind the beginning of the old one, and exit with success. The process remembers for
//! ten minutes which version was read: of another one, a RETR after REST gets 550. A download that ended whole is not
//! remembered: who fetches what was appended since has all of the rest.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::network_of;
use crate::object::{Location, ObjectInfo};

/// The number of downloads that the process remembers.
const MOST: usize = 10_000;

/// For how long.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The downloads of this process that broke off.
#[derive(Debug, Default)]
pub struct BrokenDownloads {
    broken: Mutex<Broken>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Broken {
    /// By a keyed hash of user, address and object.
    versions: HashMap<u64, Version>,
    /// The oldest first.
    order: VecDeque<u64>,
}

/// A keyed hash of the bytes that were read, and when that broke off.
#[derive(Debug, Clone, Copy)]
struct Version {
    bytes: u64,
    at: Instant,
}

/// The downloads of an object by one user from one address.
#[derive(Debug)]
pub(super) struct Downloads {
    all: Arc<BrokenDownloads>,
    name: u64,
}

impl BrokenDownloads {
    /// The downloads of an object by a user from an address (IPv6: from a /64).
    pub(super) fn of(self: &Arc<Self>, user: &str, from: IpAddr, object: &Location) -> Downloads {
        let endpoint = object.store.endpoint();
        let name = (
            user,
            network_of(from),
            endpoint,
            &*object.bucket,
            &*object.key,
        );
        Downloads {
            all: Arc::clone(self),
            name: self.hasher.hash_one(name),
        }
    }

    fn broken(&self) -> MutexGuard<'_, Broken> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores report no ETag of an empty object to a GET.
    fn version(&self, info: &ObjectInfo) -> u64 {
        let etag = match info.size {
            0 => "",
            _ => &info.etag,
        };
        self.hasher.hash_one((info.size, etag))
    }
}

impl Downloads {
    /// Whether the last one broke off in another version than this, in the last ten minutes.
    pub(super) fn broke_in_another(&self, info: &ObjectInfo) -> bool {
        let known = self.all.broken().versions.get(&self.name).copied();
        known.is_some_and(|known| {
            known.at.elapsed() < REMEMBERED && known.bytes != self.all.version(info)
        })
    }

    /// One broke off in this version.
    pub(super) fn broke(&self, info: &ObjectInfo) {
        let bytes = self.all.version(info);
        self.all.broken().enter(self.name, bytes, Instant::now());
    }

    /// One ended whole.
    pub(super) fn ended(&self) {
        self.all.broken().versions.remove(&self.name);
    }
}

impl Broken {
    fn enter(&mut self, name: u64, bytes: u64, at: Instant) {
        if self.versions.insert(name, Version { bytes, at }).is_some() {
            self.order.retain(|known| *known != name);
        }
        self.order.push_back(name);
        // Some of those in the order may have ended.
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.versions.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_remembered() {
        let mut broken = Broken::default();
        let now = Instant::now();
        for name in 0..MOST as u64 + 2 {
            broken.enter(name, 1, now);
        }
        broken.enter(7, 2, now);
        assert_eq!((broken.versions.len(), broken.order.len()), (MOST, MOST));
        assert!(!broken.versions.contains_key(&1) && broken.versions.contains_key(&2));
        assert_eq!(broken.order.back(), Some(&7));
    }
}
