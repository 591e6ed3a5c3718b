//! A bounded table of leaky buckets.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

/// Buckets by key; an empty one is not in it.
#[derive(Debug)]
pub(crate) struct BucketTable {
    size: usize,
    /// A full bucket is empty after this time, which is also how long a ban lasts.
    full: Duration,
    /// One failure leaks out in this time.
    leak: Duration,
    /// Whether a full bucket is a ban.
    bans: bool,
    buckets: HashMap<u64, Bucket>,
    /// The keys of `buckets` by the time at which they will be empty: expired ones first, then
    /// those that are worth least.
    by_end: BTreeSet<(Instant, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// When it will be empty.
    end: Instant,
    banned: bool,
}

/// The counts after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailureCount {
    /// Failures that are not forgotten yet, this one included.
    pub(crate) level: u32,
    /// Banned, by this failure or before.
    pub(crate) banned: bool,
    /// By this failure.
    pub(crate) newly_banned: bool,
}

impl BucketTable {
    /// Holds at most `size` buckets, each full after `failures` failures in a row and empty again
    /// after `full`.
    pub(crate) fn new(size: usize, full: Duration, failures: u32, bans: bool) -> Self {
        BucketTable {
            size,
            full,
            leak: full / failures.max(1),
            bans,
            buckets: HashMap::new(),
            by_end: BTreeSet::new(),
        }
    }

    /// Counts a failure. It neither prolongs nor shortens a ban.
    pub(crate) fn add(&mut self, key: u64, now: Instant) -> FailureCount {
        self.expire(now);
        let bucket = self.buckets.get(&key).copied();
        if bucket.is_some_and(|bucket| bucket.banned) {
            return FailureCount {
                level: u32::MAX,
                banned: true,
                newly_banned: false,
            };
        }
        let before = bucket.map_or(Duration::ZERO, |bucket| bucket.end.duration_since(now));
        let after = (before + self.leak).min(self.full);
        // Durations are whole nanoseconds: the remainder of a division must not make a ban need one
        // more failure.
        let level = after.as_nanos().div_ceil(self.leak.as_nanos().max(1));
        let banned = self.bans && after + self.leak / 2 > self.full;
        let end = now + if banned { self.full } else { after };
        self.put(key, Bucket { end, banned });
        FailureCount {
            level: u32::try_from(level).unwrap_or(u32::MAX),
            banned,
            newly_banned: banned,
        }
    }

    /// Whether it is banned.
    pub(crate) fn is_banned(&mut self, key: u64, now: Instant) -> bool {
        self.expire(now);
        self.buckets.get(&key).is_some_and(|bucket| bucket.banned)
    }

    /// The number of bans.
    pub(super) fn banned(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.buckets.values().filter(|bucket| bucket.banned).count()
    }

    /// Empties a bucket, unless it is a ban.
    pub(super) fn forget(&mut self, key: u64) {
        if let Some(bucket) = self.buckets.get(&key)
            && !bucket.banned
        {
            self.by_end.remove(&(bucket.end, key));
            self.buckets.remove(&key);
        }
    }

    /// Empties a bucket, also one that is a ban.
    pub(super) fn lift(&mut self, key: u64) {
        if let Some(bucket) = self.buckets.remove(&key) {
            self.by_end.remove(&(bucket.end, key));
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.buckets.len(), self.by_end.len());
        self.buckets.len()
    }

    fn put(&mut self, key: u64, bucket: Bucket) {
        match self.buckets.insert(key, bucket) {
            Some(old) => {
                self.by_end.remove(&(old.end, key));
            }
            // The new entry is never the one to go: else a client that keeps trying would never be
            // counted.
            None if self.buckets.len() > self.size => {
                if let Some((_, least)) = self.by_end.pop_first() {
                    self.buckets.remove(&least);
                }
            }
            None => {}
        }
        self.by_end.insert((bucket.end, key));
    }

    fn expire(&mut self, now: Instant) {
        while let Some(&(end, key)) = self.by_end.first()
            && end <= now
        {
            self.by_end.pop_first();
            self.buckets.remove(&key);
        }
        if self.buckets.is_empty() {
            // Gives back what an attack has allocated.
            self.buckets = HashMap::new();
        }
    }
}
