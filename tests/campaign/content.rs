//! The bytes of the files. Each upload has a stream of its own, which can be generated again from
//! any offset, so that any byte that is missing, doubled or mixed is detected.

use std::sync::LazyLock;

/// Bytes that are copied from the noise in one piece.
const PAGE: usize = 4096;
/// Bytes of noise from which all streams are cut.
const NOISE_SIZE: usize = 4 * 1024 * 1024;

/// Pseudo-random numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// True in this percentage of calls.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A piece of one upload's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub tag: u64,
    pub from: u64,
    pub to: u64,
}

/// The content of a file, piece after piece.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content(pub Vec<Segment>);

impl Content {
    /// The first bytes of one stream.
    pub fn new(tag: u64, size: u64) -> Content {
        Content::default().and(tag, size)
    }

    /// The content with the first bytes of another stream after it.
    pub fn and(mut self, tag: u64, size: u64) -> Content {
        if size > 0 {
            self.0.push(Segment {
                tag,
                from: 0,
                to: size,
            });
        }
        self
    }

    /// Its first bytes only.
    pub fn cut(&self, size: u64) -> Content {
        let mut rest = size;
        let mut segments = Vec::new();
        for segment in &self.0 {
            let take = rest.min(segment.to - segment.from);
            if take > 0 {
                segments.push(Segment {
                    to: segment.from + take,
                    ..*segment
                });
            }
            rest -= take;
        }
        Content(segments)
    }

    pub fn size(&self) -> u64 {
        self.0.iter().map(|segment| segment.to - segment.from).sum()
    }

    /// Its bytes from `from` to before `to`.
    pub fn bytes(&self, from: u64, to: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity((to - from) as usize);
        let mut at = 0;
        for segment in &self.0 {
            let length = segment.to - segment.from;
            let (first, last) = (from.max(at), to.min(at + length));
            if first < last {
                fill(
                    segment.tag,
                    segment.from + first - at,
                    (last - first) as usize,
                    &mut out,
                );
            }
            at += length;
        }
        out
    }

    /// Whether these are its bytes from `from` on, as far as they reach.
    pub fn holds(&self, from: u64, bytes: &[u8]) -> bool {
        let to = from + bytes.len() as u64;
        to <= self.size() && self.bytes(from, to) == bytes
    }
}

/// Bytes of a stream from an offset on: for each page a piece of the noise, whose start depends on
/// page and stream.
fn fill(tag: u64, mut offset: u64, mut count: usize, out: &mut Vec<u8>) {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random::new(0x6e_6f69_7365);
        let words = (0..NOISE_SIZE / 8).map(|_| random.next().to_le_bytes());
        words.flatten().collect()
    });
    while count > 0 {
        let (page, skip) = (offset / PAGE as u64, (offset % PAGE as u64) as usize);
        let begin = mix(tag.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ page) as usize;
        let begin = begin % (NOISE_SIZE - PAGE) + skip;
        let take = count.min(PAGE - skip);
        out.extend_from_slice(&NOISE[begin..begin + take]);
        offset += take as u64;
        count -= take;
    }
}
