//! The one budget of memory all transfers share (see the room's specification in docs).

use std::sync::Arc;
use std::time::Duration;

/// The process's budget. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {}

/// Leave to run one transfer: holds its first chunk. Taken before the 150.
#[derive(Debug)]
pub struct Admission {}

/// So many bytes of the budget; given back on drop.
#[derive(Debug)]
pub struct Grant {}

/// The budget is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory free within the time")]
pub struct Exhausted;

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let _ = bytes;
        todo!()
    }
    /// Its size, bytes.
    pub fn total(&self) -> u64 {
        todo!()
    }
    /// Bytes held now; 0 when nothing runs.
    pub fn in_use(&self) -> u64 {
        todo!()
    }
    /// Whether somebody waits for memory: a stalled holder is then cut sooner.
    pub fn contended(&self) -> bool {
        todo!()
    }
    /// Leave to start a transfer, first come first served, within `wait`.
    pub async fn admit(&self, wait: Duration) -> Result<Admission, Exhausted> {
        let _ = wait;
        todo!()
    }
    /// So many bytes for something that is no transfer (password hashing), within `wait`.
    pub async fn grant(&self, bytes: u64, wait: Duration) -> Result<Grant, Exhausted> {
        let _ = (bytes, wait, &self.inner);
        todo!()
    }
}
