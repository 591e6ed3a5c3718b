//! What a renamed directory has copied: of each key 8 bytes, a keyed hash of its name and ETag, in memory of the budget. A
//! directory of ten million keys takes 80 MB and not gigabytes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::memory::{Budget, Grant};
use crate::object::ObjectError;

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

    /// Another one; its memory is waited for.
    pub(super) async fn add(&mut self, key: &str, etag: &str) -> Result<(), ObjectError> {
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
    pub(super) fn finish(&mut self) {
        self.blocks
            .iter_mut()
            .for_each(|(block, _)| block.sort_unstable());
    }

    /// Whether this key was copied when it had this ETag.
    pub(super) fn contains(&self, key: &str, etag: &str) -> bool {
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
