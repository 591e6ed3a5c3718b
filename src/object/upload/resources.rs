//! [`Resources`]: what an upload uses of its process.

use tokio_util::task::TaskTracker;

use crate::memory::Budget;
use crate::object::location::Location;

/// What an upload uses of this process.
#[derive(Debug)]
pub(super) struct Resources {
    /// Where the memory of its parts comes from.
    pub(super) budget: Budget,
    /// Owner of its clean-up, which outlives it.
    pub(super) cleanups: TaskTracker,
    /// The number of parts that are sent in parallel; at least 1.
    pub(super) parallel: usize,
}

impl Resources {
    pub(super) fn of(location: &Location) -> Self {
        let context = location.store.context();
        Resources {
            budget: context.budget.clone(),
            cleanups: context.cleanups.clone(),
            parallel: location.upload_parallel(),
        }
    }
}
