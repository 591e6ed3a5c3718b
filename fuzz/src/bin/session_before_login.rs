//! A whole session that nobody has logged in to, over a pipe: whatever is sent, each line gets exactly one final reply,
//! in order, until one of them ends the session.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| s3ftpd_fuzz::converse(&[], input));
