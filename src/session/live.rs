//! The sessions that run now, for the status page: who is connected, what each of them does, and the
//! handle by which an operator ends one.
//!
//! A session registers itself and keeps its entry up to date; the entry leaves with the session. An
//! idle session may take 24 KiB in all, so an entry is small: what a session has in common with its
//! events is shared with them, and a transfer is there only while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{Direction, SessionFacts};
use crate::session::transfer::job::TransferProgress;

/// Shortest time over which a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(1);

/// The sessions of a server. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct LiveSessions(Mutex<LiveEntries>);

#[derive(Debug, Default)]
struct LiveEntries {
    /// The oldest first.
    sessions: BTreeMap<u64, Arc<LiveSession>>,
    /// How many sessions there have been.
    begun: u64,
}

/// A session that runs.
#[derive(Debug)]
pub struct LiveSession {
    since: Instant,
    /// Ends the session.
    cut: CancellationToken,
    ended: AtomicBool,
    /// The lock is held for a look only.
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    facts: Arc<SessionFacts>,
    verb: Option<&'static str>,
    /// When the last command ended.
    changed: Instant,
    transfer: Option<Arc<LiveTransfer>>,
}

/// What a session does, at one moment.
#[derive(Debug, Clone)]
pub struct Activity {
    /// The session, its user and client.
    pub facts: Arc<SessionFacts>,
    /// The command that runs.
    pub verb: Option<&'static str>,
    /// How long the session waits for a command; zero if one runs.
    pub idle: Duration,
    /// The transfer that runs.
    pub transfer: Option<Arc<LiveTransfer>>,
}

/// A transfer that runs.
pub struct LiveTransfer {
    /// Its id, as in its replies and its event.
    pub id: Box<str>,
    /// Its command.
    pub verb: &'static str,
    /// Its virtual path.
    pub path: Box<str>,
    /// `None` if it is a listing or a digest.
    pub direction: Option<Direction>,
    since: Instant,
    progress: TransferProgress,
    sample: Mutex<RateSample>,
}

/// The bytes at some moment, and the rate until then.
#[derive(Debug, Clone, Copy)]
struct RateSample {
    at: Instant,
    bytes: u64,
    rate: Option<f64>,
}

/// The entry of a session; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct LiveEntry {
    all: Arc<LiveSessions>,
    number: u64,
    session: Arc<LiveSession>,
}

/// Shows a transfer until it is dropped.
#[derive(Debug)]
pub(super) struct ShownTransfer(Arc<LiveSession>);

impl LiveSessions {
    /// Adds a session that ends when `cut` is cancelled.
    pub(super) fn enter(
        self: &Arc<Self>,
        facts: Arc<SessionFacts>,
        cut: CancellationToken,
    ) -> LiveEntry {
        let since = Instant::now();
        let session = Arc::new(LiveSession {
            since,
            cut,
            ended: AtomicBool::new(false),
            now: Mutex::new(Now {
                facts,
                verb: None,
                changed: since,
                transfer: None,
            }),
        });
        let mut entries = self.lock();
        let number = entries.begun;
        entries.begun += 1;
        entries.sessions.insert(number, Arc::clone(&session));
        drop(entries);
        LiveEntry {
            all: Arc::clone(self),
            number,
            session,
        }
    }

    /// All sessions, the oldest first.
    pub fn all(&self) -> Vec<Arc<LiveSession>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// The number of sessions.
    pub fn count(&self) -> usize {
        self.lock().sessions.len()
    }

    /// The session with this id.
    pub fn find(&self, id: &str) -> Option<Arc<LiveSession>> {
        let all = self.all();
        all.into_iter()
            .find(|session| &*session.lock().facts.session == id)
    }

    fn lock(&self) -> MutexGuard<'_, LiveEntries> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveSession {
    /// How long the session has been connected.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// What it does now.
    pub fn activity(&self) -> Activity {
        let now = self.lock();
        let idle = match now.verb {
            None => now.changed.elapsed(),
            Some(_) => Duration::ZERO,
        };
        Activity {
            facts: Arc::clone(&now.facts),
            verb: now.verb,
            idle,
            transfer: now.transfer.clone(),
        }
    }

    /// Ends the session: a running transfer is cut, unless its upload is being published, and the
    /// client gets a 421.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.cut.cancel();
    }

    /// Whether [`end`](Self::end) was called.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The session's user, client or connection have changed.
    pub(super) fn set_facts(&self, facts: &Arc<SessionFacts>) {
        self.lock().facts = Arc::clone(facts);
    }

    /// A command begins, or has ended.
    pub(super) fn set_verb(&self, verb: Option<&'static str>) {
        let mut now = self.lock();
        now.verb = verb;
        if verb.is_none() {
            now.changed = Instant::now();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // Each step leaves it whole.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveTransfer {
    pub(super) fn new(
        id: &str,
        verb: &'static str,
        path: &str,
        direction: Option<Direction>,
        progress: TransferProgress,
    ) -> LiveTransfer {
        let since = Instant::now();
        LiveTransfer {
            id: id.into(),
            verb,
            path: path.into(),
            direction,
            since,
            progress,
            sample: Mutex::new(RateSample {
                at: since,
                bytes: 0,
                rate: None,
            }),
        }
    }

    /// How long it has run.
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The bytes that it has moved.
    pub fn bytes(&self) -> u64 {
        self.progress.bytes()
    }

    /// The bytes that it will have moved, if that is known.
    pub fn expected(&self) -> Option<u64> {
        self.progress.expected()
    }

    /// Bytes a second: since the last look if that is at least a second ago, at first since the
    /// transfer's begin.
    pub fn rate(&self) -> f64 {
        self.rate_at(Instant::now())
    }

    fn rate_at(&self, now: Instant) -> f64 {
        let bytes = self.bytes();
        let mut sample = self.sample.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.duration_since(sample.at);
        let moved = bytes.saturating_sub(sample.bytes) as f64;
        match sample.rate {
            Some(rate) if passed < RATE_OVER => rate,
            None if passed < RATE_OVER => moved / passed.as_secs_f64().max(0.001),
            _ => {
                let rate = moved / passed.as_secs_f64();
                *sample = RateSample {
                    at: now,
                    bytes,
                    rate: Some(rate),
                };
                rate
            }
        }
    }
}

impl fmt::Debug for LiveTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveTransfer({} {:?})", self.verb, self.path)
    }
}

impl LiveEntry {
    /// Shows a transfer as long as the result lives.
    pub(super) fn show(&self, transfer: LiveTransfer) -> ShownTransfer {
        self.session.lock().transfer = Some(Arc::new(transfer));
        ShownTransfer(Arc::clone(&self.session))
    }
}

impl Deref for LiveEntry {
    type Target = LiveSession;

    fn deref(&self) -> &LiveSession {
        &self.session
    }
}

impl Drop for LiveEntry {
    fn drop(&mut self) {
        self.all.lock().sessions.remove(&self.number);
    }
}

impl Drop for ShownTransfer {
    fn drop(&mut self) {
        self.0.lock().transfer = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn facts(id: &str) -> Arc<SessionFacts> {
        Arc::new(SessionFacts {
            session: id.into(),
            user: None,
            peer: ([192, 0, 2, 1], 5000).into(),
            client: None,
            tls: None,
            host: None,
        })
    }

    #[test]
    fn an_entry_is_small() {
        // With the `Arc`'s counts, and the node of the map.
        let bytes = std::mem::size_of::<LiveSession>() + 16 + 32;
        assert!(bytes <= 200, "{bytes} bytes");
    }

    #[test]
    fn an_entry_follows_its_session_and_leaves_with_it() {
        let all = Arc::new(LiveSessions::default());
        let entry = all.enter(facts("one"), CancellationToken::new());
        let other = all.enter(facts("two"), CancellationToken::new());
        assert_eq!(all.count(), 2);
        let found = all.find("one").unwrap();
        found.lock().changed -= Duration::from_secs(3);
        assert!(found.activity().idle >= Duration::from_secs(3));
        entry.set_verb(Some("RETR"));
        let progress = TransferProgress::default();
        let transfer = LiveTransfer::new("t", "RETR", "/a", Some(Direction::Out), progress);
        let shown = entry.show(transfer);
        let activity = found.activity();
        assert_eq!(activity.verb, Some("RETR"));
        assert!(activity.idle < Duration::from_secs(3));
        assert_eq!(&*activity.transfer.unwrap().path, "/a");
        drop(shown);
        assert!(found.activity().transfer.is_none());
        drop(entry);
        assert!(all.find("one").is_none() && all.find("two").is_some());
        drop(other);
        assert_eq!(all.count(), 0);
    }

    #[test]
    fn a_session_that_is_ended_ends_alone() {
        let all = Arc::new(LiveSessions::default());
        let server = CancellationToken::new();
        let (one, two) = (server.child_token(), server.child_token());
        let ended = all.enter(facts("one"), one.clone());
        let other = all.enter(facts("two"), two.clone());
        all.find("one").unwrap().end();
        assert!(one.is_cancelled() && ended.ended());
        assert!(!two.is_cancelled() && !other.ended() && !server.is_cancelled());
    }

    #[test]
    fn a_rate_is_that_of_the_time_since_the_last_look() {
        let progress = TransferProgress::default();
        let transfer = LiveTransfer::new("t", "STOR", "/a", Some(Direction::In), progress.clone());
        let rate_after = |ms| transfer.rate_at(transfer.since + Duration::from_millis(ms));
        progress.add(500);
        assert_eq!(rate_after(500), 1000.0);
        progress.add(3500);
        assert_eq!(rate_after(2000), 2000.0);
        progress.add(1000);
        // A second viewer does not make it jump.
        assert_eq!(rate_after(2500), 2000.0);
        assert_eq!(rate_after(3000), 1000.0);
    }
}
