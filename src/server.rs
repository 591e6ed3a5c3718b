//! Listeners, accept, limits, drain.

use std::net::SocketAddr;

use crate::config::Config;
use crate::memory::Budget;

/// A running gateway.
#[derive(Debug)]
pub struct Server {}

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address can't be bound.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// A store's client can't be built.
    #[error("store {name}: {reason}")]
    Store {
        /// The store's name in the configuration.
        name: String,
        /// Why.
        reason: String,
    },
}

impl Server {
    /// Binds every listener and begins to accept.
    pub async fn start(config: Config) -> Result<Server, ServerError> {
        let _ = config;
        todo!()
    }
    /// The bound control addresses, in the configuration's order.
    pub fn control_addresses(&self) -> &[SocketAddr] {
        todo!()
    }
    /// The bound address of the health endpoints.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        todo!()
    }
    /// The memory budget: for tests and metrics.
    pub fn budget(&self) -> &Budget {
        todo!()
    }
    /// Sessions open now.
    pub fn sessions(&self) -> usize {
        todo!()
    }
    /// Stops: no new session, idle ones get 421, running transfers end within the grace period and are then cut;
    /// returns when everything has ended, clean-up in the store included.
    pub async fn stop(self) {
        todo!()
    }
}
