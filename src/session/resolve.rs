//! What a path names: the object of a file, what is there now, the directory above.

use std::sync::Arc;

use crate::namespace::{Mount, Place, VirtualPath};
use crate::object::{Location, ObjectError, ObjectInfo, head};
use crate::session::replies;
use ftp_proto::Reply;

/// The mount and object a path names; refused where it can be no file.
pub(in crate::session) fn file_at(
    path: &VirtualPath,
    place: &Place,
) -> Result<(Arc<Mount>, Location), Reply> {
    match (place, place.object()) {
        (Place::Mounted { mount, .. }, Some(location)) => Ok((mount.clone(), location)),
        (Place::Nowhere(_), _) => Err(replies::not_found(path)),
        _ => Err(Reply::new(550, format!("{path}: is a directory"))),
    }
}

/// Whether an argument can only mean a directory: `in/`, `.`, `in/..`.
pub(in crate::session) fn names_directory(argument: &str) -> bool {
    matches!(argument.rsplit('/').next(), Some("" | "." | ".."))
}

/// HEAD, where "not there" is an answer.
pub(in crate::session) async fn existing(
    path: &VirtualPath,
    location: &Location,
) -> Result<Option<ObjectInfo>, Reply> {
    existing_object(location)
        .await
        .map_err(|error| replies::object_error(path, &error))
}

/// HEAD, where "not there" is an answer.
pub(in crate::session) async fn existing_object(
    location: &Location,
) -> Result<Option<ObjectInfo>, ObjectError> {
    match head(location).await {
        Ok(info) => Ok(Some(info)),
        Err(ObjectError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directory an entry lies in, where that can vanish with it: not at a mount's root.
pub(in crate::session) fn parent_in_mount(place: &Place) -> Option<Location> {
    let Place::Mounted { mount, rest, .. } = place else {
        return None;
    };
    let (parent, _) = rest.rsplit_once('/')?;
    Some(Location {
        store: mount.store.clone(),
        bucket: mount.bucket.clone(),
        key: format!("{}{parent}/", mount.prefix),
    })
}
