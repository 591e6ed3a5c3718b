//! [`HookSink`]: the events of one hook that wait to be delivered.
//!
//! The queue is bounded, in events and in bytes, since clients choose the names. A new event that
//! finds it full takes the place of the oldest ones, which are lost, and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::events::{Event, EventSink};
use crate::hooks::options::EventFilter;

/// The most bytes that wait in the queues of all hooks of a server; each hook has an equal share.
const ALL_BYTES: usize = 8 * 1024 * 1024;

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
    most_bytes: usize,
    queue: Mutex<QueuedEvents>,
    /// Notified if an event has come.
    came: Notify,
}

#[derive(Debug, Default)]
struct QueuedEvents {
    events: VecDeque<QueuedEvent>,
    bytes: usize,
    next: u64,
    lost: u64,
}

impl HookSink {
    /// `capacity`: the most events that wait. `hooks`: the number of hooks of the server, this one
    /// included.
    pub(super) fn new(filter: EventFilter, capacity: usize, hooks: usize) -> HookSink {
        HookSink {
            filter,
            capacity: capacity.max(1),
            most_bytes: ALL_BYTES / hooks.max(1),
            queue: Mutex::default(),
            came: Notify::new(),
        }
    }

    /// The oldest event.
    pub(super) fn next(&self) -> Option<QueuedEvent> {
        self.queue().pop()
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

impl QueuedEvents {
    fn push(&mut self, queued: QueuedEvent) {
        self.bytes += queued.memory();
        self.events.push_back(queued);
    }

    fn pop(&mut self) -> Option<QueuedEvent> {
        let oldest = self.events.pop_front()?;
        self.bytes -= oldest.memory();
        Some(oldest)
    }
}

impl QueuedEvent {
    fn memory(&self) -> usize {
        size_of::<QueuedEvent>() + self.event.memory()
    }
}

impl EventSink for HookSink {
    fn take(&self, event: &Arc<Event>) {
        if !self.filter.admits(event) {
            return;
        }
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.push(QueuedEvent {
            number,
            came: Instant::now(),
            event: Arc::clone(event),
        });
        // The newest one stays, however large it is.
        while queue.events.len() > self.capacity
            || (queue.bytes > self.most_bytes && queue.events.len() > 1)
        {
            queue.pop();
            queue.lost += 1;
        }
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
        let sink = HookSink::new(EventFilter::default(), 3, 1);
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
    fn named(bytes: usize) -> Arc<Event> {
        let mut event = Event::new(Kind::Refused, Level::Warn);
        event.path = Some("x".repeat(bytes).into());
        event.reason = event.path.clone();
        Arc::new(event)
    }

    #[test]
    fn long_names_cost_older_events_and_not_memory() {
        for hooks in [1, 4] {
            let sink = HookSink::new(EventFilter::default(), 10_000, hooks);
            for _ in 0..10_000 {
                sink.take(&named(4000));
            }
            let (waiting, bytes) = (sink.waiting(), sink.queue().bytes);
            let share = ALL_BYTES / hooks;
            assert!(bytes <= share && bytes > share * 9 / 10, "{bytes}");
            assert_eq!(sink.take_lost(), 10_000 - waiting as u64);
            // Short ones come in place of fewer long ones.
            for _ in 0..10 {
                sink.take(&named(1));
            }
            assert!(sink.waiting() > waiting, "{waiting}");
            let newest = std::iter::from_fn(|| sink.next()).last();
            assert_eq!(newest.map(|queued| queued.number), Some(10_009));
            assert_eq!((sink.waiting(), sink.queue().bytes), (0, 0));
        }
    }

    #[test]
    fn an_event_that_is_larger_than_the_queue_waits_alone() {
        let sink = HookSink::new(EventFilter::default(), 10, 1);
        sink.take(&named(1));
        sink.take(&named(2 * ALL_BYTES));
        assert_eq!((sink.waiting(), sink.take_lost()), (1, 1));
        sink.take(&named(1));
        assert_eq!((sink.waiting(), sink.take_lost()), (1, 1));
    }
}
