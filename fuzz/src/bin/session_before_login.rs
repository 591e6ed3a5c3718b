//! A whole session before login, over a pipe: each line gets exactly one final reply, in order,
//! until one of them ends the session.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| s3ftpd_fuzz::converse(&[], input));
