//! [`HookSink`]: the events of one hook that wait to be delivered.
//!
//! The queue is bounded. A new event that finds it full takes the place of the oldest one, which is
//! lost, and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::events::{Event, EventSink};
use crate::hooks::options::EventFilter;

/// An event, and its number in the queue of its hook.
#[derive(Debug, Clone)]
pub(super) struct QueuedEvent {
    pub(super) number: u64,
    /// When it has come.
    pub(super) came: Instant,
    pub(super) event: Arc<Event>,
}

/// Takes the events of one hook, without waiting.
#[derive(Debug)]
pub(super) struct HookSink {
    filter: EventFilter,
    capacity: usize,
    queue: Mutex<QueuedEvents>,
    /// Notified if an event has come.
    came: Notify,
}

#[derive(Debug, Default)]
struct QueuedEvents {
    events: VecDeque<QueuedEvent>,
    next: u64,
    lost: u64,
}

impl HookSink {
    /// `capacity`: the most events that wait.
    pub(super) fn new(filter: EventFilter, capacity: usize) -> HookSink {
        HookSink {
            filter,
            capacity: capacity.max(1),
            queue: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// The oldest event.
    pub(super) fn next(&self) -> Option<QueuedEvent> {
        self.queue().events.pop_front()
    }

    /// The number of events that wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue().events.len()
    }

    /// The number of events that were lost since the last call.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.queue().lost)
    }

    /// Waits until an event may have come. Cancel safe.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    fn queue(&self) -> MutexGuard<'_, QueuedEvents> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for HookSink {
    fn take(&self, event: &Arc<Event>) {
        if !self.filter.admits(event) {
            return;
        }
        let mut queue = self.queue();
        if queue.events.len() == self.capacity {
            queue.events.pop_front();
            queue.lost += 1;
        }
        let number = queue.next;
        queue.next += 1;
        queue.events.push_back(QueuedEvent {
            number,
            came: Instant::now(),
            event: Arc::clone(event),
        });
        drop(queue);
        self.came.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Kind, Level};

    #[test]
    fn a_full_queue_loses_its_oldest_events_and_counts_them() {
        let sink = HookSink::new(EventFilter::default(), 3);
        for _ in 0..5 {
            sink.take(&Arc::new(Event::new(Kind::Deleted, Level::Info)));
        }
        assert_eq!(
            (sink.waiting(), sink.take_lost(), sink.take_lost()),
            (3, 2, 0)
        );
        let numbers: Vec<u64> = std::iter::from_fn(|| sink.next())
            .map(|numbered| numbered.number)
            .collect();
        assert_eq!(numbers, [2, 3, 4]);
    }
}
