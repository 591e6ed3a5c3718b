//! PROXY headers: the parser reads one to its last byte and no further, whatever follows and
//! however it is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3ftpd::net::proxy::parse;

/// No accepted header is longer.
const LONGEST: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let Ok(Some((header, length))) = parse(input) else {
        return;
    };
    assert!(length <= input.len().min(LONGEST));
    assert_eq!(parse(&input[..length]), Ok(Some((header, length))));
    for end in 0..length {
        assert_eq!(parse(&input[..end]), Ok(None), "{end} bytes of {length}");
    }
});
