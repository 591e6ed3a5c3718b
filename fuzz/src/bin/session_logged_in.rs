//! A whole session of a user, over a pipe, in front of a store in memory: each line gets exactly one final reply, in
//! order, nothing beside his directories is seen or changed, and nothing is left open.

#![no_main]

use libfuzzer_sys::fuzz_target;
use s3ftpd::fuzzing::LOGIN;

fuzz_target!(|input: &[u8]| s3ftpd_fuzz::converse(LOGIN, input));
