//! In which ranges an object is copied.

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

/// Cuts the first `size` bytes of an object into ranges for UploadPartCopy: each of a size between 5 MiB and 5 GiB
/// where the whole is at least 5 MiB, as equal as can be, some eight of them where that is possible, at most 5,000.
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

/// The same for a store that wants equal parts: all of one size but the last, which has what is left.
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

    const MIB: u64 = 1024 * 1024;
    const GIB: u64 = 1024 * MIB;

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
