//! Where records and tails lie in the store, and the names under which this process remembers them.
//!
//! ```text
//!   .s3ftpd/uploads/<object>/<user>            the record of a user's upload of an object
//!   .s3ftpd/uploads/<object>/<user>.<attempt>  a record that was set aside for a newer one
//!   .s3ftpd/tails/<object>/<user>/<random>     a tail, or its first piece; further pieces
//!                                              end in `.1`, `.2` …; a staged file
//!   .s3ftpd/temporary/<directory>/<name>       a temporary file of a user (`temporary`)
//! ```
//!
//! `<object>` is the hash of bucket and key, `<user>` the hash of the user's name, `<directory>` that
//! of the bucket, the directory's key and the user's name.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::object::client::Store;
use crate::object::location::Location;
use crate::object::transfer_id::TransferId;

/// The prefix of the server's own state, in the bucket of the objects or in one of its own.
pub const STATE_PREFIX: &str = ".s3ftpd/";

/// The hash of some texts: 32 hexadecimal digits.
fn hash(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            // No bucket's name has it, so no two pairs are the same bytes.
            hash.update([0]);
        }
        hash.update(text);
    }
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The hash of bucket and key: the directory of an object's records and tails.
pub(in crate::object) fn object_hash(bucket: &str, key: &str) -> String {
    hash(&[bucket, key])
}

/// The hash of a user: the name of their record.
pub(in crate::object) fn user_hash(user: &str) -> String {
    hash(&[user])
}

/// The prefix of all records of a state bucket.
pub(in crate::object) fn all_records() -> String {
    format!("{STATE_PREFIX}uploads/")
}

/// The prefix of all tails of a state bucket.
pub(in crate::object) fn all_tails() -> String {
    format!("{STATE_PREFIX}tails/")
}

/// The prefix of all temporary files of a state bucket.
pub(in crate::object) fn all_temporary() -> String {
    format!("{STATE_PREFIX}temporary/")
}

/// The prefix of a user's temporary files of a directory. `key` is the directory's key.
pub(in crate::object) fn temporary_in(bucket: &str, key: &str, user: &str) -> String {
    format!("{}{}/", all_temporary(), hash(&[bucket, key, user]))
}

/// The prefix of the records of all users of an object.
pub(in crate::object) fn records_of(object: &Location) -> String {
    let hash = object_hash(&object.bucket, &object.key);
    format!("{}{hash}/", all_records())
}

/// Where the record of a user's upload of an object lies.
pub(in crate::object) fn record_at(
    object: &Location,
    state_bucket: &Arc<str>,
    user: &str,
) -> Location {
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!("{}{}", records_of(object), user_hash(user)),
        attributes: object.attributes_without_key(),
    }
}

/// Where the record of an upload is set aside for a newer one of the same user: it may still run,
/// and no upload is to be open that no record names. `by` is its attempt id, or another name that
/// no other record has.
pub(in crate::object) fn set_aside_at(at: &Location, by: &str) -> Location {
    Location {
        key: format!("{}.{by}", at.key),
        ..at.clone()
    }
}

/// Whether the key of a record is that of one [set aside](set_aside_at).
pub(in crate::object) fn is_aside(key: &str) -> bool {
    key.rsplit('/')
        .next()
        .is_some_and(|name| name.contains('.'))
}

/// The prefix of all tails of an object.
pub(in crate::object) fn tails_of(bucket: &str, key: &str) -> String {
    format!("{}{}/", all_tails(), object_hash(bucket, key))
}

/// Where a new tail of a user's upload lies.
pub(in crate::object) fn tail_at(
    object: &Location,
    state_bucket: &Arc<str>,
    user: &str,
) -> Location {
    Location {
        store: Arc::clone(&object.store),
        bucket: Arc::clone(state_bucket),
        key: format!(
            "{}{}/{}",
            tails_of(&object.bucket, &object.key),
            user_hash(user),
            TransferId::generate()
        ),
        attributes: object.attributes.clone(),
    }
}

/// The hash of bucket and key in the key of a record or a tail.
pub(in crate::object) fn object_hash_in(key: &str) -> &str {
    key.split('/').nth(2).unwrap_or_default()
}

/// The hash of the user in the key of a record.
pub(in crate::object) fn user_hash_in(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// The name of an object in this process, from the hash of its bucket and key. It begins with the
/// store's endpoint, since two stores can have buckets of one name.
pub(in crate::object) fn name_in(store: &Store, hash: &str) -> String {
    format!("{} {hash}", store.endpoint())
}

/// The name of an object in this process.
pub(in crate::object) fn name_of(object: &Location) -> String {
    name_in(&object.store, &object_hash(&object.bucket, &object.key))
}

/// The name of a record in this process.
pub(in crate::object) fn record_name(record: &Location) -> String {
    format!(
        "{} {}/{}",
        record.store.endpoint(),
        record.bucket,
        record.key
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_and_directory_has_a_place_for_temporary_files() {
        let places = [
            temporary_in("a", "d/", "u"),
            temporary_in("a", "d/e/", "u"),
            temporary_in("a", "", "u"),
            temporary_in("b", "d/", "u"),
            temporary_in("a", "d/", "v"),
            temporary_in("a", "", "d/u"),
        ];
        let different: std::collections::BTreeSet<&String> = places.iter().collect();
        assert_eq!(different.len(), places.len());
        // Files that a replica of another version has stored are to be found.
        assert_eq!(
            places[0],
            ".s3ftpd/temporary/95df5d9e3c39aa7487d8e951f997d704/"
        );
    }

    #[test]
    fn hashes_differ_by_bucket_and_key() {
        assert_ne!(object_hash("a", "bc"), object_hash("ab", "c"));
        assert_eq!(object_hash("a", "b").len(), 32);
    }
}
