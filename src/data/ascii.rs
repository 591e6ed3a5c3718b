//! TYPE A on a converting mount: CRLF on the wire ↔ LF in the object.
//!
//! Both filters take a stream in pieces of any size and give the same bytes however it is cut:
//! their state is the one bit that matters at a cut (was the last byte a CR?). A chunk with nothing
//! to convert is passed on unchanged, without a copy.

use bytes::{BufMut, Bytes, BytesMut};

const CR: u8 = b'\r';
const LF: u8 = b'\n';

/// Wire → object: CRLF becomes LF, a lone CR or LF stays, however the bytes are cut.
#[derive(Debug, Default)]
pub struct FromWire {
    /// The last chunk ended in a CR that has not been passed on yet.
    held_cr: bool,
}

impl FromWire {
    /// The converted bytes. A CR at the very end is held back until the next call.
    ///
    /// The result is at most one byte longer than `chunk` (a CR that was held back).
    pub fn convert(&mut self, chunk: Bytes) -> Bytes {
        if chunk.is_empty() {
            return chunk;
        }
        let owed_cr = std::mem::take(&mut self.held_cr) && chunk[0] != LF;
        let mut body = chunk;
        if body.ends_with(&[CR]) {
            self.held_cr = true;
            body.truncate(body.len() - 1);
        }
        match find_crlf(&body, 0) {
            None if !owed_cr => body,
            first => {
                let mut out = BytesMut::with_capacity(body.len() + usize::from(owed_cr));
                if owed_cr {
                    out.put_u8(CR);
                }
                drop_crs(&body, first, &mut out);
                out.freeze()
            }
        }
    }

    /// The CR held back at the end of the stream, if any.
    pub fn finish(&mut self) -> Bytes {
        if std::mem::take(&mut self.held_cr) {
            Bytes::from_static(&[CR])
        } else {
            Bytes::new()
        }
    }
}

/// Object → wire: LF becomes CRLF; CRLF stays as it is, however the bytes are cut.
#[derive(Debug, Default)]
pub struct ToWire {
    /// The last chunk ended in a CR.
    after_cr: bool,
}

impl ToWire {
    /// The converted bytes, at most twice the length of `chunk`.
    pub fn convert(&mut self, chunk: Bytes) -> Bytes {
        let Some(&last) = chunk.last() else {
            return chunk;
        };
        let after_cr = std::mem::replace(&mut self.after_cr, last == CR);
        let bare = bare_lfs(&chunk, after_cr);
        if bare == 0 {
            return chunk;
        }
        let mut out = BytesMut::with_capacity(chunk.len() + bare);
        let mut previous = if after_cr { CR } else { 0 };
        let mut rest = &chunk[..];
        while let Some(at) = find(rest, LF) {
            let (line, tail) = rest.split_at(at);
            out.put_slice(line);
            if line.last().copied().unwrap_or(previous) != CR {
                out.put_u8(CR);
            }
            out.put_u8(LF);
            previous = LF;
            rest = &tail[1..];
        }
        out.put_slice(rest);
        out.freeze()
    }
}

/// Copies `body` to `out` without the CRs of its CRLFs, the first of which is at `first`.
fn drop_crs(body: &[u8], first: Option<usize>, out: &mut BytesMut) {
    let mut copied = 0;
    let mut next = first;
    while let Some(cr) = next {
        out.put_slice(&body[copied..cr]);
        copied = cr + 1;
        next = find_crlf(body, copied);
    }
    out.put_slice(&body[copied..]);
}

/// The position of the next CRLF at or after `start`.
fn find_crlf(bytes: &[u8], start: usize) -> Option<usize> {
    let mut from = start;
    while let Some(at) = find(&bytes[from..], CR) {
        let cr = from + at;
        if bytes.get(cr + 1) == Some(&LF) {
            return Some(cr);
        }
        from = cr + 1;
    }
    None
}

/// LFs without a CR before them.
fn bare_lfs(bytes: &[u8], after_cr: bool) -> usize {
    let first = usize::from(bytes.first() == Some(&LF) && !after_cr);
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    first + pairs.filter(|&(&a, &b)| a != CR && b == LF).count()
}

/// The first position of `wanted`. Checks one block at a time without an early exit: the compiler
/// turns that into vector instructions, unlike a plain `position`.
fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    const BLOCK: usize = 32;
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (index, block) in blocks.iter().enumerate() {
        if block
            .iter()
            .fold(false, |found, &byte| found | (byte == wanted))
        {
            let within = block.iter().position(|&byte| byte == wanted)?;
            return Some(index * BLOCK + within);
        }
    }
    let within = rest.iter().position(|&byte| byte == wanted)?;
    Some(blocks.len() * BLOCK + within)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    /// Converts `pieces` one after the other.
    fn from_wire<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut filter = FromWire::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&filter.convert(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&filter.finish());
        assert!(filter.finish().is_empty());
        out
    }

    fn to_wire<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut filter = ToWire::default();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&filter.convert(Bytes::copy_from_slice(piece)));
        }
        out
    }

    #[test]
    fn crlf_from_the_wire_becomes_lf_and_the_rest_stays() {
        let table: &[(&[&[u8]], &[u8])] = &[
            (&[b""], b""),
            (&[b"a\r\nb\r\n"], b"a\nb\n"),
            (&[b"a\r", b"\nb"], b"a\nb"),
            (&[b"a\r", b"", b"\nb"], b"a\nb"),
            (&[b"a\r", b"b"], b"a\rb"),
            (&[b"a\r", b"\r", b"\n"], b"a\r\n"),
            (&[b"\r\r\n"], b"\r\n"),
            (&[b"\r"], b"\r"),
            (&[b"lone\rcr\nlf"], b"lone\rcr\nlf"),
            (&[b"\n\r"], b"\n\r"),
        ];
        for (pieces, want) in table {
            assert_eq!(
                from_wire(pieces.iter().copied()),
                *want,
                "pieces {pieces:?}"
            );
        }
    }

    #[test]
    fn lf_to_the_wire_becomes_crlf_and_crlf_stays() {
        let table: &[(&[&[u8]], &[u8])] = &[
            (&[b""], b""),
            (&[b"a\nb\n"], b"a\r\nb\r\n"),
            (&[b"a\r\nb\n"], b"a\r\nb\r\n"),
            (&[b"a\r", b"\nb"], b"a\r\nb"),
            (&[b"a\r", b"", b"\nb"], b"a\r\nb"),
            (&[b"\n", b"\n\n"], b"\r\n\r\n\r\n"),
            (&[b"\r", b"b\n"], b"\rb\r\n"),
            (&[b"\r\r\n"], b"\r\r\n"),
        ];
        for (pieces, want) in table {
            assert_eq!(to_wire(pieces.iter().copied()), *want, "pieces {pieces:?}");
        }
    }

    #[test]
    fn nothing_to_convert_is_not_copied() {
        let text = Bytes::from(vec![b'x'; 1000]);
        let same = FromWire::default().convert(text.clone());
        assert_eq!(same.as_ptr(), text.as_ptr());
        let same = ToWire::default().convert(text.clone());
        assert_eq!(same.as_ptr(), text.as_ptr());

        let crlf = Bytes::from(b"line\r\n".repeat(50));
        assert_eq!(
            ToWire::default().convert(crlf.clone()).as_ptr(),
            crlf.as_ptr()
        );

        // A CR at the end is cut off, and its LF taken from the next chunk, also without a copy.
        let mut filter = FromWire::default();
        let ends_in_cr = Bytes::from(b"line\r".to_vec());
        assert_eq!(
            filter.convert(ends_in_cr.clone()).as_ptr(),
            ends_in_cr.as_ptr()
        );
        let begins_with_lf = Bytes::from(b"\nline".to_vec());
        assert_eq!(
            filter.convert(begins_with_lf.clone()).as_ptr(),
            begins_with_lf.as_ptr()
        );
    }

    #[test]
    fn a_byte_is_found_at_each_place_of_a_block() {
        for length in 0..100 {
            assert_eq!(find(&vec![0; length], 1), None);
            for at in 0..length {
                let mut bytes = vec![0; length];
                bytes[at] = 1;
                bytes[length - 1] = 1;
                assert_eq!(find(&bytes, 1), Some(at));
            }
        }
    }

    /// Text in which line ends are frequent.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(CR), Just(LF), Just(b'x'), any::<u8>()];
        proptest::collection::vec(byte, 0..200)
    }

    fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(bytes in text(), cuts in proptest::collection::vec(0usize..200, 0..10)) {
            let cut = pieces(&bytes, &cuts);
            prop_assert_eq!(from_wire(cut.iter().copied()), from_wire([&bytes[..]]));
            prop_assert_eq!(to_wire(cut.iter().copied()), to_wire([&bytes[..]]));
        }

        #[test]
        fn conversion_is_what_a_naive_one_gives(bytes in text()) {
            let latin: String = bytes.iter().map(|&b| char::from(b)).collect();
            let back = |text: String| -> Vec<u8> { text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect() };
            prop_assert_eq!(from_wire([&bytes[..]]), back(latin.replace("\r\n", "\n")));
            // U+0100 is not a Latin-1 character: it stands for the existing CRLFs.
            let marked = latin.replace("\r\n", "\u{100}").replace(['\n', '\u{100}'], "\r\n");
            prop_assert_eq!(to_wire([&bytes[..]]), back(marked));
        }

        #[test]
        fn text_without_cr_comes_back(bytes in text(), cuts in proptest::collection::vec(0usize..400, 0..10)) {
            let plain: Vec<u8> = bytes.into_iter().filter(|&b| b != CR).collect();
            let wire = to_wire([&plain[..]]);
            prop_assert_eq!(from_wire(pieces(&wire, &cuts)), plain);
        }
    }
}
