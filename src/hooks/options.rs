//! What is configured of hooks.

use std::time::Duration;

use secrecy::SecretString;

use crate::events::{Class, Direction, Event, Kind, Level};

/// A URL that events are posted to: `[events.NAME]`.
#[derive(Debug, Clone)]
pub struct EventHookOptions {
    /// An http or https URL, without a user.
    pub url: String,
    /// Which events.
    pub filter: EventFilter,
    /// For one attempt.
    pub timeout: Duration,
    /// An event that was not delivered for this time is lost.
    pub retry_for: Duration,
    /// The most events that wait.
    pub queue: usize,
    /// Signs the calls.
    pub secret: Option<SecretString>,
}

/// Which events a hook gets.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// `None`: all but those of level debug.
    pub on: Option<Vec<EventChoice>>,
    /// Only events of these classes; `None`: all.
    pub classes: Option<Vec<Class>>,
}

/// A word of `on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventChoice {
    /// A file that was uploaded whole.
    Upload,
    /// A file that was downloaded as asked.
    Download,
    /// A transfer, a listing or a command that has failed or was refused.
    Failure,
    /// Events of a kind.
    Kind(Kind),
}

impl EventFilter {
    /// Whether the hook gets this event.
    pub fn admits(&self, event: &Event) -> bool {
        let class =
            |classes: &Vec<Class>| event.class.is_some_and(|class| classes.contains(&class));
        if !self.classes.as_ref().is_none_or(class) {
            return false;
        }
        match &self.on {
            Some(choices) => choices.iter().any(|choice| choice.fits(event)),
            None => event.level != Level::Debug,
        }
    }
}

impl EventChoice {
    /// The words of the configuration.
    pub const ALL: &'static [(&'static str, EventChoice)] = &[
        ("upload", EventChoice::Upload),
        ("download", EventChoice::Download),
        ("failure", EventChoice::Failure),
        ("session_open", EventChoice::Kind(Kind::SessionOpen)),
        ("session_close", EventChoice::Kind(Kind::SessionClose)),
        ("login", EventChoice::Kind(Kind::Login)),
        ("login_refused", EventChoice::Kind(Kind::LoginRefused)),
        ("transfer", EventChoice::Kind(Kind::Transfer)),
        ("refused", EventChoice::Kind(Kind::Refused)),
        ("renamed", EventChoice::Kind(Kind::Renamed)),
        ("deleted", EventChoice::Kind(Kind::Deleted)),
        ("directory_made", EventChoice::Kind(Kind::DirectoryMade)),
        (
            "directory_removed",
            EventChoice::Kind(Kind::DirectoryRemoved),
        ),
        ("listing", EventChoice::Kind(Kind::Listing)),
        ("banned", EventChoice::Kind(Kind::Banned)),
        ("data_stranger", EventChoice::Kind(Kind::DataStranger)),
        ("reload", EventChoice::Kind(Kind::Reload)),
        ("store_up", EventChoice::Kind(Kind::StoreUp)),
        ("store_down", EventChoice::Kind(Kind::StoreDown)),
        ("sweep", EventChoice::Kind(Kind::Sweep)),
    ];

    fn fits(self, event: &Event) -> bool {
        let is = |direction| {
            event.kind == Kind::Transfer
                && event.direction == Some(direction)
                && event.class == Some(Class::Ok)
        };
        match self {
            EventChoice::Upload => is(Direction::In),
            EventChoice::Download => is(Direction::Out),
            EventChoice::Failure => {
                matches!(event.kind, Kind::Transfer | Kind::Listing | Kind::Refused)
                    && event.level != Level::Debug
                    && event.class != Some(Class::Ok)
            }
            EventChoice::Kind(kind) => event.kind == kind,
        }
    }
}

/// Who is asked before an upload is published.
#[derive(Debug, Clone)]
pub struct BeforePublishOptions {
    /// An http or https URL, without a user.
    pub url: String,
    /// For the whole call.
    pub timeout: Duration,
    /// What becomes of an upload if there is no answer.
    pub on_failure: OnHookFailure,
    /// Signs the calls.
    pub secret: Option<SecretString>,
}

/// What becomes of an upload if the URL gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHookFailure {
    /// It is published.
    Open,
    /// It is kept as an interrupted upload.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_can_be_chosen_by_its_name() {
        for kind in Kind::ALL {
            let choice = (kind.name(), EventChoice::Kind(*kind));
            assert!(EventChoice::ALL.contains(&choice), "{choice:?}");
        }
    }

    #[test]
    fn a_filter_admits_by_kind_direction_class_and_level() {
        let event = |kind, level, direction, class| {
            let mut event = Event::new(kind, level);
            event.direction = direction;
            event.class = class;
            event
        };
        let upload = event(
            Kind::Transfer,
            Level::Info,
            Some(Direction::In),
            Some(Class::Ok),
        );
        let broken = event(
            Kind::Transfer,
            Level::Warn,
            Some(Direction::In),
            Some(Class::ClientGone),
        );
        let probe = event(Kind::Refused, Level::Debug, None, Some(Class::NotFound));
        let opened = event(Kind::SessionOpen, Level::Info, None, None);
        let listed = event(Kind::Listing, Level::Debug, None, Some(Class::Ok));
        let unlisted = event(Kind::Listing, Level::Warn, None, Some(Class::ClientGone));
        let events = [&upload, &broken, &probe, &opened, &listed, &unlisted];
        let filter = |on: &[EventChoice], classes: &[Class]| EventFilter {
            on: (!on.is_empty()).then(|| on.to_vec()),
            classes: (!classes.is_empty()).then(|| classes.to_vec()),
        };
        use EventChoice::{Download, Failure, Upload};
        for (filter, expected) in [
            (filter(&[], &[]), [true, true, false, true, false, true]),
            (
                filter(&[Upload], &[]),
                [true, false, false, false, false, false],
            ),
            (filter(&[Download], &[]), [false; 6]),
            (
                filter(&[Failure], &[]),
                [false, true, false, false, false, true],
            ),
            (
                filter(&[Upload, Failure], &[]),
                [true, true, false, false, false, true],
            ),
            (
                filter(&[EventChoice::Kind(Kind::Refused)], &[]),
                [false, false, true, false, false, false],
            ),
            (
                filter(&[], &[Class::ClientGone]),
                [false, true, false, false, false, true],
            ),
        ] {
            assert_eq!(
                events.map(|event| filter.admits(event)),
                expected,
                "{filter:?}"
            );
        }
    }
}
