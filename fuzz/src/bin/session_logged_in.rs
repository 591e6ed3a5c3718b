//! A whole session of a user, over a pipe, with a store in memory: each line gets exactly one final
//! reply, in order, only the user's directories are shown or changed, and nothing stays open.

#![no_main]

use libfuzzer_sys::fuzz_target;
use test_support::in_memory::LOGIN;

fuzz_target!(|input: &[u8]| s3ftpd_fuzz::converse(LOGIN, input));
