//! [`Selection`]: what the log shows.

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Filter};

use crate::events::filter::LogFilter;

/// Events that a filter has, and no spans: those are for traces, and do not change the log.
#[derive(Debug)]
pub(super) struct Selection(Targets);

impl Selection {
    pub(super) fn new(filter: &LogFilter) -> Selection {
        Selection(filter.targets().clone())
    }
}

impl<S: Subscriber> Filter<S> for Selection {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        metadata.is_event() && Filter::enabled(&self.0, metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.is_event() {
            true => Filter::<S>::callsite_enabled(&self.0, metadata),
            false => Interest::never(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0)
    }
}
