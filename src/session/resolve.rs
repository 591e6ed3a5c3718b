//! What a path names: the object of a file, what is there now, the parent directory.

use std::sync::Arc;

use jiff::Timestamp;

use crate::namespace::{Mount, Namespace, Permission, Resolved, VirtualPath};
use crate::object::{Location, ObjectError, ObjectInfo, directory_exists, head, head_with_crc};
use crate::session::replies::Refusal;

/// No store holds an object of this size (1 PiB). An offset beyond it never reaches a store: stores
/// read numbers near 2^63 in a Range differently, and some ignore a Range that they cannot read.
const BEYOND_ANY_OBJECT: u64 = 1 << 50;

/// The mount and object that a path names; refused if the path cannot name a file.
pub(super) fn file_at(
    path: &VirtualPath,
    resolved: &Resolved,
) -> Result<(Arc<Mount>, Location), Refusal> {
    match (resolved, resolved.object()) {
        (Resolved::Mounted { mount, .. }, Some(location)) => Ok((mount.clone(), location)),
        (Resolved::Nowhere(_), _) => Err(Refusal::NotFound(path.clone())),
        _ => Err(Refusal::IsDirectory(path.clone())),
    }
}

/// Whether an argument can only mean a directory: `in/`, `.`, `in/..`.
pub(super) fn names_directory(argument: &str) -> bool {
    matches!(argument.rsplit('/').next(), Some("" | "." | ".."))
}

/// A HEAD that returns `None` if there is no object.
pub(super) async fn existing(
    path: &VirtualPath,
    location: &Location,
) -> Result<Option<ObjectInfo>, Refusal> {
    existing_object(location)
        .await
        .map_err(|error| Refusal::store(path, &error))
}

/// A HEAD that returns `None` if there is no object.
pub(super) async fn existing_object(
    location: &Location,
) -> Result<Option<ObjectInfo>, ObjectError> {
    match head(location).await {
        Ok(info) => Ok(Some(info)),
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The parent directory of an entry, if it can vanish with the entry: a mount's root cannot.
pub(super) fn parent_in_mount(resolved: &Resolved) -> Option<Location> {
    let Resolved::Mounted { mount, rest, .. } = resolved else {
        return None;
    };
    let (parent, _) = rest.rsplit_once('/')?;
    Some(mount.location(format!("{}{parent}/", mount.prefix)))
}

/// The parent directory of a file, if it can vanish with the file. That of a temporary file has no
/// key of it.
pub(super) fn parent_of_file(resolved: &Resolved) -> Option<Location> {
    match resolved.is_temporary() {
        true => None,
        false => parent_in_mount(resolved),
    }
}

/// Whether there is anything in a directory that its user may see, or its marker. A directory that
/// holds only temporary files of the user exists for the user.
pub(super) async fn exists_for_user(resolved: &Resolved) -> Result<bool, ObjectError> {
    let Some(directory) = resolved.directory() else {
        return Ok(false);
    };
    Ok(directory_exists(&directory).await? || holds_temporary(resolved).await?)
}

/// Whether the user has temporary files in a directory. 1 ListObjectsV2 if the mount has such names.
pub(super) async fn holds_temporary(directory: &Resolved) -> Result<bool, ObjectError> {
    match directory.temporary_directory() {
        Some(directory) => directory_exists(&directory).await,
        None => Ok(false),
    }
}

/// The time that all commands report for a file.
pub(super) fn modified(info: &ObjectInfo, resolved: &Resolved) -> Timestamp {
    match resolved {
        Resolved::Mounted { mount, .. } if mount.times_metadata => {
            info.client_modified().unwrap_or(info.modified)
        }
        _ => info.modified,
    }
}

/// A file's HEAD, `None` for a directory, an error if the path is neither.
pub(super) async fn describe(
    path: &VirtualPath,
    resolved: &Resolved,
) -> Result<Option<ObjectInfo>, Refusal> {
    let described = describe_asking(path, resolved, Checksum::Unasked).await?;
    Ok(described.map(|(info, _)| info))
}

/// [`describe`] with the CRC-32 of the file's bytes, if the user may read the file and the store
/// has it.
pub(super) async fn describe_with_crc(
    path: &VirtualPath,
    resolved: &Resolved,
) -> Result<Option<(ObjectInfo, Option<u32>)>, Refusal> {
    let checksum = match resolved.allows(Permission::Read) {
        true => Checksum::Asked,
        false => Checksum::Unasked,
    };
    describe_asking(path, resolved, checksum).await
}

/// Whether a HEAD asks for the checksum.
#[derive(Debug, Clone, Copy)]
enum Checksum {
    Asked,
    Unasked,
}

async fn describe_asking(
    path: &VirtualPath,
    resolved: &Resolved,
    checksum: Checksum,
) -> Result<Option<(ObjectInfo, Option<u32>)>, Refusal> {
    let location = match (resolved, resolved.object()) {
        (Resolved::Nowhere(_), _) => return Err(Refusal::NotFound(path.clone())),
        (_, None) => return Ok(None),
        (_, Some(location)) => location,
    };
    let found = match checksum {
        Checksum::Asked => head_with_crc(&location).await,
        Checksum::Unasked => head(&location).await.map(|info| (info, None)),
    };
    match found {
        Ok(found) => return Ok(Some(found)),
        Err(ObjectError::NotFound) => {}
        Err(error) => return Err(Refusal::store(path, &error)),
    }
    let exists = exists_for_user(resolved)
        .await
        .map_err(|error| Refusal::store(path, &error))?;
    if exists {
        Ok(None)
    } else {
        Err(Refusal::NotFound(path.clone()))
    }
}

/// Whether a directory exists. Mount roots and the directories above mounts need no request.
pub(super) async fn is_directory(
    path: &VirtualPath,
    resolved: &Resolved,
    namespace: &Namespace,
) -> Result<bool, Refusal> {
    match resolved {
        Resolved::Virtual(_) => Ok(true),
        Resolved::Nowhere(_) => Ok(false),
        Resolved::Mounted { .. } if is_mount_root(resolved) || namespace.holds_mount(path) => {
            Ok(true)
        }
        Resolved::Mounted { .. } => exists_for_user(resolved)
            .await
            .map_err(|error| Refusal::store(path, &error)),
    }
}

/// Whether a resolved path is the root of a mount.
pub(super) fn is_mount_root(resolved: &Resolved) -> bool {
    matches!(resolved, Resolved::Mounted { rest, .. } if rest.is_empty())
}

/// Refuses with 550 and the permission's name if the user lacks it.
pub(super) fn require(
    path: &VirtualPath,
    resolved: &Resolved,
    permission: Permission,
) -> Result<(), Refusal> {
    if matches!(resolved, Resolved::Nowhere(_)) {
        return Err(Refusal::NotFound(path.clone()));
    }
    if resolved.allows(permission) {
        Ok(())
    } else {
        Err(Refusal::PermissionDenied(path.clone(), permission))
    }
}

/// Refuses a new file whose name the mount does not allow.
pub(super) fn check_name(path: &VirtualPath, mount: &Mount) -> Result<(), Refusal> {
    // Its name counts when it is published by a rename.
    if path.name().is_some_and(|name| mount.is_temporary(name)) {
        return Ok(());
    }
    match mount.names.refusal(path.name().unwrap_or_default()) {
        Some(rule) => Err(Refusal::NameRefused(path.clone(), rule)),
        None => Ok(()),
    }
}

/// Refuses a file that is larger than is allowed.
pub(super) fn check_file_size(
    path: &VirtualPath,
    size: u64,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    match limit {
        Some(limit) if size > limit => Err(Refusal::FileTooLarge(path.clone(), limit)),
        _ => Ok(()),
    }
}

/// Refuses an offset of REST or RANG that no file reaches (RFC 3659, 5.3).
pub(super) fn check_offset(path: &VirtualPath, offset: u64) -> Result<(), Refusal> {
    if offset < BEYOND_ANY_OBJECT {
        return Ok(());
    }
    Err(Refusal::BeyondAnyFile(path.clone()))
}
