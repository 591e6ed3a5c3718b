//! What the tests of s3ftpd share.
//!
//! - [`gateway`]: a server in the test process, in front of a [`store`] of its own;
//!   [`process`]: the binary in front of such a store; [`launcher`]: the binary alone.
//! - [`events`]: the events of a server, and the wait for one.
//! - [`ftp`] and [`tls`]: a client that sends exactly the bytes that a test names.
//! - [`faults`]: requests to the store that fail on cue.
//! - [`in_memory`]: sessions over pipes, for the fuzz targets and the property tests.
//! - [`transfers`]: uploads in progress and interrupted ones, and the proof that nothing is left.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panics"
)]

pub mod events;
pub mod ftp;
pub mod gateway;
pub mod in_memory;
pub mod launcher;
pub mod process;
pub mod receiver;
pub mod settings;
pub mod slow_line;
pub mod store;
pub mod tls;
pub mod transfers;

use std::future::Future;
use std::time::Duration;

pub use s3_embedded::faults;

/// The longest time that a test waits for an event. Only a failing test waits as long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A mebibyte, bytes.
pub const MIB: usize = 1024 * 1024;

/// Waits for an event; panics with its name if it does not come in time.
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
