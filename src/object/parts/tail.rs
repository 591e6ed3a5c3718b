//! What a record says of the bytes of an upload that are in no part.

use serde::{Deserialize, Serialize};

/// A tail in a record: bytes of the object that are in no part. Piece 0 is the object `key`, piece
/// i the object `key.i`. An upload that stores pieces while it runs removes those whose bytes have
/// gone into a part, so the first of them may have a higher number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct TailNote {
    /// Its key in the state bucket.
    pub key: String,
    /// The offset of its first byte in the object.
    pub offset: u64,
    /// Bytes in all pieces.
    pub size: u64,
    /// In the order of their bytes; at least one.
    pub pieces: Vec<PieceNote>,
}

/// One object of a tail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct PieceNote {
    /// Its number, which its key has.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// Its ETag.
    pub etag: String,
    /// CRC-32 of its bytes; `None` if it was not computed: a whole file at its staged key, whose
    /// parts have none.
    pub crc32: Option<u32>,
}

/// A whole file at its staged key, as the tail of an upload that has no part.
pub(in crate::object) fn staged_tail(
    key: String,
    size: u64,
    etag: String,
    crc32: Option<u32>,
) -> TailNote {
    let piece = PieceNote {
        number: 0,
        size,
        etag,
        crc32,
    };
    TailNote::new(key, 0, vec![piece])
}

impl TailNote {
    /// A tail of these pieces.
    pub(in crate::object) fn new(key: String, offset: u64, pieces: Vec<PieceNote>) -> TailNote {
        TailNote {
            key,
            offset,
            size: pieces.iter().map(|piece| piece.size).sum(),
            pieces,
        }
    }

    /// The offset in the object at which it ends.
    pub(in crate::object) fn end(&self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// The key of one piece.
    pub(in crate::object) fn piece_key(&self, piece: &PieceNote) -> String {
        match piece.number {
            0 => self.key.clone(),
            number => format!("{}.{number}", self.key),
        }
    }

    /// The keys of all pieces.
    pub(in crate::object) fn keys(&self) -> impl Iterator<Item = String> {
        self.pieces.iter().map(|piece| self.piece_key(piece))
    }

    /// The first pieces only.
    pub(in crate::object) fn truncated(&self, pieces: usize) -> Option<TailNote> {
        let pieces: Vec<PieceNote> = self.pieces.iter().take(pieces).cloned().collect();
        let tail = || TailNote::new(self.key.clone(), self.offset, pieces.clone());
        (!pieces.is_empty()).then(tail)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tail_ends_at_its_first_missing_piece() {
        let piece = |number, size| PieceNote {
            number,
            size,
            etag: String::new(),
            crc32: None,
        };
        let pieces = vec![piece(0, 1), piece(1, 2), piece(5, 3)];
        let tail = TailNote::new("t".to_owned(), 10, pieces);
        assert_eq!((tail.size, tail.end()), (6, 16));
        assert_eq!(tail.truncated(3), Some(tail.clone()));
        assert_eq!(tail.truncated(2).unwrap().end(), 13);
        assert_eq!(tail.truncated(0), None);
        assert_eq!(tail.keys().collect::<Vec<_>>(), ["t", "t.1", "t.5"]);
    }
}
