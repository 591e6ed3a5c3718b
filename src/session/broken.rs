//! Transfers of this process that broke off. A client that resumes one must not join two files.
//!
//! **Downloads.** lftp and wget resume by REST within the same command, curl with `-C -`. If the
//! object was replaced in the meantime, they append the end of the new version to the beginning of
//! the old one, and exit with success. The process remembers which version the download read: a
//! RETR after REST of another version gets 550. It forgets a download that ended whole, so that a
//! client can fetch what was appended to the object since.
//!
//! **Uploads.** A client that resumes asks SIZE and sends the rest of its file. If the server has
//! discarded the upload (the mount keeps none, or another write may be newer), SIZE returns the
//! length of the old object, and the rest of the new file would extend that object. So after a STOR
//! has broken off, APPE and REST + STOR that would extend the object get 554. STOR without REST is
//! not affected. An APPE that broke off has appended nothing, and the client may repeat it.
//!
//! An entry is valid for ten minutes, for one user at one address.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::network_of;
use crate::object::{Location, ObjectInfo};

/// The largest number of downloads in memory, and of uploads.
const MOST: usize = 10_000;

/// How long an entry is valid.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The transfers of this process that broke off.
#[derive(Debug, Default)]
pub struct BrokenTransfers {
    /// The value is a keyed hash of the object's size and ETag.
    downloads: Mutex<BoundedMap>,
    uploads: Mutex<BoundedMap>,
    hasher: RandomState,
}

/// A bounded map from names to values.
#[derive(Debug, Default)]
struct BoundedMap {
    /// By a keyed hash of user, address and object.
    known: HashMap<u64, Remembered>,
    /// The keys of `known`, the oldest first.
    order: VecDeque<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    what: u64,
    at: Instant,
}

/// The transfers of an object by one user from one address.
#[derive(Debug, Clone)]
pub(super) struct UserTransfers {
    all: Arc<BrokenTransfers>,
    name: u64,
}

impl BrokenTransfers {
    /// The transfers of an object by a user from an address (IPv6: from a /64).
    pub(super) fn of(
        self: &Arc<Self>,
        user: &str,
        from: IpAddr,
        object: &Location,
    ) -> UserTransfers {
        let endpoint = object.store.endpoint();
        let name = (
            user,
            network_of(from),
            endpoint,
            &*object.bucket,
            &*object.key,
        );
        UserTransfers {
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

impl UserTransfers {
    /// Whether the last download broke off in another version than this.
    pub(super) fn download_broke_in_another(&self, info: &ObjectInfo) -> bool {
        let known = locked(&self.all.downloads).get(self.name);
        known.is_some_and(|version| version != self.all.version(info))
    }

    /// Notes that a download broke off in this version.
    pub(super) fn download_broke(&self, info: &ObjectInfo) {
        let version = self.all.version(info);
        locked(&self.all.downloads).enter(self.name, version, Instant::now());
    }

    /// Notes that a download ended whole.
    pub(super) fn download_ended(&self) {
        locked(&self.all.downloads).forget(self.name);
    }

    /// Whether a STOR broke off, and neither an upload, a rename nor a delete has replaced the
    /// object since. The caller looks for an interrupted upload first.
    pub(super) fn upload_broke_off(&self) -> bool {
        locked(&self.all.uploads).get(self.name).is_some()
    }

    /// Notes that a STOR from the beginning broke off.
    pub(super) fn upload_broke(&self) {
        locked(&self.all.uploads).enter(self.name, 0, Instant::now());
    }

    /// Notes that an upload was published, or that a rename or a delete has replaced the object.
    pub(super) fn begins_anew(&self) {
        locked(&self.all.uploads).forget(self.name);
    }
}

impl BoundedMap {
    fn get(&self, name: u64) -> Option<u64> {
        let known = self.known.get(&name)?;
        (known.at.elapsed() < REMEMBERED).then_some(known.what)
    }

    fn enter(&mut self, name: u64, what: u64, at: Instant) {
        self.forget(name);
        self.known.insert(name, Remembered { what, at });
        self.order.push_back(name);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn forget(&mut self, name: u64) {
        // Most transfers are of names that never broke off.
        if self.known.remove(&name).is_some() {
            self.order.retain(|known| *known != name);
        }
    }
}

fn locked(memory: &Mutex<BoundedMap>) -> MutexGuard<'_, BoundedMap> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_is_remembered() {
        let mut memory = BoundedMap::default();
        let now = Instant::now();
        for name in 0..MOST as u64 + 2 {
            memory.enter(name, 1, now);
        }
        memory.enter(7, 2, now);
        assert_eq!((memory.known.len(), memory.order.len()), (MOST, MOST));
        assert_eq!((memory.get(1), memory.get(2)), (None, Some(1)));
        assert_eq!((memory.get(7), memory.order.back()), (Some(2), Some(&7)));
        memory.forget(7);
        assert_eq!((memory.get(7), memory.order.len()), (None, MOST - 1));
    }
}
