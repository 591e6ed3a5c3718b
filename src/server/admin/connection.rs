//! A connection to the admin port, as its request sees it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::Extension;

use crate::server::admin::permits::PagePermit;

/// The connection of a request, as handlers get it.
pub(super) type OwnConnection = Extension<Arc<AdminConnection>>;

/// A connection, which carries one request.
#[derive(Debug)]
pub(crate) struct AdminConnection {
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Whether the head of its request has come.
    asked: AtomicBool,
    /// That of the page that is being sent.
    permit: Mutex<Option<PagePermit>>,
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

    /// Holds a permit until the answer was sent.
    pub(super) fn hold(&self, permit: PagePermit) {
        *self.permit() = Some(permit);
    }

    fn permit(&self) -> MutexGuard<'_, Option<PagePermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection as long as it is served.
#[derive(Debug)]
pub(crate) struct ServedConnection(pub(crate) Arc<AdminConnection>);

impl Drop for ServedConnection {
    fn drop(&mut self) {
        // The answer was sent, or no client reads it any more.
        drop(self.0.permit().take());
    }
}
