//! What the tests share: a store that fails on cue, a gateway in front of it, a raw FTP client, test data.

// Each test file uses some of it.
#![allow(dead_code)]

pub mod faults;
pub mod ftp;
pub mod gateway;
pub mod operation;
pub mod process;
pub mod slow_line;
pub mod store;
pub mod tls;
pub mod transfers;

use std::future::Future;
use std::time::Duration;

/// How long a test waits for something that must happen. Only a failing test ever waits so long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for an event; panics, naming it, if it does not come in time.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("waited {DEADLINE:?} in vain: {what}"),
    }
}

/// Bytes that look random, fast and the same for the same seed (xorshift64*).
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A mebibyte, bytes.
pub const MIB: usize = 1024 * 1024;
