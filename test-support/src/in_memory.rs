//! Sessions without a network, for the fuzz targets and the property tests: a gateway whose store
//! and control connections are in memory, and a strict parser of its replies.
//!
//! ```text
//! input ─ segments ─▶ InMemoryGateway::converse ──▶ session ──▶ SDK ──▶ S3 service, in process
//!                           │
//!                           └─▶ bytes of the replies ──▶ conversation::check(input, replies)
//! ```

mod conversation;
mod gateway;
mod replies;
mod store;

pub use conversation::{LOGIN_ATTEMPTS, check};
pub use gateway::{CANARY, InMemoryGateway, LOGIN};
pub use replies::StrictReply;
pub use store::{ACCESS_KEY, client};

/// The byte at which an input is cut into pieces that arrive one after the other; no command needs
/// it.
pub const CUT: u8 = 0x1f;

/// The pieces of an input, without the [`CUT`]s.
pub fn segments(input: &[u8]) -> Vec<&[u8]> {
    input.split(|byte| *byte == CUT).collect()
}

#[cfg(test)]
mod tests;
