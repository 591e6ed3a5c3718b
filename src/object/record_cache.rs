//! What this process remembers of records, so that it asks the store for a record only if there may
//! be one.
//!
//! All of it is bounded and only saves requests: a process that has just started, or has forgotten
//! a name, learns it from the next list of all records (`refresh_record_cache`).

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

/// The most names that each memory holds. The one that was noted longest ago goes first.
const MOST_NAMES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);

/// The memory of records. Objects and records go by their names in `resume::keys`.
#[derive(Debug)]
pub struct RecordCache {
    /// The objects that have records, with the hashes of the records' users.
    records: BoundedNames<HashSet<String>>,
    /// The objects that were written here without a look at their records. If such an object is
    /// removed, nothing shows any more that an upload which another process has recorded is older.
    unchecked_writes: BoundedNames<()>,
    /// The records that were overwritten as empty, with the ETags they have since.
    emptied: BoundedNames<String>,
}

impl RecordCache {
    /// Remembers that an object has a record, of the user with this hash.
    pub(in crate::object) fn insert(&self, object: &str, user: &str) {
        locked(&self.records)
            .get_or_insert_mut_ref(object, HashSet::new)
            .insert(user.to_owned());
    }

    /// Whether an object is known to have a record of a user for whom `of` holds.
    pub(in crate::object) fn contains(&self, object: &str, of: impl Fn(&str) -> bool) -> bool {
        let records = locked(&self.records);
        let users = records.peek(object);
        users.is_some_and(|users| users.iter().any(|user| of(user)))
    }

    /// The number of objects with records.
    pub fn count(&self) -> usize {
        locked(&self.records).len()
    }

    /// Forgets a record; returns whether it was known.
    pub(in crate::object) fn remove(&self, object: &str, user: &str) -> bool {
        let mut records = locked(&self.records);
        let Some(users) = records.peek_mut(object) else {
            return false;
        };
        let known = users.remove(user);
        if users.is_empty() {
            records.pop(object);
        }
        known
    }

    /// Remembers that an object was written without a look at its records.
    pub(in crate::object) fn insert_unchecked_write(&self, object: &str) {
        locked(&self.unchecked_writes).put(object.to_owned(), ());
    }

    /// Forgets such a write; returns whether there was one.
    pub(in crate::object) fn take_unchecked_write(&self, object: &str) -> bool {
        locked(&self.unchecked_writes).pop(object).is_some()
    }

    /// Remembers that a record is empty and has this ETag.
    pub(in crate::object) fn insert_emptied(&self, record: &str, etag: String) {
        locked(&self.emptied).put(record.to_owned(), etag);
    }

    /// Forgets an empty record; returns its ETag.
    pub(in crate::object) fn take_emptied(&self, record: &str) -> Option<String> {
        locked(&self.emptied).pop(record)
    }
}

impl Default for RecordCache {
    fn default() -> Self {
        RecordCache {
            records: bounded_names(),
            unchecked_writes: bounded_names(),
            emptied: bounded_names(),
        }
    }
}

/// Some names, with what is known of each; looking one up does not make it newer.
pub(in crate::object) type BoundedNames<T> = Mutex<LruCache<String, T>>;

/// No names; there is room for [`MOST_NAMES`].
pub(in crate::object) fn bounded_names<T>() -> BoundedNames<T> {
    Mutex::new(LruCache::sparse(MOST_NAMES))
}

pub(in crate::object) fn locked<T>(names: &BoundedNames<T>) -> MutexGuard<'_, LruCache<String, T>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_records_is_bounded() {
        let cache = RecordCache::default();
        for number in 0..MOST_NAMES.get() + 5 {
            cache.insert(&number.to_string(), "u");
        }
        cache.insert("5", "v");
        assert!(!cache.remove("0", "u"));
        assert!(cache.remove("5", "u") && !cache.remove("5", "u"));
        assert!(cache.contains("5", |user| user == "v"));
        assert!(cache.remove("5", "v"));
        assert_eq!(locked(&cache.records).len(), MOST_NAMES.get() - 1);
    }
}
