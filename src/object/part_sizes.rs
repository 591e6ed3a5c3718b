//! How large each part of an upload is.

use crate::object::multipart::{CopyRange, SMALLEST_PART, copy_ranges, equal_ranges};

/// S3's most parts of a multipart upload.
pub(crate) const MAX_PARTS: u32 = 10_000;

/// S3's largest object, bytes: 5 TiB. AWS has raised its own limit since; the stores that follow it have not.
const LARGEST_OBJECT: u64 = 5 << 40;

/// S3's largest part, bytes.
const LARGEST_PART: u64 = 5 << 30;

/// Part sizes double after each so many parts.
const STEP: u32 = 1000;

/// Part sizes by part number: the configured size at first, doubled each 1,000 parts, up to what the memory budget and
/// S3 allow. Small uploads need little memory, and 10,000 parts still make a large object. A store that wants equal parts
/// has one size for all.
#[derive(Debug, Clone)]
pub(crate) struct PartSizes {
    first: u64,
    largest: u64,
    equal: bool,
}

impl PartSizes {
    /// From the configured part size and the largest part the budget allows, bytes.
    pub(crate) fn new(part_size: u64, largest: u64) -> Self {
        // A budget too small for S3's smallest part is refused by the configuration; the least that works all the
        // same is a budget of our own.
        let largest = largest.clamp(1, LARGEST_PART);
        PartSizes {
            first: part_size.clamp(1, largest),
            largest,
            equal: false,
        }
    }

    /// For a store that wants equal parts.
    pub(crate) fn equal(part_size: u64, largest: u64) -> Self {
        let first = PartSizes::new(part_size, largest).first;
        PartSizes {
            first,
            largest: first,
            equal: true,
        }
    }

    /// What it was made of.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.first, self.largest)
    }

    /// Size of the part of a number from 1, bytes.
    pub(crate) fn size(&self, number: u32) -> u64 {
        let doublings = number.saturating_sub(1) / STEP;
        self.first
            .checked_shl(doublings.min(40))
            .unwrap_or(self.largest)
            .min(self.largest)
    }

    /// What 10,000 parts hold, or S3's limit, bytes.
    pub(crate) fn largest_object(&self) -> u64 {
        (0..MAX_PARTS / STEP)
            .map(|step| self.size(step * STEP + 1) * u64::from(STEP))
            .sum::<u64>()
            .min(LARGEST_OBJECT)
    }

    /// In which ranges the first `keep` bytes of an object become parts by a copy inside the store; what is left behind
    /// them is read into the next part: all where it can't be a part, and where parts are equal what fills none.
    pub(crate) fn copied(&self, keep: u64) -> Vec<CopyRange> {
        if self.equal {
            equal_ranges(keep - keep % self.first, self.first)
        } else if keep < SMALLEST_PART {
            Vec::new()
        } else {
            copy_ranges(keep)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn doubles_each_thousand_parts_up_to_the_largest() {
        let sizes = PartSizes::new(8 * MIB, 64 * MIB);
        assert_eq!(sizes.size(1), 8 * MIB);
        assert_eq!(sizes.size(1000), 8 * MIB);
        assert_eq!(sizes.size(1001), 16 * MIB);
        assert_eq!(sizes.size(3001), 64 * MIB);
        assert_eq!(sizes.size(10_000), 64 * MIB);
        assert_eq!(sizes.largest_object(), (8 + 16 + 32 + 7 * 64) * 1000 * MIB);
    }

    #[test]
    fn equal_parts_have_one_size() {
        let sizes = PartSizes::equal(8 * MIB, 64 * MIB);
        for number in [1, 1000, 1001, 10_000] {
            assert_eq!(sizes.size(number), 8 * MIB);
        }
        assert_eq!(sizes.largest_object(), 10_000 * 8 * MIB);
        // What was begun goes on by what its record tells.
        let (first, largest) = sizes.sizes();
        assert_eq!(PartSizes::new(first, largest).size(10_000), 8 * MIB);
        for (keep, parts) in [(0, 0), (8 * MIB - 1, 0), (8 * MIB, 1), (41 * MIB, 5)] {
            let copied = sizes.copied(keep);
            assert_eq!(copied.len(), parts, "{keep}");
            for (number, range) in (0..).zip(copied) {
                assert_eq!((range.first, range.size), (number * 8 * MIB, 8 * MIB));
            }
        }
        assert_eq!(
            PartSizes::equal(8 * MIB, 2 * MIB).sizes(),
            (2 * MIB, 2 * MIB)
        );
    }

    #[test]
    fn keeps_within_s3s_limits() {
        let sizes = PartSizes::new(1024 * MIB, u64::MAX);
        assert_eq!(sizes.size(10_000), 5 << 30);
        assert_eq!(sizes.largest_object(), 5 << 40);
        assert_eq!(PartSizes::new(8 * MIB, 2 * MIB).size(1), 2 * MIB);
    }
}
