//! Reply → bytes: a client reads exactly one reply, whatever its lines are. The first byte of the
//! input selects the code. The lines are separated by NUL, so that they can have line ends.

#![no_main]

use ftp_proto::Reply;
use libfuzzer_sys::fuzz_target;
use test_support::in_memory::StrictReply as Read;

const CODES: [u16; 8] = [150, 200, 211, 226, 230, 331, 550, 599];

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else {
        return;
    };
    let code = CODES[usize::from(*first) % CODES.len()];
    let text = String::from_utf8_lossy(rest);
    let lines: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let bytes = Reply::lines(code, lines.clone()).to_bytes();

    let (read, left) = Read::parse(&bytes).expect("a reply").expect("a whole one");
    assert_eq!((read.code, left.len()), (code, 0));
    assert_eq!(read.lines.len(), lines.len());
    for (read, line) in read.lines.iter().zip(&lines) {
        assert_eq!(*read, line.replace(char::is_control, "?"));
    }
    // The client reads the next reply correctly.
    let next = Reply::new(200, "OK").to_bytes();
    let both = [&bytes[..], &next].concat();
    let (_, left) = Read::parse(&both).expect("a reply").expect("a whole one");
    assert_eq!(left, next);

    let quoted = Reply::quote_path(&text);
    let inner = quoted
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let inner = inner.expect("quoted").replace("\"\"", "\0quote\0");
    assert!(!inner.contains('"'));
});
