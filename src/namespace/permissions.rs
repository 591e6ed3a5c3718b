//! What a user may do in a mount.

/// One permission, as the configuration and the 550 replies name it.
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
    /// Every one, in the order of the documentation.
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
    /// All of them: the default of a mount.
    pub const fn all() -> Self {
        Permissions(0x1ff)
    }
    /// None.
    pub const fn none() -> Self {
        Permissions(0)
    }
    /// With one more.
    pub const fn with(self, permission: Permission) -> Self {
        Permissions(self.0 | 1 << permission as u16)
    }
    /// Whether it is among them.
    pub const fn allows(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u16) != 0
    }
}
