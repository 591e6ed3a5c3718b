//! [`Configured`]: what a reload replaces.
//!
//! It is replaced as one value, so that a login and each command see users, mounts and stores of one
//! configuration. A session takes over the newest one before a command; a transfer keeps the mount
//! and the store that it began with.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;

use crate::auth::Accounts;
use crate::auth::options::UserOptions;
use crate::namespace::{Mount, Namespace, TemporaryNames};
use crate::object::Store;
use crate::session::options::Hosts;

/// Users, hosts and stores of one configuration.
#[derive(Debug, Default)]
pub struct Configured {
    /// The hash of the configuration.
    pub hash: String,
    /// The users.
    pub accounts: Accounts,
    /// Virtual hosts by name.
    pub hosts: Hosts,
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<Store>>,
}

/// The newest [`Configured`], and who waits for the next one.
#[derive(Debug)]
pub struct Newest(watch::Sender<Arc<Configured>>);

impl Newest {
    /// The first one.
    pub fn new(first: Configured) -> Self {
        Newest(watch::Sender::new(Arc::new(first)))
    }

    /// The newest one.
    pub fn get(&self) -> Arc<Configured> {
        Arc::clone(&self.0.borrow())
    }

    /// Whether this is not the newest one.
    pub(super) fn is_newer_than(&self, known: &Arc<Configured>) -> bool {
        !Arc::ptr_eq(&self.0.borrow(), known)
    }

    /// Replaces it.
    pub fn replace(&self, next: Configured) {
        self.0.send_replace(Arc::new(next));
    }

    /// Returns when there is another one than this. Cancel safe.
    pub(super) async fn after(&self, known: &Arc<Configured>) {
        let mut newest = self.0.subscribe();
        // The sender lives as long as this.
        let _ = newest.wait_for(|newest| !Arc::ptr_eq(newest, known)).await;
    }
}

impl Configured {
    /// The tree of a user whose client is at this address; `None` if a mount's store does not exist.
    pub(super) fn namespace_of(&self, user: &UserOptions, peer: IpAddr) -> Option<Namespace> {
        let peer = peer.to_canonical().to_string();
        let mounts = user.mounts.iter().map(|(path, mount)| {
            Some(Mount {
                path: path.clone(),
                store: Arc::clone(self.stores.get(&mount.store)?),
                bucket: mount.bucket.as_str().into(),
                prefix: mount.prefix.clone(),
                permissions: mount.permissions,
                ascii_convert: mount.ascii_convert,
                times_metadata: mount.times_metadata,
                verify_downloads: mount.verify_downloads,
                state_bucket: mount
                    .state_bucket
                    .as_deref()
                    .unwrap_or(&mount.bucket)
                    .into(),
                keep_interrupted: mount.keep_interrupted,
                on_control_loss: mount.on_control_loss,
                temporary: (!mount.temporary.is_empty()).then(|| TemporaryNames {
                    patterns: mount.temporary.clone(),
                    user: user.name.as_str().into(),
                }),
                max_file_size: mount.max_file_size,
                names: Arc::clone(&mount.names),
                attributes: mount.attributes.for_peer(&peer),
            })
        });
        Some(Namespace::new(mounts.collect::<Option<Vec<_>>>()?))
    }
}
