//! What happened, as one typed stream: log lines, metrics, the transfer log, the status page and
//! hooks are made from it.
//!
//! ```text
//! session, auth, data, tls, server ── Event ──▶ Events ──┬─▶ log lines     (log)
//!                                                        ├─▶ transfer log  (xferlog)
//!                                                        └─▶ metrics, status page, hooks
//! ```
//!
//! The room is below all others that send events, so an [`Event`] holds texts and numbers, not
//! their types. A sink takes an event at once and never waits: an event must not delay a reply.

#[cfg(test)]
mod documented;
mod event;
pub mod filter;
mod footprint;
pub mod log;
pub mod metrics;
pub mod options;
pub mod xferlog;

use std::fmt;
use std::sync::Arc;

pub use event::{
    Cause, Class, Direction, Event, FieldValue, Kind, Level, Representation, SessionFacts, Totals,
};

/// Takes events.
///
/// [`take`](EventSink::take) is called by the task to which the event happened. It must return at
/// once: a sink that does more hands the event to a task of its own, through a bounded queue.
pub trait EventSink: fmt::Debug + Send + Sync {
    /// Takes one event.
    fn take(&self, event: &Arc<Event>);
}

/// The stream of events of a server: each event goes to all sinks, in their order.
#[derive(Debug, Clone)]
pub struct Events(Arc<[Arc<dyn EventSink>]>);

impl Events {
    /// A stream to these sinks.
    pub fn new(sinks: Vec<Arc<dyn EventSink>>) -> Events {
        Events(sinks.into())
    }

    /// A stream that nothing reads.
    pub fn none() -> Events {
        Events::new(Vec::new())
    }

    /// Sends an event to all sinks.
    pub fn send(&self, event: Event) {
        if !self.0.is_empty() {
            let event = Arc::new(event);
            for sink in &*self.0 {
                sink.take(&event);
            }
        }
    }
}

impl Default for Events {
    fn default() -> Events {
        Events::none()
    }
}
