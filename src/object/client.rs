//! [`Store`]: one configured S3 endpoint, its client and what it can do.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ObjectError;
use crate::config::{StoreConfig, TransferConfig};
use crate::memory::Budget;

/// What every store shares.
#[derive(Debug, Clone)]
pub struct StoreContext {
    /// The memory budget.
    pub budget: Budget,
    /// Owner of clean-up tasks that outlive a transfer (AbortMultipartUpload); waited for at shutdown.
    pub cleanups: TaskTracker,
    /// Parts, ranges and parallelism.
    pub transfer: TransferConfig,
}

/// One configured S3 endpoint.
#[derive(Debug)]
pub struct Store {}

/// A bucket and key in a store (a directory's key ends in `/`, or is empty).
#[derive(Debug, Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<Store>,
    /// The bucket.
    pub bucket: Arc<str>,
    /// The key.
    pub key: String,
}

impl Store {
    /// Builds the client; makes no request. Fails where credentials or endpoint can't be made sense of.
    pub async fn new(config: &StoreConfig, context: StoreContext) -> Result<Arc<Store>, ObjectError> {
        let _ = (config, context);
        todo!()
    }
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// The largest object an upload here can become, bytes.
    pub fn largest_object(&self) -> u64 {
        todo!()
    }
    /// What it shares with the other stores.
    pub fn context(&self) -> &StoreContext {
        todo!()
    }
}
