//! The CRC-32 of a whole object on its way to the client.
//!
//! It comes without an extra request: from the answer to a GET of the whole object, or from the
//! HEAD of a SIZE before the download. AWS, MinIO and Ceph send no checksum with a part of an
//! object, so a download of several ranges without a SIZE before it is not compared.
//!
//! The last bytes are held back until the sum agrees: a client that gets damaged bytes gets neither
//! all of them nor a clean end.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::object::error::ObjectError;

/// What is held back, bytes; less of a smaller object.
const HELD_BACK: u64 = 64 * 1024;

/// Compares what passes with the checksum of the object.
#[derive(Debug)]
pub(super) struct WholeCheck {
    expected: u32,
    crc: crc32fast::Hasher,
    /// Bytes of the object that have not come yet.
    missing: u64,
    /// What has come and not been passed on.
    held: VecDeque<Bytes>,
    held_bytes: u64,
}

impl WholeCheck {
    pub(super) fn new(expected: u32, size: u64) -> Self {
        WholeCheck {
            expected,
            crc: crc32fast::Hasher::new(),
            missing: size,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// The next bytes of the object.
    pub(super) fn push(&mut self, chunk: Bytes) {
        self.crc.update(&chunk);
        let length = chunk.len() as u64;
        self.missing = self.missing.saturating_sub(length);
        self.held_bytes += length;
        self.held.push_back(chunk);
    }

    /// Bytes that may be passed on: those before the last [`HELD_BACK`] ones, and the last ones if
    /// the sum agrees. `None` while more have to come, and after the last.
    pub(super) fn pop(&mut self) -> Result<Option<Bytes>, ObjectError> {
        let free = match self.missing {
            0 if self.crc.clone().finalize() != self.expected => return Err(ObjectError::Damaged),
            0 => self.held_bytes,
            missing => (self.held_bytes + missing).saturating_sub(HELD_BACK),
        };
        let Some(first) = self.held.front_mut() else {
            return Ok(None);
        };
        let length = usize::try_from(free).unwrap_or(usize::MAX).min(first.len());
        if length == 0 {
            return Ok(None);
        }
        let passed = first.split_to(length);
        if first.is_empty() {
            self.held.pop_front();
        }
        self.held_bytes -= passed.len() as u64;
        Ok(Some(passed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What passes, and whether it ends well.
    fn passed(expected: u32, size: usize, chunk: usize) -> (u64, bool) {
        let bytes = Bytes::from(vec![7; size]);
        let mut check = WholeCheck::new(expected, size as u64);
        let mut passed = 0;
        for at in (0..size).step_by(chunk) {
            check.push(bytes.slice(at..size.min(at + chunk)));
            loop {
                match check.pop() {
                    Ok(Some(bytes)) => passed += bytes.len() as u64,
                    Ok(None) => break,
                    Err(_) => return (passed, false),
                }
            }
        }
        (passed, true)
    }

    #[test]
    fn the_last_bytes_wait_for_the_sum() {
        for size in [1, 1000, 65_535, 65_536, 65_537, 300_000] {
            let right = crc32fast::hash(&vec![7; size]);
            for chunk in [1, 999, 70_000] {
                assert_eq!(
                    passed(right, size, chunk),
                    (size as u64, true),
                    "{size} {chunk}"
                );
                let before = (size as u64).saturating_sub(HELD_BACK);
                let (bytes, well) = passed(!right, size, chunk);
                assert!(bytes <= before && !well, "{size} {chunk}: {bytes}");
            }
        }
    }
}
