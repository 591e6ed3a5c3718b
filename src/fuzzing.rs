//! What the fuzz targets and the property tests of the session need: a gateway whose store and control connections are
//! in memory, and a strict reader of what it answers. Built for tests and with the feature `fuzzing` only.
//!
//! ```text
//! input ─ segments ─▶ Gateway::converse ──▶ session ──▶ SDK ──▶ S3 service, in this process
//!                           │
//!                           └─▶ bytes of the replies ──▶ conversation::check(input, replies)
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool of tests, which fail by panics"
)]

mod conversation;
mod gateway;
mod replies;
mod store;

pub use conversation::{LOGIN_ATTEMPTS, check};
pub use gateway::{CANARY, Gateway, LOGIN};
pub use replies::Reply;

/// Where an input is cut into the pieces that arrive one after the other: a byte that no command needs.
pub const CUT: u8 = 0x1f;

/// The pieces of an input, [`CUT`]s taken out.
pub fn segments(input: &[u8]) -> Vec<&[u8]> {
    input.split(|byte| *byte == CUT).collect()
}

#[cfg(test)]
mod tests;
