//! The replies to commands, counted by a session.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use crate::events::metrics::Metrics;

/// The most counters that a session remembers: one for each kind of command that a client repeats.
const REMEMBERED: usize = 8;

/// Counts the replies of one session. It remembers the counters that it has used last: to find one
/// by its labels costs much more than to count.
#[derive(Debug)]
pub struct CountedReplies {
    metrics: Arc<Metrics>,
    /// The oldest first.
    remembered: Vec<RememberedCounter>,
}

#[derive(Debug)]
struct RememberedCounter {
    verb: &'static str,
    code: u16,
    counter: Counter,
}

impl CountedReplies {
    /// Of a session that begins.
    pub fn new(metrics: Arc<Metrics>) -> CountedReplies {
        CountedReplies {
            metrics,
            remembered: Vec::new(),
        }
    }

    /// Counts the reply to a command. `verb` is in capitals.
    pub fn count(&mut self, verb: &'static str, code: u16) {
        let is_it = |known: &&RememberedCounter| known.code == code && known.verb == verb;
        if let Some(known) = self.remembered.iter().find(is_it) {
            known.counter.inc();
            return;
        }
        let counter = self.metrics.replies(verb, code);
        counter.inc();
        if self.remembered.len() == REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push(RememberedCounter {
            verb,
            code,
            counter,
        });
    }
}
