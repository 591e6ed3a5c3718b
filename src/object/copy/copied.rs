//! What a renamed directory has copied: of each key 8 bytes, a keyed hash of its name, ETag and time, in memory of the
//! budget. A directory of ten million keys takes 80 MB and not gigabytes. Empty files all have one ETag: of those a hash
//! of the transfer that wrote them is added.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use jiff::Timestamp;

use crate::memory::{Budget, Grant};
use crate::object::list::Key;
use crate::object::settle::TRANSFER_KEY;
use crate::object::{ObjectError, ObjectInfo};

/// Keys of the first block: 32 KiB.
const FIRST_BLOCK: usize = 4096;

/// Keys of each further block: 1 MiB.
const BLOCK: usize = 128 * 1024;

/// Memory for the next block is waited for so long.
const MEMORY_WAIT: Duration = Duration::from_secs(30);

/// Which keys were copied.
pub(super) struct Copied {
    budget: Budget,
    hasher: RandomState,
    blocks: Vec<(Vec<u64>, Grant)>,
    /// How many.
    pub count: u64,
    /// Whether the directory's own marker is among them.
    pub marker: bool,
}

impl Copied {
    /// None yet.
    pub(super) fn new(budget: &Budget) -> Self {
        Copied {
            budget: budget.clone(),
            hasher: RandomState::new(),
            blocks: Vec::new(),
            count: 0,
            marker: false,
        }
    }

    /// Another one, as a HEAD showed it; its memory is waited for.
    pub(super) async fn add(&mut self, key: &str, info: &ObjectInfo) -> Result<(), ObjectError> {
        self.count += 1;
        self.push(self.version(key, &info.etag, info.modified))
            .await?;
        match self.transfer(key, info) {
            Some(transfer) => self.push(transfer).await,
            None => Ok(()),
        }
    }

    async fn push(&mut self, hash: u64) -> Result<(), ObjectError> {
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

    /// Not every store quotes ETags in listings as in headers; times have fractions in listings alone.
    fn version(&self, key: &str, etag: &str, modified: Timestamp) -> u64 {
        let version = (key, etag.trim_matches('"'), modified.as_second());
        self.hasher.hash_one(version)
    }

    /// Of an empty file.
    fn transfer(&self, key: &str, info: &ObjectInfo) -> Option<u64> {
        let transfer = info.attributes.metadata.get(TRANSFER_KEY)?;
        (info.size == 0).then(|| self.hasher.hash_one((key, transfer)))
    }

    /// Before the first question.
    pub(super) fn finish(&mut self) {
        self.blocks
            .iter_mut()
            .for_each(|(block, _)| block.sort_unstable());
    }

    /// Whether a key was copied as the version that is listed.
    pub(super) fn contains_listed(&self, key: &Key) -> bool {
        self.contains(self.version(&key.key, &key.etag, key.modified))
    }

    /// Whether a key was copied as the version that a HEAD shows.
    pub(super) fn contains_version(&self, key: &str, info: &ObjectInfo) -> bool {
        self.contains(self.version(key, &info.etag, info.modified))
            && self
                .transfer(key, info)
                .is_none_or(|transfer| self.contains(transfer))
    }

    fn contains(&self, hash: u64) -> bool {
        self.blocks
            .iter()
            .any(|(block, _)| block.binary_search(&hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::object::Attributes;

    fn info(etag: &str, size: u64, second: i64, transfer: Option<&str>) -> ObjectInfo {
        let mut attributes = Attributes::default();
        if let Some(transfer) = transfer {
            let metadata = &mut attributes.metadata;
            metadata.insert(TRANSFER_KEY.to_owned(), transfer.to_owned());
        }
        ObjectInfo {
            size,
            etag: etag.to_owned(),
            modified: Timestamp::from_second(second).unwrap(),
            attributes,
        }
    }

    #[tokio::test]
    async fn remembers_keys_within_the_budget() {
        let budget = Budget::new(8 << 20);
        let mut copied = Copied::new(&budget);
        let seen = info("\"e\"", 1, 7, Some("t"));
        for key in 0..10_000 {
            copied.add(&format!("d/{key}"), &seen).await.unwrap();
        }
        assert_eq!(budget.in_use(), (FIRST_BLOCK + BLOCK) as u64 * 8);
        copied.finish();
        assert!((0..10_000).all(|key| copied.contains_version(&format!("d/{key}"), &seen)));
        assert!(!copied.contains_version("d/1", &info("\"f\"", 1, 7, None)));
        assert!(!copied.contains_version("d/1", &info("\"e\"", 1, 8, None)));
        assert!(!copied.contains_version("d/10000", &seen));
        let listed = |etag: &str, modified: &str| Key {
            key: "d/1".to_owned(),
            size: 1,
            modified: modified.parse().unwrap(),
            etag: etag.to_owned(),
        };
        assert!(copied.contains_listed(&listed("e", "1970-01-01T00:00:07.9Z")));
        assert!(!copied.contains_listed(&listed("e", "1970-01-01T00:00:08Z")));
        drop(copied);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn empty_files_differ_by_who_wrote_them() {
        let mut copied = Copied::new(&Budget::new(8 << 20));
        copied
            .add("d/a", &info("e", 0, 7, Some("one")))
            .await
            .unwrap();
        copied.add("d/b", &info("e", 0, 7, None)).await.unwrap();
        copied.finish();
        assert_eq!(copied.count, 2);
        assert!(copied.contains_version("d/a", &info("e", 0, 7, Some("one"))));
        assert!(!copied.contains_version("d/a", &info("e", 0, 7, Some("two"))));
        assert!(copied.contains_version("d/b", &info("e", 0, 7, None)));
        assert!(!copied.contains_version("d/b", &info("e", 0, 7, Some("two"))));
    }
}
