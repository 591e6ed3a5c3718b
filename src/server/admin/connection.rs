//! A connection to the admin port, as its request sees it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Extension;
use tokio::sync::OwnedSemaphorePermit;

/// The connection of a request, as handlers get it.
pub(super) type OwnConnection = Extension<Arc<AdminConnection>>;

/// A connection, which carries one request.
#[derive(Debug)]
pub(crate) struct AdminConnection {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Whether the head of its request has come.
    asked: AtomicBool,
    /// Given back with the connection, when the answer was sent.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl AdminConnection {
    pub(crate) fn new(peer: SocketAddr) -> AdminConnection {
        AdminConnection {
            peer,
            asked: AtomicBool::new(false),
            permit: Mutex::default(),
        }
    }

    /// The head of the request has come.
    pub(crate) fn note_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether it has not come.
    pub(crate) fn is_silent(&self) -> bool {
        !self.asked.load(Ordering::Relaxed)
    }

    /// Holds a permit as long as the connection exists.
    pub(super) fn hold(&self, permit: OwnedSemaphorePermit) {
        let mut held = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Some(permit);
    }
}
