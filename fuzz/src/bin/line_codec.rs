//! The line codec: the same bytes give the same lines however they are cut, each within the limit.

#![no_main]

use bytes::BytesMut;
use ftp_proto::codec::{LineCodec, LineTooLong, MAX_LINE};
use libfuzzer_sys::fuzz_target;
use test_support::in_memory::segments;

const IAC: u8 = 0xff;

type Lines = Vec<Result<Vec<u8>, LineTooLong>>;

fuzz_target!(|input: &[u8]| {
    let bytes = segments(input).concat();
    let whole = decode([&bytes[..]]);
    assert_eq!(decode(segments(input)), whole, "as the input is cut");
    assert_eq!(decode(bytes.chunks(1)), whole, "byte by byte");

    let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
    let too_long = whole.iter().filter(|line| line.is_err()).count();
    assert!(whole.len() - too_long <= ends);
    assert!(too_long <= bytes.len() / MAX_LINE);
    for line in whole.iter().flatten() {
        assert!(line.len() < MAX_LINE && !line.contains(&b'\n'));
    }
    if !bytes.contains(&IAC) && !bytes.contains(&b'\r') {
        assert_eq!(
            whole,
            plain(&bytes),
            "text without Telnet and CR is split at its LFs"
        );
    }
});

/// The lines from bytes that arrive in these pieces.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Lines {
    let mut codec = LineCodec::default();
    let mut buffer = BytesMut::new();
    let mut lines = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(line) = codec.next_line(&mut buffer).transpose() {
            lines.push(line);
        }
        assert!(buffer.is_empty(), "what was looked at is taken");
    }
    lines
}

/// The lines of text that has neither CR nor Telnet sequences.
fn plain(bytes: &[u8]) -> Lines {
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = line.strip_suffix(b"\n");
        match end {
            Some(text) if text.len() < MAX_LINE => lines.push(Ok(text.to_owned())),
            None if line.len() < MAX_LINE => {}
            _ => lines.push(Err(LineTooLong)),
        }
    }
    lines
}
