//! What a user may do in a mount.

/// One permission, as in the configuration and the 550 replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// LIST, NLST, MLSD, MLST, STAT path, SIZE, MDTM.
    List,
    /// RETR.
    Read,
    /// STOR, STOU of a new name; MFMT.
    Write,
    /// STOR over an existing object.
    Overwrite,
    /// APPE, REST + STOR on an existing object.
    Append,
    /// DELE.
    Delete,
    /// RNFR, RNTO.
    Rename,
    /// MKD.
    Mkdir,
    /// RMD.
    Rmdir,
}

/// A set of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions(u16);

impl Permission {
    /// All, in the order of the documentation.
    pub const ALL: [Permission; 9] = [
        Permission::List,
        Permission::Read,
        Permission::Write,
        Permission::Overwrite,
        Permission::Append,
        Permission::Delete,
        Permission::Rename,
        Permission::Mkdir,
        Permission::Rmdir,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Permission::List => "list",
            Permission::Read => "read",
            Permission::Write => "write",
            Permission::Overwrite => "overwrite",
            Permission::Append => "append",
            Permission::Delete => "delete",
            Permission::Rename => "rename",
            Permission::Mkdir => "mkdir",
            Permission::Rmdir => "rmdir",
        }
    }
}

impl Permissions {
    /// All permissions: the default of a mount.
    pub const fn all() -> Self {
        Permissions(0x1ff)
    }

    /// No permission.
    pub const fn none() -> Self {
        Permissions(0)
    }

    /// Adds a permission.
    pub const fn with(self, permission: Permission) -> Self {
        Permissions(self.0 | 1 << permission as u16)
    }

    /// Removes a permission.
    pub const fn without(self, permission: Permission) -> Self {
        Permissions(self.0 & !(1 << permission as u16))
    }

    /// Whether the set contains it.
    pub const fn allows(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }

    /// The names of its permissions, in the order of the documentation: for messages.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let held = Permission::ALL
            .into_iter()
            .filter(move |permission| self.allows(*permission));
        held.map(Permission::name)
    }

    /// The letters of the fact `perm` (RFC 3659, 7.5.5) of a file or a directory, in alphabetical
    /// order.
    ///
    /// File: `a` append, `d` delete, `f` rename, `r` read, `w` overwrite. Directory: `c` write new
    /// files, `d` rmdir, `e` always (every user may change into it), `f` rename, `l` list, `m`
    /// mkdir, `p` delete its contents.
    pub fn perm(self, directory: bool) -> String {
        let letters: &[(char, Permission)] = if directory { &DIRECTORY } else { &FILE };
        let held = letters
            .iter()
            .filter(|(_, permission)| self.allows(*permission))
            .map(|(letter, _)| *letter);
        let mut perm: Vec<char> = held.chain(directory.then_some('e')).collect();
        perm.sort_unstable();
        perm.into_iter().collect()
    }
}

const FILE: [(char, Permission); 5] = [
    ('a', Permission::Append),
    ('d', Permission::Delete),
    ('f', Permission::Rename),
    ('r', Permission::Read),
    ('w', Permission::Overwrite),
];

const DIRECTORY: [(char, Permission); 6] = [
    ('c', Permission::Write),
    ('d', Permission::Rmdir),
    ('f', Permission::Rename),
    ('l', Permission::List),
    ('m', Permission::Mkdir),
    ('p', Permission::Delete),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn set(permissions: &[Permission]) -> Permissions {
        permissions
            .iter()
            .fold(Permissions::none(), |set, permission| set.with(*permission))
    }

    #[test]
    fn sets_hold_what_was_put_into_them() {
        for one in Permission::ALL {
            let only = set(&[one]);
            for other in Permission::ALL {
                assert_eq!(only.allows(other), one == other);
                assert!(Permissions::all().allows(other));
                assert!(!Permissions::none().allows(other));
            }
            assert_eq!(only.with(one), only);
            assert_eq!(only.without(one), Permissions::none());
            assert_eq!(
                Permissions::all().without(one).with(one),
                Permissions::all()
            );
            assert!(!Permissions::all().without(one).allows(one));
            assert_eq!(only.names().collect::<Vec<_>>(), [one.name()]);
        }
        assert_eq!(set(&Permission::ALL), Permissions::all());
        assert_eq!(Permissions::default(), Permissions::none());
    }

    #[test]
    fn names_come_in_the_order_of_the_documentation() {
        let names = set(&[Permission::Mkdir, Permission::Read, Permission::List]).names();
        assert_eq!(names.collect::<Vec<_>>(), ["list", "read", "mkdir"]);
    }

    #[test]
    fn letters_of_the_fact_perm() {
        assert_eq!(Permissions::all().perm(false), "adfrw");
        assert_eq!(Permissions::all().perm(true), "cdeflmp");
        assert_eq!(Permissions::none().perm(false), "");
        assert_eq!(Permissions::none().perm(true), "e");
        for (permission, file, directory) in [
            (Permission::List, "", "el"),
            (Permission::Read, "r", "e"),
            (Permission::Write, "", "ce"),
            (Permission::Overwrite, "w", "e"),
            (Permission::Append, "a", "e"),
            (Permission::Delete, "d", "ep"),
            (Permission::Rename, "f", "ef"),
            (Permission::Mkdir, "", "em"),
            (Permission::Rmdir, "", "de"),
        ] {
            assert_eq!(set(&[permission]).perm(false), file, "{permission:?}");
            assert_eq!(set(&[permission]).perm(true), directory, "{permission:?}");
        }
    }
}
