//! [`StoreUse`]: which buckets of a store the mounts of a configuration use, and how.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::namespace::Permission;
use crate::object::{Location, ObjectAttributes, STATE_PREFIX, Store};
use crate::server::options::ServerOptions;

/// A store, and the buckets that mounts use.
#[derive(Debug, Clone)]
pub struct StoreUse {
    /// The store.
    pub store: Arc<Store>,
    /// Whether the server does not start without it.
    pub required: bool,
    /// In order. Empty if no mount uses the store.
    pub buckets: Vec<BucketUse>,
}

/// A bucket of a store.
#[derive(Debug, Clone)]
pub struct BucketUse {
    /// The bucket, and the prefix of the first mount that shows it: a policy may allow lists of
    /// that prefix only. A bucket that is a state bucket and nothing else has the state's prefix.
    pub directory: Location,
    /// Whether the server writes there: to objects, or records and tails.
    pub writes: bool,
}

impl StoreUse {
    /// The stores of a configuration, by name.
    pub fn of(config: &ServerOptions, stores: &BTreeMap<String, Arc<Store>>) -> Vec<StoreUse> {
        let mut found: BTreeMap<&str, BTreeMap<&str, (&str, bool)>> = BTreeMap::new();
        // A policy may demand it of each request that writes.
        let mut encrypted = BTreeMap::new();
        for mount in config.users.values().flat_map(|user| user.mounts.values()) {
            let buckets = found.entry(&mount.store).or_default();
            let only_reads =
                |permission: &Permission| matches!(permission, Permission::List | Permission::Read);
            let writes = Permission::ALL
                .iter()
                .any(|permission| !only_reads(permission) && mount.permissions.allows(*permission));
            if let Some(encryption) = &mount.attributes.encryption {
                for bucket in mount.state_bucket.iter().chain([&mount.bucket]) {
                    encrypted.insert((mount.store.as_str(), bucket.as_str()), encryption);
                }
            }
            match buckets.entry(&mount.bucket) {
                Entry::Vacant(entry) => {
                    entry.insert((&mount.prefix, writes));
                }
                Entry::Occupied(mut entry) => {
                    let (prefix, written) = entry.get_mut();
                    if *prefix == STATE_PREFIX || mount.prefix.as_str() < *prefix {
                        *prefix = &mount.prefix;
                    }
                    *written |= writes;
                }
            }
            if let (Some(state), true) = (&mount.state_bucket, writes) {
                buckets.entry(state).or_insert((STATE_PREFIX, true)).1 = true;
            }
        }
        let uses = stores.iter().map(|(name, store)| {
            let buckets = found.remove(name.as_str()).unwrap_or_default();
            let buckets = buckets
                .into_iter()
                .map(|(bucket, (prefix, writes))| BucketUse {
                    directory: Location {
                        store: Arc::clone(store),
                        bucket: bucket.into(),
                        key: prefix.to_owned(),
                        attributes: encrypted.get(&(name.as_str(), bucket)).map(|encryption| {
                            Arc::new(ObjectAttributes {
                                encryption: Some((*encryption).clone()),
                                ..ObjectAttributes::default()
                            })
                        }),
                    },
                    writes,
                });
            StoreUse {
                store: Arc::clone(store),
                required: config.stores.get(name).is_some_and(|store| store.required),
                buckets: buckets.collect(),
            }
        });
        uses.collect()
    }
}
