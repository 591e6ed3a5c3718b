//! Keys in a bucket: built from a mount's prefix and a path below it; which of them are hidden, and
//! the hash that identifies an entry.

/// The longest key that S3 accepts, bytes of UTF-8.
pub const MAX_KEY: usize = 1024;

/// The prefix of the server's own state, at the root of a bucket.
const STATE: &str = ".s3ftpd";

/// The key of an object; `None` at the mount's root, which is not an object, and if the key would
/// be too long.
pub(super) fn object(prefix: &str, rest: &str) -> Option<String> {
    (!rest.is_empty())
        .then(|| format!("{prefix}{rest}"))
        .filter(|key| key.len() <= MAX_KEY)
}

/// A directory's key: ends in `/`, or is empty at the root of a bucket. `None` if it would be too
/// long.
pub(super) fn directory(prefix: &str, rest: &str) -> Option<String> {
    let slash = if rest.is_empty() { "" } else { "/" };
    Some(format!("{prefix}{rest}{slash}")).filter(|key| key.len() <= MAX_KEY)
}

/// The directory's key and the name of a key of a file.
pub(super) fn split(key: &str) -> (&str, &str) {
    let at = key.rfind('/').map_or(0, |slash| slash + 1);
    key.split_at(at)
}

/// Whether `key` is the server's own state, which FTP neither shows nor reaches.
pub fn hidden(key: &str) -> bool {
    key.strip_prefix(STATE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A hash of the fields that identify an entry, in 16 hexadecimal digits; the same on each replica
/// and after a restart.
///
/// FNV-1a with 64 bits: among a million entries two are equal with a probability of 1 in 37
/// million, and a client that is misled by that takes two files for one in its display. Each field
/// is followed by a byte that does not occur in UTF-8, so that different lists of fields are
/// different bytes.
pub(super) fn unique(store: &str, bucket: &str, key: &str) -> String {
    let fields = [store, bucket, key].into_iter();
    let bytes = fields.flat_map(|field| field.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_of_objects_and_directories() {
        for (prefix, rest, object_key, directory_key) in [
            ("", "", None, ""),
            ("", "a/b", Some("a/b"), "a/b/"),
            ("p/q/", "", None, "p/q/"),
            ("p/q/", "a", Some("p/q/a"), "p/q/a/"),
        ] {
            assert_eq!(object(prefix, rest).as_deref(), object_key);
            assert_eq!(directory(prefix, rest).as_deref(), Some(directory_key));
        }
    }

    #[test]
    fn keys_end_in_a_name() {
        for (key, parent, name) in [
            ("a", "", "a"),
            ("p/q/a", "p/q/", "a"),
            ("p/", "p/", ""),
            ("", "", ""),
        ] {
            assert_eq!(split(key), (parent, name));
        }
    }

    #[test]
    fn keys_are_no_longer_than_s3_takes() {
        for (length, is_object, is_directory) in [
            (MAX_KEY - 3, true, true),
            (MAX_KEY - 2, true, false),
            (MAX_KEY - 1, false, false),
        ] {
            let rest = "a".repeat(length);
            assert_eq!(object("p/", &rest).is_some(), is_object, "{length}");
            assert_eq!(directory("p/", &rest).is_some(), is_directory, "{length}");
        }
    }

    #[test]
    fn the_state_is_hidden_and_nothing_else() {
        for key in [".s3ftpd", ".s3ftpd/", ".s3ftpd/a/b"] {
            assert!(hidden(key), "{key}");
        }
        for key in [
            "",
            ".s3ftp",
            ".s3ftpd2",
            ".s3ftpd2/a",
            "a/.s3ftpd",
            "a/.s3ftpd/b",
            "/.s3ftpd",
            ".S3FTPD",
        ] {
            assert!(!hidden(key), "{key}");
        }
    }

    #[test]
    fn entries_have_hashes_of_their_own_that_never_change() {
        // A change of this value would make every mirror take every entry for a new one.
        assert_eq!(unique("main", "scans", "a/b"), "8830ef4f9de4bdf5");
        let hashes: BTreeSet<String> = [
            ("main", "scans", "a"),
            ("main", "scans", "a/"),
            ("main", "scansa", ""),
            ("mainscans", "", "a"),
            ("main", "", "scansa"),
            ("", "main", "scansa"),
        ]
        .into_iter()
        .map(|(store, bucket, key)| unique(store, bucket, key))
        .collect();
        assert_eq!(hashes.len(), 6);
    }
}
