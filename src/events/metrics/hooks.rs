//! The calls of hooks: how many, how they ended, and the events that were lost.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::events::metrics::labels::{HookCallLabels, HookLabels};

/// The metrics of all hooks.
#[derive(Debug, Default)]
pub(super) struct HookMetrics {
    calls: Family<HookCallLabels, Counter>,
    lost: Family<HookLabels, Counter>,
}

/// Counts the calls of one hook.
#[derive(Debug, Clone)]
pub struct HookCalls {
    hook: Arc<str>,
    metrics: Arc<HookMetrics>,
}

/// A call that is counted when it is dropped.
#[derive(Debug)]
pub struct CountedCall<'a> {
    calls: &'a HookCalls,
    result: CallResult,
}

/// How a call of a hook has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// The upload may be published, or the event was taken.
    Ok,
    /// The upload may not be published, or the URL refuses the event for good.
    Refused,
    /// Another answer, or one that could not be read.
    Error,
    /// No answer came in time.
    Timeout,
    /// There was no connection, or it broke.
    Unreachable,
    /// The server has given it up: its client has left, or the server stops.
    Cancelled,
}

impl CallResult {
    /// All values, in the order of the documentation.
    pub const ALL: [CallResult; 6] = [
        CallResult::Ok,
        CallResult::Refused,
        CallResult::Error,
        CallResult::Timeout,
        CallResult::Unreachable,
        CallResult::Cancelled,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            CallResult::Ok => "ok",
            CallResult::Refused => "refused",
            CallResult::Error => "error",
            CallResult::Timeout => "timeout",
            CallResult::Unreachable => "unreachable",
            CallResult::Cancelled => "cancelled",
        }
    }
}

impl HookMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "hook_calls",
            "Calls of hooks, by how they ended",
            self.calls.clone(),
        );
        registry.register(
            "hook_events_lost",
            "Events that were not delivered to their hook",
            self.lost.clone(),
        );
    }
}

impl HookCalls {
    /// Begins each result at 0. `hook` is a section of the configuration.
    pub(super) fn new(hook: &str, metrics: &Arc<HookMetrics>) -> HookCalls {
        let calls = HookCalls {
            hook: hook.into(),
            metrics: Arc::clone(metrics),
        };
        for result in CallResult::ALL {
            calls.count(result, 0);
        }
        calls
    }

    /// A call begins.
    pub fn begin(&self) -> CountedCall<'_> {
        CountedCall {
            calls: self,
            result: CallResult::Cancelled,
        }
    }

    /// Counts events that were lost.
    pub fn lost(&self, events: u64) {
        let hook = Arc::clone(&self.hook);
        let lost = self.metrics.lost.get_or_create(&HookLabels { hook });
        lost.inc_by(events);
    }

    fn count(&self, result: CallResult, calls: u64) {
        let labels = HookCallLabels {
            hook: Arc::clone(&self.hook),
            result: result.name(),
        };
        self.metrics.calls.get_or_create(&labels).inc_by(calls);
    }
}

impl CountedCall<'_> {
    /// It has ended.
    pub fn ended(mut self, result: CallResult) {
        self.result = result;
    }
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        self.calls.count(self.result, 1);
    }
}
