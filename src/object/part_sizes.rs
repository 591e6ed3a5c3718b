//! How large each part of an upload is, and in which ranges an object is copied.

/// S3's most parts of a multipart upload.
pub(crate) const MAX_PARTS: u32 = 10_000;

/// S3's largest object, bytes: 5 TiB. AWS has raised its own limit since; the stores that follow it
/// have not.
const LARGEST_OBJECT: u64 = 5 << 40;

/// S3's largest part, bytes.
const LARGEST_PART: u64 = 5 << 30;

/// Part sizes double after this number of parts.
const STEP: u32 = 1000;

/// Part sizes by part number: the configured size at first, doubled each 1,000 parts, up to what
/// the memory budget and S3 allow. Small uploads need little memory, and 10,000 parts still make a
/// large object. A store that wants equal parts has one size for all.
#[derive(Debug, Clone)]
pub(crate) struct PartSizes {
    first: u64,
    largest: u64,
    equal: bool,
}

impl PartSizes {
    /// From the configured part size and the largest part the budget allows, bytes.
    pub(crate) fn new(part_size: u64, largest: u64) -> Self {
        // A budget too small for S3's smallest part is refused by the configuration; the least that
        // works all the same is a budget of our own.
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

    /// In which ranges the first `keep` bytes of an object become parts by a copy inside the store;
    /// what is left after them is read into the next part: all of it if it is too small for a part,
    /// and what fills none if parts are equal.
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

/// S3's smallest part but for the last, bytes.
pub(in crate::object) const SMALLEST_PART: u64 = 5 * 1024 * 1024;

/// Ranges of a copy are at most this large unless there would be too many, bytes.
const COPY_RANGE: u64 = 512 * 1024 * 1024;

/// A range of the source of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) struct CopyRange {
    /// Its first byte.
    pub(in crate::object) first: u64,
    /// Bytes.
    pub(in crate::object) size: u64,
}

/// Cuts the first `size` bytes of an object into ranges for UploadPartCopy: each of a size between
/// 5 MiB and 5 GiB if the whole is at least 5 MiB, as equal as can be, some eight of them if that
/// is possible, at most 5,000.
pub(in crate::object) fn copy_ranges(size: u64) -> Vec<CopyRange> {
    if size == 0 {
        return Vec::new();
    }
    let count = size.div_ceil(wanted(size));
    let (each, longer) = (size / count, size % count);
    let mut first = 0;
    (0..count)
        .map(|index| {
            let size = each + u64::from(index < longer);
            let range = CopyRange { first, size };
            first += size;
            range
        })
        .collect()
}

/// The ranges of a copy for a store that requires equal parts: all of one size except the last,
/// which has the rest.
pub(in crate::object) fn equal_copy_ranges(size: u64) -> Vec<CopyRange> {
    equal_ranges(size, wanted(size))
}

/// Ranges of `each` bytes, the last of what is left.
pub(in crate::object) fn equal_ranges(size: u64, each: u64) -> Vec<CopyRange> {
    (0..size.div_ceil(each))
        .map(|index| {
            let first = index * each;
            let size = each.min(size - first);
            CopyRange { first, size }
        })
        .collect()
}

/// How large a range should be.
fn wanted(size: u64) -> u64 {
    size.div_ceil(8)
        .clamp(2 * SMALLEST_PART, COPY_RANGE)
        .max(size.div_ceil(5000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1024 * MIB;

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
        // A resumed upload has the sizes of its record.
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

    #[test]
    fn copy_ranges_are_legal_and_cover_everything() {
        for size in [
            5 * MIB,
            5 * MIB + 1,
            10 * MIB,
            10 * MIB + 1,
            19 * MIB,
            100 * MIB,
            4 * GIB + 7,
            5 * GIB,
            100 * GIB + 3,
            5 * 1024 * GIB,
        ] {
            let ranges = copy_ranges(size);
            let mut next = 0;
            for range in &ranges {
                assert_eq!(range.first, next);
                assert!(
                    range.size >= 5 * MIB && range.size <= 5 * GIB,
                    "{size}: {range:?}"
                );
                next += range.size;
            }
            assert_eq!(next, size);
            assert!(ranges.len() <= 5000);
            let equal = equal_copy_ranges(size);
            assert_eq!(equal.len(), ranges.len());
            assert_eq!(equal.iter().map(|range| range.size).sum::<u64>(), size);
            for range in &equal {
                assert_eq!(range.first % equal[0].size, 0);
                assert!(range.size <= equal[0].size && range.size <= 5 * GIB);
            }
        }
        assert_eq!(equal_copy_ranges(0), []);
        assert_eq!(copy_ranges(0), []);
        assert_eq!(copy_ranges(3), [CopyRange { first: 0, size: 3 }]);
    }
}
