//! [`EventHook`]: delivers the events of one `[events.NAME]`.
//!
//! One task a hook takes events from the queue and posts them, a few in parallel. A delivery that
//! fails in a way that may pass (no connection, no answer in time, 408, 425, 429, 5xx) is repeated
//! with a growing pause until the event is too old; any other answer but 2xx is final. The time in
//! the queue counts: if the URL has failed for that time, each older event has one attempt, and newer
//! ones do not wait for it. What is lost is counted and logged: by a full queue at most once a minute.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::events::EventSink;
use crate::events::metrics::{CallResult, HookCalls, Metrics};
use crate::hooks::client::{CallError, Connections, HookClient};
use crate::hooks::cloud_event;
use crate::hooks::event_queue::{HookSink, QueuedEvent};
use crate::hooks::options::EventHookOptions;
use crate::hooks::signature::{self, Signer};

/// Events of one hook that are delivered in parallel.
const PARALLEL: usize = 4;

/// The pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Lost events are logged at most so often.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// When the server stops, what waits is delivered for this time at most.
const FLUSH: Duration = Duration::from_secs(5);

/// One hook: its queue and its task.
#[derive(Debug)]
pub struct EventHook {
    name: String,
    sink: Arc<HookSink>,
    delivery: Delivery,
}

/// What a delivery needs.
#[derive(Debug)]
struct Delivery {
    client: HookClient,
    signer: Option<Signer>,
    source: String,
    /// Begins each id; another one in each process.
    process: String,
    retry_for: Duration,
    calls: HookCalls,
}

/// What the hooks of a server have in common.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// The name of the replica, if it has one.
    pub replica: Option<&'a str>,
    /// The number of `[events.NAME]`.
    pub hooks: usize,
    /// Counts the calls.
    pub metrics: &'a Metrics,
}

/// How a delivery has failed for good.
#[derive(Debug)]
enum Undelivered {
    /// The receiver refuses it.
    Refused(StatusCode),
    /// No attempt has succeeded in the time.
    TooLate(String),
}

impl EventHook {
    /// Its name in the configuration, and what signs its calls.
    pub fn signer(&self) -> (String, Option<Signer>) {
        (self.name.clone(), self.delivery.signer.clone())
    }

    /// Makes no connection yet.
    ///
    /// # Errors
    /// The URL is not one, or TLS can't be set up.
    pub fn new(
        name: &str,
        options: &EventHookOptions,
        sender: Sender<'_>,
    ) -> Result<EventHook, CallError> {
        let sink = HookSink::new(options.filter.clone(), options.queue, sender.hooks);
        let calls = sender.metrics.hook_calls(&format!("events.{name}"));
        // Begins at 0.
        calls.lost(0);
        Ok(EventHook {
            name: name.to_owned(),
            sink: Arc::new(sink),
            delivery: Delivery {
                client: HookClient::new(&options.url, options.timeout, Connections::Reused)?,
                signer: options.secret.clone().map(Signer::new),
                source: cloud_event::source(sender.replica),
                process: format!("{:016x}", random()),
                retry_for: options.retry_for,
                calls,
            },
        })
    }

    /// Takes the events.
    pub fn sink(&self) -> Arc<dyn EventSink> {
        Arc::clone(&self.sink) as Arc<dyn EventSink>
    }

    /// Delivers until `end`; then what waits, for a few seconds more.
    pub async fn run(self, end: CancellationToken) {
        let mut running = FuturesUnordered::new();
        let mut losses = LostEvents::default();
        let mut until: Option<Instant> = None;
        loop {
            self.note_overflow(&mut losses);
            if losses.may_be_logged() {
                losses.log(&self.name);
            }
            while running.len() < PARALLEL
                && let Some(numbered) = self.sink.next()
            {
                running.push(self.delivery.deliver(numbered, &end));
            }
            if until.is_some() && running.is_empty() {
                break;
            }
            let flush = until.unwrap_or_else(Instant::now);
            tokio::select! {
                Some(delivered) = running.next() => self.note(&mut losses, delivered),
                () = self.sink.came() => {}
                () = sleep_until(losses.next()), if losses.is_due() => {}
                () = end.cancelled(), if until.is_none() => until = Some(Instant::now() + FLUSH),
                () = sleep_until(flush), if until.is_some() => break,
            }
        }
        self.note_overflow(&mut losses);
        losses.log(&self.name);
        let left = running.len() + self.sink.waiting();
        if left > 0 {
            self.delivery.calls.lost(left as u64);
            tracing::error!(
                hook = self.name,
                events = left,
                "the server stops and loses events that were not delivered"
            );
        }
    }
}

impl EventHook {
    fn note_overflow(&self, losses: &mut LostEvents) {
        let events = self.sink.take_lost();
        self.delivery.calls.lost(events);
        losses.overflowed += events;
    }

    /// Notes how a delivery has ended.
    fn note(&self, losses: &mut LostEvents, delivered: Result<(), Undelivered>) {
        if let Err(reason) = delivered {
            self.delivery.calls.lost(1);
            losses.undelivered += 1;
            losses.reason = reason.to_string();
        }
    }
}

impl Delivery {
    /// Posts an event until it is taken, refused, or too old: one that was too old before is posted
    /// once. After `end` it is tried at once, and not again.
    async fn deliver(
        &self,
        numbered: QueuedEvent,
        end: &CancellationToken,
    ) -> Result<(), Undelivered> {
        let id = format!("{}-{}", self.process, numbered.number);
        let body = Bytes::from(cloud_event::body(&numbered.event, &self.source, &id));
        let give_up = numbered.came + self.retry_for;
        let mut attempt = 0;
        loop {
            let failure = match self.post(&id, &body).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) if may_pass(status) => format!("HTTP {}", status.as_u16()),
                Ok(status) => return Err(Undelivered::Refused(status)),
                Err(error) => error.to_string(),
            };
            if end.is_cancelled() {
                return Err(Undelivered::TooLate(failure));
            }
            let pause = pause(attempt);
            attempt += 1;
            if Instant::now() + pause >= give_up {
                return Err(Undelivered::TooLate(failure));
            }
            tracing::debug!(
                id,
                attempt,
                failure,
                "an event was not delivered, it is tried again"
            );
            tokio::select! {
                () = sleep(pause) => {}
                () = end.cancelled() => {}
            }
        }
    }

    async fn post(&self, id: &str, body: &Bytes) -> Result<StatusCode, CallError> {
        let call = self.calls.begin();
        let answered = self.call(id, body).await;
        call.ended(match &answered {
            Ok(status) if status.is_success() => CallResult::Ok,
            Ok(status) if may_pass(*status) => CallResult::Error,
            Ok(_) => CallResult::Refused,
            Err(error) => error.result(),
        });
        answered
    }

    async fn call(&self, id: &str, body: &Bytes) -> Result<StatusCode, CallError> {
        let headers = signature::headers(self.signer.as_ref(), id, body);
        let headers = headers.map_err(|error| CallError::Setup(error.to_string()))?;
        self.client
            .deliver(cloud_event::CONTENT_TYPE, headers, body.clone())
            .await
    }
}

/// What has been lost, and when it was last logged.
#[derive(Debug, Default)]
struct LostEvents {
    overflowed: u64,
    undelivered: u64,
    reason: String,
    last: Option<Instant>,
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undelivered::Refused(status) => write!(f, "it answered HTTP {}", status.as_u16()),
            Undelivered::TooLate(failure) => f.write_str(failure),
        }
    }
}

impl LostEvents {
    /// Logs what has been lost.
    fn log(&mut self, hook: &str) {
        if self.overflowed > 0 {
            tracing::error!(
                hook,
                events = self.overflowed,
                "events were lost: the queue is full, since their URL does not take them"
            );
        }
        if self.undelivered > 0 {
            tracing::error!(
                hook,
                events = self.undelivered,
                reason = self.reason,
                "events were lost: their URL did not take them"
            );
        }
        *self = LostEvents {
            last: Some(Instant::now()),
            ..LostEvents::default()
        };
    }

    fn may_be_logged(&self) -> bool {
        self.is_due() && self.next() <= Instant::now()
    }

    /// Whether something is to be logged.
    fn is_due(&self) -> bool {
        self.overflowed + self.undelivered > 0
    }

    /// When it may be.
    fn next(&self) -> Instant {
        self.last
            .map_or_else(Instant::now, |last| last + REPORT_EVERY)
    }
}

/// Whether a later attempt may be answered otherwise.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429)
}

/// The pause after an attempt, counted from 0: between half and all of it, so that events that
/// failed together are not repeated together.
fn pause(attempt: u32) -> Duration {
    let whole = FIRST_PAUSE
        .saturating_mul(1_u32.checked_shl(attempt.min(16)).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE);
    let spread = u32::try_from(random() % 1000).unwrap_or(0);
    whole / 2 + whole / 2 * spread / 1000
}

/// A number that is another one in each process and at each call.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::events::{Event, Kind, Level};
    use crate::hooks::options::EventFilter;

    /// A hook whose URL takes no connection.
    fn without_receiver(retry_for: Duration) -> EventHook {
        let options = EventHookOptions {
            url: "http://127.0.0.1:1/".to_owned(),
            filter: EventFilter::default(),
            timeout: Duration::from_secs(10),
            retry_for,
            queue: 10,
            secret: None,
        };
        let sender = Sender {
            replica: None,
            hooks: 1,
            metrics: &Metrics::default(),
        };
        EventHook::new("a", &options, sender).unwrap()
    }

    #[tokio::test]
    async fn the_age_of_an_event_counts_from_when_it_came() {
        let retry_for = Duration::from_secs(120);
        let hook = without_receiver(retry_for);
        hook.sink
            .take(&Arc::new(Event::new(Kind::Deleted, Level::Info)));
        let mut queued = hook.sink.next().unwrap();
        // It has waited while others were repeated; no test waits for that.
        queued.came = Instant::now().checked_sub(retry_for).unwrap();
        let end = CancellationToken::new();
        let delivered = tokio::time::timeout(retry_for / 2, hook.delivery.deliver(queued, &end));
        let lost = delivered.await.unwrap().unwrap_err();
        assert!(matches!(lost, Undelivered::TooLate(_)), "{lost}");
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        for (attempt, whole) in [(0, 500), (1, 1000), (6, 32_000), (7, 60_000), (40, 60_000)] {
            let pause = pause(attempt);
            let whole = Duration::from_millis(whole);
            assert!((whole / 2..=whole).contains(&pause), "{attempt}: {pause:?}");
        }
    }

    #[test]
    fn answers_that_may_pass() {
        for (status, passes) in [
            (500, true),
            (503, true),
            (408, true),
            (425, true),
            (429, true),
            (302, false),
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (410, false),
            (413, false),
            (422, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            assert_eq!(may_pass(status), passes, "{status}");
        }
    }
}
