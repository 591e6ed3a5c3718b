//! [`Recorder`]: keeps the events of a server, and waits for one.

use std::sync::{Arc, Mutex};

use s3ftpd::events::{Event, EventSink, Kind};
use tokio::sync::Notify;

use crate::within;

/// The events of a server, in their order.
#[derive(Debug, Default)]
pub struct Recorder {
    events: Mutex<Vec<Arc<Event>>>,
    came: Notify,
}

impl EventSink for Recorder {
    fn take(&self, event: &Arc<Event>) {
        self.events.lock().unwrap().push(Arc::clone(event));
        self.came.notify_waiters();
    }
}

impl Recorder {
    /// All events so far.
    pub fn all(&self) -> Vec<Arc<Event>> {
        self.events.lock().unwrap().clone()
    }

    /// The events of this kind so far.
    pub fn of(&self, kind: Kind) -> Vec<Arc<Event>> {
        let mut events = self.all();
        events.retain(|event| event.kind == kind);
        events
    }

    /// Takes the events so far away, so that a later look sees only what comes after.
    pub fn drain(&self) -> Vec<Arc<Event>> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    /// Waits for the first event that fits, also among those that have come.
    pub async fn wait(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Arc<Event> {
        let found = async {
            loop {
                let came = self.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                let found = self.all().into_iter().find(|event| fits(event));
                if let Some(event) = found {
                    return event;
                }
                came.await;
            }
        };
        within(what, found).await
    }

    /// Waits for the first event of this kind.
    pub async fn wait_for(&self, kind: Kind) -> Arc<Event> {
        self.wait(kind.name(), |event| event.kind == kind).await
    }
}
