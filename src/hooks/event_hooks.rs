//! [`EventHooks`]: the tasks of all `[events.NAME]` of a server.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hooks::event_hook::EventHook;

/// The tasks that deliver events.
#[derive(Debug, Clone)]
pub struct EventHooks {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl EventHooks {
    /// Starts a task for each hook. All of them end with `end`, or by [`stop`](EventHooks::stop).
    pub fn start(hooks: Vec<EventHook>, end: CancellationToken) -> EventHooks {
        let tasks = TaskTracker::new();
        for hook in hooks {
            tasks.spawn(hook.run(end.clone()));
        }
        tasks.close();
        EventHooks { tasks, end }
    }

    /// Delivers what waits, for a few seconds at most, and ends.
    pub async fn stop(&self) {
        self.end.cancel();
        self.tasks.wait().await;
    }
}
