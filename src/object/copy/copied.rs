//! What a renamed directory has copied: of each key 8 bytes, a keyed hash of its name and version,
//! in memory of the budget. A directory of ten million keys takes 80 MB and not gigabytes.
//!
//! Files with equal bytes have equal ETags (trigger files), so the transfer that wrote the version
//! counts, too. Only a HEAD shows that.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::memory::{Budget, Grant};
use crate::object::error::ObjectError;
use crate::object::head::ObjectInfo;
use crate::object::transfer_id::TRANSFER_KEY;

/// Keys of the first block: 32 KiB.
const FIRST_BLOCK: usize = 4096;

/// Keys of each further block: 1 MiB.
const BLOCK: usize = 128 * 1024;

/// The longest wait for the memory of the next block.
const MEMORY_WAIT: Duration = Duration::from_secs(30);

/// Which keys were copied.
pub(super) struct Copied {
    budget: Budget,
    hasher: RandomState,
    blocks: Vec<(Vec<u64>, Grant)>,
    /// The number of names.
    pub count: u64,
    /// Whether the directory's own marker is among them.
    pub marker: bool,
}

impl Copied {
    /// Creates an empty set.
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
        self.push(self.version(key, info)).await
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

    fn version(&self, key: &str, info: &ObjectInfo) -> u64 {
        let transfer = info.attributes.metadata.get(TRANSFER_KEY);
        let version = (key, &info.etag, info.modified.as_second(), transfer);
        self.hasher.hash_one(version)
    }

    /// Before the first question.
    pub(super) fn finish(&mut self) {
        self.blocks
            .iter_mut()
            .for_each(|(block, _)| block.sort_unstable());
    }

    /// Whether a key was copied as the version that a HEAD shows.
    pub(super) fn contains(&self, key: &str, info: &ObjectInfo) -> bool {
        let hash = self.version(key, info);
        self.blocks
            .iter()
            .any(|(block, _)| block.binary_search(&hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use jiff::Timestamp;

    use super::*;
    use crate::object::head::Attributes;

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
        assert!((0..10_000).all(|key| copied.contains(&format!("d/{key}"), &seen)));
        assert!(!copied.contains("d/1", &info("\"f\"", 1, 7, None)));
        assert!(!copied.contains("d/1", &info("\"e\"", 1, 8, None)));
        assert!(!copied.contains("d/10000", &seen));
        drop(copied);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test]
    async fn files_with_equal_bytes_differ_by_who_wrote_them() {
        for size in [0, 1] {
            let mut copied = Copied::new(&Budget::new(8 << 20));
            for (key, by) in [("d/a", Some("one")), ("d/b", None)] {
                copied.add(key, &info("e", size, 7, by)).await.unwrap();
            }
            copied.finish();
            assert_eq!(copied.count, 2);
            assert!(copied.contains("d/a", &info("e", size, 7, Some("one"))));
            assert!(!copied.contains("d/a", &info("e", size, 7, Some("two"))));
            assert!(!copied.contains("d/a", &info("e", size, 7, None)));
            assert!(copied.contains("d/b", &info("e", size, 7, None)));
            assert!(!copied.contains("d/b", &info("e", size, 7, Some("two"))));
        }
    }
}
