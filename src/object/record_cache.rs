//! What this process remembers of records, so that it asks the store for a record only if there may
//! be one.
//!
//! All of it is bounded and only saves requests: a process that has just started, or has forgotten
//! a name, learns it from the next list of all records (`refresh_record_cache`).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most names that each memory holds. The oldest goes first.
const MOST_NAMES: usize = 10_000;

/// The memory of records. Objects and records go by their names in `resume::keys`.
#[derive(Debug, Default)]
pub struct RecordCache {
    /// The objects that have records, with the hashes of the records' users.
    records: Mutex<BoundedNames<HashSet<String>>>,
    /// The objects that were written here without a look at their records. If such an object is
    /// removed, nothing shows any more that an upload which another process has recorded is older.
    unchecked_writes: Mutex<BoundedNames<()>>,
    /// The records that were overwritten as empty, with the ETags they have since.
    emptied: Mutex<BoundedNames<String>>,
}

impl RecordCache {
    /// Remembers that an object has a record, of the user with this hash.
    pub(in crate::object) fn insert(&self, object: &str, user: &str) {
        locked(&self.records).of(object).insert(user.to_owned());
    }

    /// Whether an object is known to have a record of a user for whom `of` holds.
    pub(in crate::object) fn contains(&self, object: &str, of: impl Fn(&str) -> bool) -> bool {
        let records = locked(&self.records);
        let users = records.get(object);
        users.is_some_and(|users| users.iter().any(|user| of(user)))
    }

    /// Forgets a record; returns whether it was known.
    pub(in crate::object) fn remove(&self, object: &str, user: &str) -> bool {
        let mut records = locked(&self.records);
        let Some(users) = records.names.get_mut(object) else {
            return false;
        };
        let known = users.remove(user);
        if users.is_empty() {
            records.take(object);
        }
        known
    }

    /// Remembers that an object was written without a look at its records.
    pub(in crate::object) fn insert_unchecked_write(&self, object: &str) {
        locked(&self.unchecked_writes).of(object);
    }

    /// Forgets such a write; returns whether there was one.
    pub(in crate::object) fn take_unchecked_write(&self, object: &str) -> bool {
        locked(&self.unchecked_writes).take(object).is_some()
    }

    /// Remembers that a record is empty and has this ETag.
    pub(in crate::object) fn insert_emptied(&self, record: &str, etag: String) {
        *locked(&self.emptied).of(record) = etag;
    }

    /// Forgets an empty record; returns its ETag.
    pub(in crate::object) fn take_emptied(&self, record: &str) -> Option<String> {
        locked(&self.emptied).take(record)
    }
}

/// The newest of some names, with what is known of each.
#[derive(Debug)]
pub(in crate::object) struct BoundedNames<T> {
    names: HashMap<String, T>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl<T> Default for BoundedNames<T> {
    fn default() -> Self {
        BoundedNames {
            names: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Default> BoundedNames<T> {
    /// What is known of a name.
    pub(in crate::object) fn get(&self, name: &str) -> Option<&T> {
        self.names.get(name)
    }

    /// What is known of a name, to be added to.
    pub(in crate::object) fn of(&mut self, name: &str) -> &mut T {
        if !self.names.contains_key(name) {
            self.order.push_back(name.to_owned());
            if self.order.len() > MOST_NAMES
                && let Some(oldest) = self.order.pop_front()
            {
                self.names.remove(&oldest);
            }
        }
        self.names.entry(name.to_owned()).or_default()
    }

    fn take(&mut self, name: &str) -> Option<T> {
        let known = self.names.remove(name);
        if known.is_some() {
            self.order.retain(|other| other != name);
        }
        known
    }
}

fn locked<T>(names: &Mutex<BoundedNames<T>>) -> MutexGuard<'_, BoundedNames<T>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_memory_of_records_is_bounded() {
        let cache = RecordCache::default();
        for number in 0..MOST_NAMES + 5 {
            cache.insert(&number.to_string(), "u");
        }
        cache.insert("5", "v");
        assert!(!cache.remove("0", "u"));
        assert!(cache.remove("5", "u") && !cache.remove("5", "u"));
        assert!(cache.contains("5", |user| user == "v"));
        assert!(cache.remove("5", "v"));
        let records = cache.records.lock().unwrap();
        assert_eq!(
            (records.names.len(), records.order.len()),
            (MOST_NAMES - 1, MOST_NAMES - 1)
        );
    }
}
