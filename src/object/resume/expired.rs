//! The sweep of temporary files, on mounts that keep them for a time only.

use std::sync::Arc;
use std::time::Duration;

use crate::object::client::Store;
use crate::object::delete::delete;
use crate::object::error::ObjectError;
use crate::object::head::head;
use crate::object::list::{Key, RawPage};
use crate::object::location::Location;
use crate::object::resume::keys::{all_temporary, name_of};
use crate::object::resume::stored::{age, now};
use crate::object::resume::sweep::{Swept, SweptKind};

/// Removes the temporary files of a state bucket whose last write is longer ago than `keep`, and
/// returns all that are there. Errors as in [`sweep()`](super::sweep::sweep).
pub async fn sweep_temporary(
    store: &Arc<Store>,
    state_bucket: &Arc<str>,
    keep: Duration,
    dry_run: bool,
) -> Result<Vec<Swept>, ObjectError> {
    let state = Location {
        store: Arc::clone(store),
        bucket: Arc::clone(state_bucket),
        key: String::new(),
        attributes: None,
    };
    let prefix = all_temporary();
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = RawPage::fetch(&state, &prefix, None, 1000, token).await?;
        for key in page.keys {
            let removed = match remove_expired(&state, &key, keep, dry_run).await {
                Ok(removed) => removed,
                Err(error) => {
                    tracing::warn!(key = key.key, %error,
                        "a temporary file could not be removed; it is left for the next time");
                    false
                }
            };
            found.push(Swept {
                kind: SweptKind::Temporary,
                bucket: state_bucket.to_string(),
                age: age(now(&state), key.modified),
                key: key.key,
                user: String::new(),
                removed,
            });
        }
        if page.next.is_none() {
            return Ok(found);
        }
        token = page.next;
    }
}

/// Removes a file that is too old, and not being written or renamed in this process. It is looked
/// at right before: a listing may be older than the last write.
async fn remove_expired(
    state: &Location,
    key: &Key,
    keep: Duration,
    dry_run: bool,
) -> Result<bool, ObjectError> {
    let at = Location {
        key: key.key.clone(),
        ..state.clone()
    };
    if age(now(state), key.modified) < keep {
        return Ok(false);
    }
    let active = &state.store.context().active_uploads;
    let (Some(_lock), false) = (at.try_lock(), active.has_upload(&name_of(&at))) else {
        return Ok(false);
    };
    let info = match head(&at).await {
        Ok(info) if age(now(state), info.modified) >= keep => info,
        Ok(_) | Err(ObjectError::NotFound) => return Ok(false),
        Err(error) => return Err(error),
    };
    if dry_run {
        return Ok(true);
    }
    match delete(&at, Some(&info.etag)).await {
        Err(ObjectError::Unsupported(_)) => delete(&at, None).await?,
        Err(ObjectError::Conflict) => return Ok(false),
        deleted => deleted?,
    }
    Ok(true)
}
