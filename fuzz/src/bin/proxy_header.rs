//! PROXY headers: one is read to its last byte and no further, whatever stands behind it and however it comes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3ftpd::proxy::parse;

/// No header that is taken is longer.
const LONGEST: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let Ok(Some((told, length))) = parse(input) else {
        return;
    };
    assert!(length <= input.len().min(LONGEST));
    assert_eq!(parse(&input[..length]), Ok(Some((told, length))));
    for end in 0..length {
        assert_eq!(parse(&input[..end]), Ok(None), "{end} bytes of {length}");
    }
});
