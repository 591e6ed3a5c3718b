//! The part of an upload that is being filled.

use bytes::BytesMut;

use crate::memory::{Admission, Budget};
use crate::object::parts::part::Part;

/// What a part holds before it asks for memory of its own, bytes: the admission covers it, and what
/// is read of an old object at the same time.
const FIRST_CHUNKS: u64 = 96 * 1024;

/// The part being filled.
#[derive(Debug)]
pub(super) struct Filling {
    /// The chunk being filled.
    pub(super) buffer: BytesMut,
    /// The chunks before it.
    pub(super) part: Part,
    /// The part's number.
    pub(super) number: u32,
    /// Bytes in all parts but the chunk being filled, old ones included.
    pub(super) taken: u64,
    /// Covers the first chunk of each part, for as long as the upload lives.
    pub(super) admission: Option<Admission>,
}

impl Filling {
    /// The first part, which has no bytes.
    pub(super) fn new(part: Part, admission: Option<Admission>) -> Self {
        Filling {
            buffer: BytesMut::new(),
            part,
            number: 1,
            taken: 0,
            admission,
        }
    }

    /// Bytes of the object so far, old ones included.
    pub(super) fn size(&self) -> u64 {
        self.taken + self.buffer.len() as u64
    }

    /// Bytes of the part so far.
    pub(super) fn filled(&self) -> u64 {
        self.part.size() + self.buffer.len() as u64
    }

    /// The chunk being filled joins its part.
    pub(super) fn push_buffer(&mut self, budget: &Budget) {
        let buffer = std::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            // Not more than was given: a caller that reads beyond it makes a part larger, and
            // nothing else.
            self.taken += buffer.len() as u64;
            self.part.push(budget.recycle(buffer));
        }
    }

    /// Takes the part out and begins the next, whose CRC-32 is computed if `crc`.
    pub(super) fn next_part(&mut self, crc: bool) -> (u32, Part) {
        let part = std::mem::replace(&mut self.part, Part::new(crc));
        let number = self.number;
        self.number += 1;
        (number, part)
    }

    /// Bytes that may still be read into memory that is there.
    pub(super) fn room(&self) -> u64 {
        self.part
            .granted()
            .max(FIRST_CHUNKS)
            .saturating_sub(self.part.in_memory())
    }
}
