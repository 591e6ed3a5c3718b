//! The last transfers and failures, in memory, for the status page.
//!
//! [`RecentEvents`] is a sink of the server's events. It keeps the last [`MOST_FILES`] transfers,
//! failed listings and refused commands, and the last [`MOST_LOGINS`] refused logins: these have a ring of their own,
//! since a client without a login must not push out what others have done. Each ring has a limit of
//! bytes too, so that long names cost older events and not memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::events::{Class, Event, EventSink, Kind, Level};

/// The most transfers, failed listings and refused commands.
const MOST_FILES: usize = 10_000;
/// The most refused logins.
const MOST_LOGINS: usize = 1_000;
/// The most bytes of them.
const FILES_BYTES: usize = 16 * 1024 * 1024;
const LOGINS_BYTES: usize = 2 * 1024 * 1024;

/// The last events of a server.
#[derive(Debug)]
pub(in crate::server) struct RecentEvents(Mutex<Rings>);

#[derive(Debug)]
struct Rings {
    /// How many events have come.
    number: u64,
    files: Ring,
    logins: Ring,
}

#[derive(Debug)]
struct Ring {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    /// The oldest first.
    events: VecDeque<Numbered>,
}

/// An event with its number, which orders it and names it in pages.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) event: Arc<Event>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// A part of the user's name, in any case.
    pub(super) user: String,
    /// A part of the path, of the new path or of the key, in any case.
    pub(super) path: String,
    /// How it ended.
    pub(super) class: Option<EndedAs>,
    /// The id of the transfer or of the refusal, as it stands in the reply.
    pub(super) id: String,
    /// Only events with a smaller number.
    pub(super) before: Option<u64>,
}

/// How an event that is wanted ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedAs {
    /// In this way.
    Class(Class),
    /// In any way but [`Class::Ok`].
    Failed,
}

impl Default for RecentEvents {
    fn default() -> Self {
        RecentEvents(Mutex::new(Rings {
            number: 0,
            files: Ring::new(MOST_FILES, FILES_BYTES),
            logins: Ring::new(MOST_LOGINS, LOGINS_BYTES),
        }))
    }
}

impl EventSink for RecentEvents {
    fn take(&self, event: &Arc<Event>) {
        // What happens all the time is not a failure: clients ask for names that are not there.
        if event.level == Level::Debug && event.kind != Kind::LoginRefused {
            return;
        }
        let mut rings = self.lock();
        let numbered = Numbered {
            number: rings.number,
            event: Arc::clone(event),
        };
        match event.kind {
            Kind::Transfer | Kind::Refused => rings.files.push(numbered),
            Kind::Listing if event.class != Some(Class::Ok) => rings.files.push(numbered),
            Kind::LoginRefused => rings.logins.push(numbered),
            _ => return,
        }
        rings.number += 1;
    }
}

impl RecentEvents {
    /// The newest events that are wanted, at most `limit`; and whether there are older ones.
    pub(super) fn find(&self, search: &Search, limit: usize) -> (Vec<Numbered>, bool) {
        // Copied, so that no session waits while they are looked through.
        let all = self.newest_first();
        let mut wanted = all.into_iter().filter(|numbered| search.wants(numbered));
        let found = wanted.by_ref().take(limit).collect();
        (found, wanted.next().is_some())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let rings = self.lock();
        rings.files.events.len() + rings.logins.events.len()
    }

    fn newest_first(&self) -> Vec<Numbered> {
        let rings = self.lock();
        let mut all = Vec::with_capacity(rings.files.events.len() + rings.logins.events.len());
        all.extend(rings.files.events.iter().cloned());
        all.extend(rings.logins.events.iter().cloned());
        drop(rings);
        all.sort_unstable_by_key(|numbered| std::cmp::Reverse(numbered.number));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn new(most: usize, most_bytes: usize) -> Ring {
        Ring {
            most,
            most_bytes,
            bytes: 0,
            events: VecDeque::new(),
        }
    }

    fn push(&mut self, numbered: Numbered) {
        self.bytes += numbered.event.memory();
        self.events.push_back(numbered);
        while self.events.len() > self.most || self.bytes > self.most_bytes {
            let Some(oldest) = self.events.pop_front() else {
                return;
            };
            self.bytes -= oldest.event.memory();
        }
    }
}

impl Search {
    fn wants(&self, numbered: &Numbered) -> bool {
        let event = &*numbered.event;
        let ended = match (self.class, event.class) {
            (None, _) => true,
            (Some(EndedAs::Class(wanted)), class) => class == Some(wanted),
            (Some(EndedAs::Failed), class) => class != Some(Class::Ok),
        };
        let paths = [&event.path, &event.to, &event.key];
        ended
            && (self.id.is_empty() || event.id.as_deref() == Some(self.id.as_str()))
            && self.before.is_none_or(|before| numbered.number < before)
            && (self.user.is_empty() || event.user().is_some_and(|user| holds(user, &self.user)))
            && (self.path.is_empty()
                || paths.iter().any(|path| {
                    let path = path.as_deref();
                    path.is_some_and(|path| holds(path, &self.path))
                }))
    }
}

/// Whether a text holds a part, in any case of ASCII letters.
pub(super) fn holds(text: &str, part: &str) -> bool {
    // Linear in both: clients choose the text, and everybody who reaches the port the part.
    text.to_ascii_lowercase()
        .contains(&part.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(user: &str, path: &str, class: Class) -> Arc<Event> {
        let mut event = Event::new(Kind::Transfer, Level::Info);
        event.user = Some(user.into());
        event.path = Some(path.into());
        event.class = Some(class);
        Arc::new(event)
    }

    fn listing(level: Level, class: Class) -> Arc<Event> {
        let mut event = Event::new(Kind::Listing, level);
        event.path = Some("/list".into());
        event.class = Some(class);
        Arc::new(event)
    }

    fn paths(recent: &RecentEvents, search: &Search, limit: usize) -> Vec<String> {
        let found = recent.find(search, limit).0.into_iter();
        let path = |numbered: Numbered| numbered.event.path.as_deref().unwrap_or("").to_owned();
        found.map(path).collect()
    }

    #[test]
    fn the_newest_come_first_and_each_search_narrows_them() {
        let recent = RecentEvents::default();
        recent.take(&transfer("acme", "/in/A.csv", Class::Ok));
        recent.take(&transfer("bolt", "/in/b.csv", Class::ClientGone));
        recent.take(&transfer("Acme2", "/out/c.csv", Class::Permission));
        let search = |user: &str, path: &str, class| Search {
            user: user.to_owned(),
            path: path.to_owned(),
            class,
            ..Search::default()
        };
        for (wanted, expected) in [
            (
                search("", "", None),
                &["/out/c.csv", "/in/b.csv", "/in/A.csv"][..],
            ),
            (search("ACME", "", None), &["/out/c.csv", "/in/A.csv"]),
            (search("", "/IN/a", None), &["/in/A.csv"]),
            (
                search("", "", Some(EndedAs::Failed)),
                &["/out/c.csv", "/in/b.csv"],
            ),
            (
                search("", "", Some(EndedAs::Class(Class::Ok))),
                &["/in/A.csv"],
            ),
            (search("bolt", "/out", None), &[]),
        ] {
            assert_eq!(paths(&recent, &wanted, 10), expected, "{wanted:?}");
        }
        let mut refused = Event::new(Kind::Refused, Level::Info);
        refused.id = Some("1k8n".into());
        refused.path = Some("/refused".into());
        recent.take(&Arc::new(refused));
        for (id, expected) in [("1k8n", &["/refused"][..]), ("1k8", &[])] {
            let by_id = Search {
                id: id.to_owned(),
                ..Search::default()
            };
            assert_eq!(paths(&recent, &by_id, 10), expected, "{id}");
        }
        let (page, more) = recent.find(&Search::default(), 3);
        assert!(page.len() == 3 && more);
        let rest = Search {
            before: Some(page[2].number),
            ..Search::default()
        };
        assert_eq!(paths(&recent, &rest, 2), ["/in/A.csv"]);
    }

    #[test]
    fn a_listing_that_failed_is_kept() {
        let recent = RecentEvents::default();
        recent.take(&listing(Level::Warn, Class::ClientGone));
        recent.take(&listing(Level::Debug, Class::Ok));
        let failed = Search {
            class: Some(EndedAs::Failed),
            ..Search::default()
        };
        assert_eq!(paths(&recent, &failed, 10), ["/list"]);
        assert_eq!(recent.count(), 1);
    }

    #[test]
    fn the_last_ten_thousand_stay() {
        let recent = RecentEvents::default();
        for number in 0..MOST_FILES + 5 {
            recent.take(&transfer("u", &format!("/{number}"), Class::Ok));
        }
        let all = paths(&recent, &Search::default(), usize::MAX);
        assert_eq!(all.len(), MOST_FILES);
        assert_eq!(all.last().map(String::as_str), Some("/5"));
    }

    #[test]
    fn long_names_cost_older_events_not_memory() {
        let recent = RecentEvents::default();
        let long = "x".repeat(4000);
        for _ in 0..MOST_FILES {
            recent.take(&transfer("u", &long, Class::Ok));
        }
        let rings = recent.lock();
        assert!(rings.files.bytes <= FILES_BYTES && rings.files.events.len() > 3000);
        let costs = rings.files.events.iter().map(|one| one.event.memory());
        assert_eq!(costs.sum::<usize>(), rings.files.bytes);
    }

    #[test]
    fn refused_logins_push_out_no_transfer_and_probes_are_not_kept() {
        let recent = RecentEvents::default();
        recent.take(&transfer("u", "/a", Class::Ok));
        for _ in 0..2 * MOST_FILES {
            recent.take(&Arc::new(Event::new(Kind::LoginRefused, Level::Warn)));
        }
        recent.take(&Arc::new(Event::new(Kind::Refused, Level::Debug)));
        recent.take(&Arc::new(Event::new(Kind::SessionOpen, Level::Info)));
        recent.take(&listing(Level::Debug, Class::Ok));
        assert_eq!(recent.count(), MOST_LOGINS + 1);
        let all = paths(&recent, &Search::default(), usize::MAX);
        assert_eq!(all.last().map(String::as_str), Some("/a"));
    }

    #[test]
    fn ten_thousand_usual_events_fit() {
        let mut event = Event::new(Kind::Transfer, Level::Info);
        for text in [&mut event.path, &mut event.key] {
            *text = Some("x".repeat(120).into());
        }
        event.reason = Some("x".repeat(200).into());
        let memory = event.memory();
        assert!(memory * MOST_FILES <= FILES_BYTES, "{memory}");
    }
}
