//! Which mount contains a path: pure, from the mounts' paths and prefixes.

use std::collections::BTreeSet;

use crate::namespace::keys;
use crate::namespace::path::VirtualPath;

/// What the look-up needs of a mount.
#[derive(Debug, Clone, Copy)]
pub(super) struct MountPoint<'m> {
    /// Its path in the tree.
    pub path: &'m VirtualPath,
    /// Empty, or ends in `/`.
    pub prefix: &'m str,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MountLookup {
    /// In the mount of this number; the path's elements below it, joined by `/`.
    In(usize, String),
    /// In no mount, and above one, or the root.
    Above,
    /// Neither; or the server's state in a mount.
    Nowhere,
}

/// Finds `path`: it belongs to the mount with the longest path that equals it or is an ancestor of
/// it, by whole elements.
///
/// A path to the server's own state belongs to no mount: it does not exist, unless another mount
/// lies below it.
pub(super) fn find<'m>(
    mounts: impl Iterator<Item = MountPoint<'m>> + Clone,
    path: &VirtualPath,
) -> MountLookup {
    let paths = mounts.clone().map(|mount| mount.path);
    let within = mounts
        .enumerate()
        .filter_map(|(number, mount)| Some((number, mount, path.strip_prefix(mount.path)?)));
    if let Some((number, mount, rest)) = within.min_by_key(|(.., rest)| rest.len()) {
        let rest = rest.join("/");
        if !keys::hidden(&format!("{}{rest}", mount.prefix)) {
            return MountLookup::In(number, rest);
        }
    }
    if path.is_root() || !names_below(paths, path).is_empty() {
        MountLookup::Above
    } else {
        MountLookup::Nowhere
    }
}

/// Whether a mount is at `path` or below it.
pub(super) fn holds<'m>(
    mut mounts: impl Iterator<Item = &'m VirtualPath>,
    path: &VirtualPath,
) -> bool {
    mounts.any(|mount| mount.strip_prefix(path).is_some())
}

/// The names directly below `path` that are mounts or lie on the way to one; sorted, each once.
pub(super) fn names_below<'m>(
    mounts: impl Iterator<Item = &'m VirtualPath>,
    path: &VirtualPath,
) -> Vec<String> {
    let names: BTreeSet<&String> = mounts
        .filter_map(|mount| mount.strip_prefix(path)?.first())
        .collect();
    names.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::root().join(text).unwrap()
    }

    fn paths(texts: &[&str]) -> Vec<VirtualPath> {
        texts.iter().map(|text| path(text)).collect()
    }

    /// [`find`] among mounts without a prefix.
    fn found(mounts: &[VirtualPath], asked: &str) -> MountLookup {
        find(
            mounts.iter().map(|path| MountPoint { path, prefix: "" }),
            &path(asked),
        )
    }

    fn within(number: usize, rest: &str) -> MountLookup {
        MountLookup::In(number, rest.to_owned())
    }

    #[test]
    fn the_longest_mount_wins_by_whole_elements() {
        let nested = paths(&["/", "/archive", "/archive/old"]);
        let apart = paths(&["/home/alice", "/home/alice-archive", "/x/y"]);
        for (mounts, asked, expected) in [
            (&nested, "/", within(0, "")),
            (&nested, "/a/b", within(0, "a/b")),
            (&nested, "/archive", within(1, "")),
            (&nested, "/archive/a", within(1, "a")),
            (&nested, "/archive/old", within(2, "")),
            (&nested, "/archive/old/a/b", within(2, "a/b")),
            (&nested, "/archives", within(0, "archives")),
            (&apart, "/home/alice/a", within(0, "a")),
            (&apart, "/home/alice-archive/a", within(1, "a")),
            (&apart, "/home/alice-", MountLookup::Nowhere),
            (&apart, "/home/alic", MountLookup::Nowhere),
            (&apart, "/hom", MountLookup::Nowhere),
            (&apart, "/", MountLookup::Above),
            (&apart, "/home", MountLookup::Above),
            (&apart, "/x", MountLookup::Above),
        ] {
            assert_eq!(found(mounts, asked), expected, "{asked}");
        }
    }

    #[test]
    fn the_state_of_the_server_is_nowhere() {
        let [root, prefixed, state, below] = &paths(&["/", "/p", "/state", "/.s3ftpd/x"])[..]
        else {
            panic!()
        };
        let mounts = [
            (root, ""),
            (prefixed, "p/"),
            (state, ".s3ftpd/uploads/"),
            (below, "x/"),
        ];
        for (asked, expected) in [
            ("/.s3ftpd/records/a", MountLookup::Nowhere),
            ("/.s3ftpd2", within(0, ".s3ftpd2")),
            ("/a/.s3ftpd", within(0, "a/.s3ftpd")),
            ("/p/.s3ftpd/a", within(1, ".s3ftpd/a")),
            ("/state", MountLookup::Nowhere),
            ("/state/a", MountLookup::Nowhere),
            // It is a directory, as it is on the way to a mount.
            ("/.s3ftpd", MountLookup::Above),
            ("/.s3ftpd/x/a", within(3, "a")),
        ] {
            let points = mounts
                .iter()
                .map(|(path, prefix)| MountPoint { path, prefix });
            assert_eq!(find(points, &path(asked)), expected, "{asked}");
        }
        assert_eq!(found(&paths(&["/"]), "/.s3ftpd"), MountLookup::Nowhere);
    }

    #[test]
    fn a_tree_without_mounts_has_a_root() {
        assert_eq!(found(&[], "/"), MountLookup::Above);
        assert_eq!(found(&[], "/a"), MountLookup::Nowhere);
        assert!(!holds(std::iter::empty(), &path("/")));
        assert!(names_below(std::iter::empty(), &path("/")).is_empty());
    }

    #[test]
    fn the_ways_to_mounts() {
        let mounts = paths(&["/", "/b/x", "/a", "/b/y/z", "/ab"]);
        for (asked, names, holds_mount) in [
            ("/", &["a", "ab", "b"][..], true),
            ("/b", &["x", "y"], true),
            ("/b/y", &["z"], true),
            ("/b/y/z", &[], true),
            ("/a", &[], true),
            ("/b/y/z/q", &[], false),
            ("/c", &[], false),
        ] {
            assert_eq!(names_below(mounts.iter(), &path(asked)), names, "{asked}");
            assert_eq!(holds(mounts.iter(), &path(asked)), holds_mount, "{asked}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_found_in_a_mount_that_is_its_ancestor(
            mounts in proptest::collection::vec("(/(a|b|ab|a-b)){0,3}", 0..5),
            asked in "(/(a|b|ab|a-b)){0,4}",
        ) {
            let mounts: Vec<VirtualPath> = mounts.iter().map(|text| path(text)).collect();
            let with_slash = |path: &VirtualPath| format!("{path}/").replace("//", "/");
            let found = found(&mounts, &asked);
            let asked = path(&asked);
            let ancestor = |mount: &&VirtualPath| with_slash(&asked).starts_with(&with_slash(mount));
            let longest = mounts.iter().filter(ancestor).map(|mount| mount.elements().len()).max();
            match found {
                MountLookup::In(number, rest) => {
                    prop_assert_eq!(Some(mounts[number].elements().len()), longest);
                    prop_assert_eq!(mounts[number].join(&rest).unwrap(), asked);
                }
                MountLookup::Above => {
                    prop_assert_eq!(longest, None);
                    prop_assert!(asked.is_root() || holds(mounts.iter(), &asked));
                }
                MountLookup::Nowhere => {
                    prop_assert_eq!(longest, None);
                    prop_assert!(!asked.is_root() && !holds(mounts.iter(), &asked));
                }
            }
        }
    }
}
