//! A directory is renamed key by key: pass 1 lists and copies all, pass 2 lists again and deletes what was copied.
//!
//! Of each copied key 8 bytes are kept, a keyed hash of its name and ETag, in memory of the budget. So nothing is deleted
//! that was written meanwhile, and a directory of ten million keys takes 80 MB and not gigabytes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tracing::warn;

use super::{CopyOptions, PARALLEL, copy};
use crate::memory::{Budget, Grant};
use crate::object::delete::put_marker_with;
use crate::object::list::{Key, RawPage};
use crate::object::{Location, ObjectError, TransferId, delete, head};

/// Keys of the first block: 32 KiB.
const FIRST_BLOCK: usize = 4096;

/// Keys of each further block: 1 MiB.
const BLOCK: usize = 128 * 1024;

/// Memory for the next block is waited for so long.
const MEMORY_WAIT: Duration = Duration::from_secs(30);

/// Renames a directory, key by key: all are copied and checked before the first is deleted. Returns how many. Where a
/// copy fails nothing of the source is deleted, and the error tells how many copies are left at the destination. Keys
/// written to the source meanwhile stay there.
pub async fn rename_directory(
    source: &Location,
    destination: &Location,
    id: &TransferId,
) -> Result<u64, ObjectError> {
    if source.same_bucket(destination)
        && (destination.key.starts_with(&source.key) || source.key.starts_with(&destination.key))
    {
        return Err(ObjectError::Other(
            "a directory can't be moved into itself or onto one it is in".to_owned(),
        ));
    }
    let mut copied = Copied::new(&source.store.context().budget);
    if let Err(error) = copy_all(source, destination, id, &mut copied).await {
        warn!(from = source.key, to = destination.key, copied = copied.count, %error,
            "renaming a directory failed: nothing of it is deleted, the copies are left");
        return Err(with_leftovers(error, copied.count));
    }
    if copied.count == 0 {
        return Err(ObjectError::NotFound);
    }
    copied.finish();
    delete_copied(source, &copied).await?;
    Ok(copied.count)
}

/// Pass 1.
async fn copy_all(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    copied: &mut Copied,
) -> Result<(), ObjectError> {
    let mut token = None;
    loop {
        let page = RawPage::fetch(source, &source.key, None, 1000, token).await?;
        let mut copies = stream::iter(page.keys)
            .map(|key| copy_one(source, destination, id, key))
            .buffer_unordered(PARALLEL);
        while let Some(copy) = copies.try_next().await? {
            if let Some((key, etag)) = copy {
                copied.add(&key, &etag).await?;
            }
        }
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}

/// Copies one key as it is now; gives its name and the ETag that was copied, `None` where it is gone meanwhile.
async fn copy_one(
    source: &Location,
    destination: &Location,
    id: &TransferId,
    key: Key,
) -> Result<Option<(String, String)>, ObjectError> {
    let name = key.key.strip_prefix(&source.key).unwrap_or_default();
    let to = Location {
        key: format!("{}{name}", destination.key),
        ..destination.clone()
    };
    let from = Location {
        key: key.key,
        ..source.clone()
    };
    let options = CopyOptions {
        id: id.clone(),
        if_absent: false,
    };
    let info = match head(&from).await {
        Err(ObjectError::NotFound) => return Ok(None),
        info => info?,
    };
    if info.size == 0 && to.key.ends_with('/') {
        put_marker_with(&to, &info.attributes).await?;
    } else {
        match Box::pin(copy(&from, &info, &to, &options)).await {
            Err(ObjectError::NotFound) => return Ok(None),
            done => done?,
        }
    }
    Ok(Some((from.key, info.etag)))
}

/// Pass 2. What was written since pass 1 stays.
async fn delete_copied(source: &Location, copied: &Copied) -> Result<(), ObjectError> {
    let mut token = None;
    loop {
        let page = RawPage::fetch(source, &source.key, None, 1000, token).await?;
        stream::iter(page.keys)
            .map(|key| delete_one(source, key, copied))
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}

async fn delete_one(source: &Location, key: Key, copied: &Copied) -> Result<(), ObjectError> {
    let location = Location {
        key: key.key,
        ..source.clone()
    };
    // Not every store's listing tells ETags.
    let etag = if key.etag.is_empty() {
        match head(&location).await {
            Err(ObjectError::NotFound) => return Ok(()),
            info => info?.etag,
        }
    } else {
        key.etag
    };
    if !copied.contains(&location.key, &etag) {
        return Ok(());
    }
    match delete(&location, Some(&etag)).await {
        // Overwritten since it was listed.
        Err(ObjectError::Conflict) => Ok(()),
        // A store that can't do it under a condition: the listing just now showed the object that was copied.
        Err(ObjectError::Unsupported(_)) => delete(&location, None).await,
        result => result,
    }
}

/// Says what is left behind.
fn with_leftovers(error: ObjectError, count: u64) -> ObjectError {
    if count == 0 {
        return error;
    }
    let text = format!("{error} (nothing was deleted; {count} copies are left at the destination)");
    match error {
        ObjectError::Denied(_) => ObjectError::Denied(text),
        error if error.transient() => ObjectError::Unavailable(text),
        ObjectError::Full => ObjectError::Full,
        _ => ObjectError::Other(text),
    }
}

/// Which keys were copied.
struct Copied {
    budget: Budget,
    hasher: RandomState,
    blocks: Vec<(Vec<u64>, Grant)>,
    count: u64,
}

impl Copied {
    fn new(budget: &Budget) -> Self {
        Copied {
            budget: budget.clone(),
            hasher: RandomState::new(),
            blocks: Vec::new(),
            count: 0,
        }
    }

    async fn add(&mut self, key: &str, etag: &str) -> Result<(), ObjectError> {
        let hash = self.hash(key, etag);
        self.count += 1;
        if let Some((block, _)) = self.blocks.last_mut()
            && block.len() < block.capacity()
        {
            block.push(hash);
            return Ok(());
        }
        let size = if self.blocks.is_empty() {
            FIRST_BLOCK
        } else {
            BLOCK
        };
        let bytes = (size * size_of::<u64>()) as u64;
        let grant = self
            .budget
            .grant(bytes, MEMORY_WAIT)
            .await
            .map_err(|_| ObjectError::Memory)?;
        let mut block = Vec::with_capacity(size);
        block.push(hash);
        self.blocks.push((block, grant));
        Ok(())
    }

    /// Not every store quotes ETags in listings as in headers.
    fn hash(&self, key: &str, etag: &str) -> u64 {
        self.hasher.hash_one((key, etag.trim_matches('"')))
    }

    /// Before the first question.
    fn finish(&mut self) {
        self.blocks
            .iter_mut()
            .for_each(|(block, _)| block.sort_unstable());
    }

    fn contains(&self, key: &str, etag: &str) -> bool {
        let hash = self.hash(key, etag);
        self.blocks
            .iter()
            .any(|(block, _)| block.binary_search(&hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn remembers_keys_within_the_budget() {
        let budget = Budget::new(8 << 20);
        let mut copied = Copied::new(&budget);
        for key in 0..10_000 {
            copied.add(&format!("d/{key}"), "\"e\"").await.unwrap();
        }
        assert_eq!(budget.in_use(), (FIRST_BLOCK + BLOCK) as u64 * 8);
        copied.finish();
        assert!((0..10_000).all(|key| copied.contains(&format!("d/{key}"), "\"e\"")));
        assert!(!copied.contains("d/1", "\"f\""));
        assert!(!copied.contains("d/10000", "\"e\""));
        drop(copied);
        assert_eq!(budget.in_use(), 0);
    }
}
