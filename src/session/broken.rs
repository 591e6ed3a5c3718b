//! Transfers that broke off, in this process: who goes on with one must not put two files together.
//!
//! **Downloads.** lftp and wget go on by REST within the same command, curl with `-C -`. If the object was replaced in
//! between, they would put the end of the new version behind the beginning of the old one, and exit with success. It is
//! remembered which version was read: of another one, a RETR after REST gets 550. A download that ended whole is not
//! remembered: who fetches what was appended since has all of the rest.
//!
//! **Uploads.** A client that resumes asks SIZE and sends the rest of its file. If nothing of the upload was kept (the mount
//! keeps none; another write may be newer), SIZE tells the length of the old object, and the rest of the new file would be
//! appended to that one. So APPE and REST + STOR get 554 where they would extend an object over which a STOR broke off. A
//! STOR from the beginning is as ever, and an APPE that broke off may be sent again: it has appended nothing.
//!
//! All of that is remembered for ten minutes, of a user at an address.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::network_of;
use crate::object::{Location, ObjectInfo};
use crate::protocol::Reply;

use super::Session;

/// The number of downloads, and of uploads, that are remembered.
const MOST: usize = 10_000;

/// For how long.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The transfers of this process that broke off.
#[derive(Debug, Default)]
pub struct BrokenTransfers {
    /// With a keyed hash of the bytes that the object had.
    downloads: Mutex<Memory>,
    uploads: Mutex<Memory>,
    hasher: RandomState,
}

/// A bounded number of names, and what is known of each.
#[derive(Debug, Default)]
struct Memory {
    /// By a keyed hash of user, address and object.
    known: HashMap<u64, Known>,
    /// The oldest first; some may have been forgotten.
    order: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    what: u64,
    at: Instant,
}

/// The transfers of an object by one user from one address.
#[derive(Debug, Clone)]
pub(super) struct Transfers {
    all: Arc<BrokenTransfers>,
    name: u64,
}

impl Session {
    /// The transfers of an object by this session's user from its address.
    pub(super) fn transfers_of(&self, object: &Location) -> Result<Transfers, Reply> {
        let user = &self.user()?.config.name;
        let peer = self.control.peer.ip();
        Ok(self.gateway.broken.of(user, peer, object))
    }
}

impl BrokenTransfers {
    /// The transfers of an object by a user from an address (IPv6: from a /64).
    fn of(self: &Arc<Self>, user: &str, from: IpAddr, object: &Location) -> Transfers {
        let endpoint = object.store.endpoint();
        let name = (
            user,
            network_of(from),
            endpoint,
            &*object.bucket,
            &*object.key,
        );
        Transfers {
            all: Arc::clone(self),
            name: self.hasher.hash_one(name),
        }
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

impl Transfers {
    /// Whether the last download broke off in another version than this.
    pub(super) fn download_broke_in_another(&self, info: &ObjectInfo) -> bool {
        let known = locked(&self.all.downloads).get(self.name);
        known.is_some_and(|version| version != self.all.version(info))
    }

    /// A download broke off in this version.
    pub(super) fn download_broke(&self, info: &ObjectInfo) {
        let version = self.all.version(info);
        locked(&self.all.downloads).enter(self.name, version, Instant::now());
    }

    /// A download ended whole.
    pub(super) fn download_ended(&self) {
        locked(&self.all.downloads).known.remove(&self.name);
    }

    /// Whether a STOR broke off, and the name has not begun anew since. Whether something of it is kept is not known here.
    pub(super) fn upload_broke_off(&self) -> bool {
        locked(&self.all.uploads).get(self.name).is_some()
    }

    /// A STOR from the beginning broke off.
    pub(super) fn upload_broke(&self) {
        locked(&self.all.uploads).enter(self.name, 0, Instant::now());
    }

    /// An upload was published, or another file was moved there or deleted.
    pub(super) fn begins_anew(&self) {
        locked(&self.all.uploads).known.remove(&self.name);
    }
}

impl Memory {
    fn get(&self, name: u64) -> Option<u64> {
        let known = self.known.get(&name)?;
        (known.at.elapsed() < REMEMBERED).then_some(known.what)
    }

    fn enter(&mut self, name: u64, what: u64, at: Instant) {
        if self.known.insert(name, Known { what, at }).is_some() {
            self.order.retain(|known| *known != name);
        }
        self.order.push_back(name);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

fn locked(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_remembered() {
        let mut memory = Memory::default();
        let now = Instant::now();
        for name in 0..MOST as u64 + 2 {
            memory.enter(name, 1, now);
        }
        memory.enter(7, 2, now);
        assert_eq!((memory.known.len(), memory.order.len()), (MOST, MOST));
        assert_eq!((memory.get(1), memory.get(2)), (None, Some(1)));
        assert_eq!((memory.get(7), memory.order.back()), (Some(2), Some(&7)));
    }
}
