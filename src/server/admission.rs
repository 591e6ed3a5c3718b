//! Whether an accepted connection becomes a session: bans, limits, and the PROXY header in which a
//! load balancer sends the client's address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::auth::{Refused, SessionPermit};
use crate::events::{Cause, Class, Event, Events, Kind, Level};
use crate::net::proxy::{ConnectionAddrs, Proxies};
use crate::session::{Listener, ServerContext, no_session};

/// Time for a refused client to read the reason.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Shortest interval of events about refusals for one reason, so that a flood of connections does not
/// fill the log.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// State that the accept tasks share.
#[derive(Debug)]
pub(super) struct ConnectionAdmission {
    pub(super) proxies: Proxies,
    events: Events,
    refusals: Mutex<Refusals>,
    /// Notified if a refusal is held back.
    held_back: Notify,
}

/// The refusals of each reason. Its first one is reported at once, and then at most one event a
/// second, which stands for all since the one before.
#[derive(Debug, Default)]
struct Refusals(HashMap<Refused, HeldBack>);

#[derive(Debug)]
struct HeldBack {
    last: Instant,
    /// Refusals since then.
    silent: u64,
    /// The address of the last one.
    peer: SocketAddr,
}

/// Refusals that one event stands for.
#[derive(Debug, PartialEq, Eq)]
struct RefusalReport {
    reason: Refused,
    peer: SocketAddr,
    count: u64,
}

impl ConnectionAdmission {
    pub(super) fn new(proxies: Proxies, events: Events) -> Self {
        ConnectionAdmission {
            proxies,
            events,
            refusals: Mutex::default(),
            held_back: Notify::new(),
        }
    }

    /// A permit for a connection from this address, unless a ban or a limit refuses it.
    pub(super) fn enter(
        &self,
        context: &ServerContext,
        peer: SocketAddr,
    ) -> Result<SessionPermit, Refused> {
        let address = peer.ip();
        if self.proxies.include(address) {
            return context.sessions.enter(None);
        }
        if context.failures.bans_address(address) {
            return Err(Refused::Banned);
        }
        context.sessions.enter(Some(address))
    }

    /// Reports a refusal. Events about one reason come at most once a second: a flood of connections
    /// must not flood the log. What is held back comes later, so that no refusal is left out of
    /// events and metrics, or has another one's cause.
    pub(super) fn refused(&self, peer: SocketAddr, reason: Refused) {
        let report = self.refusals().came(reason, peer, Instant::now());
        match report {
            Some(report) => self.send(report),
            None => self.held_back.notify_one(),
        }
    }

    /// Sends what is held back when it is due, until the end.
    pub(super) async fn report(self: Arc<Self>, end: CancellationToken) {
        end.run_until_cancelled(async {
            loop {
                let next = self.refusals().next();
                match next {
                    Some(next) => {
                        sleep_until(next).await;
                        self.send_until(Some(next));
                    }
                    None => self.held_back.notified().await,
                }
            }
        })
        .await;
    }

    /// Sends all that is held back: no more refusals come.
    pub(super) fn report_held(&self) {
        self.send_until(None);
    }

    /// Sends what is due at `time`, or all.
    fn send_until(&self, time: Option<Instant>) {
        let reports = self.refusals().due(time);
        for report in reports {
            self.send(report);
        }
    }

    fn send(&self, report: RefusalReport) {
        let reply = no_session(report.reason);
        let mut event = Event::new(Kind::LoginRefused, Level::Warn);
        event.peer = Some(report.peer);
        event.code = Some(reply.code);
        (event.cause, event.class) = match report.reason {
            Refused::Banned => (Some(Cause::Banned), Some(Class::Permission)),
            _ => (Some(Cause::Limit), Some(Class::Busy)),
        };
        event.reason = Some(reply.lines.join(" ").into());
        event.count = Some(report.count);
        self.events.send(event);
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        // Each step leaves it whole.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    /// Counts a refusal; `Some` if it is to be reported now.
    fn came(&mut self, reason: Refused, peer: SocketAddr, now: Instant) -> Option<RefusalReport> {
        let Some(held) = self.0.get_mut(&reason) else {
            let held = HeldBack {
                last: now,
                silent: 0,
                peer,
            };
            self.0.insert(reason, held);
            let count = 1;
            return Some(RefusalReport {
                reason,
                peer,
                count,
            });
        };
        held.silent += 1;
        held.peer = peer;
        (held.due() <= now).then(|| held.report(reason, now))
    }

    /// When the next report of what is held back is due.
    fn next(&self) -> Option<Instant> {
        let held = self.0.values().filter(|held| held.silent > 0);
        held.map(HeldBack::due).min()
    }

    /// What is held back and due at `time`; all of it without one.
    fn due(&mut self, time: Option<Instant>) -> Vec<RefusalReport> {
        let now = Instant::now();
        let held = self
            .0
            .iter_mut()
            .filter(|(_, held)| held.silent > 0 && time.is_none_or(|time| held.due() <= time));
        held.map(|(reason, held)| held.report(*reason, now.max(time.unwrap_or(now))))
            .collect()
    }
}

impl HeldBack {
    /// When the next event about it may come.
    fn due(&self) -> Instant {
        self.last + EVENT_EVERY
    }

    fn report(&mut self, reason: Refused, now: Instant) -> RefusalReport {
        self.last = now;
        RefusalReport {
            reason,
            peer: self.peer,
            count: std::mem::take(&mut self.silent),
        }
    }
}

/// Reads the client's address from a PROXY header if there is one, and admits or refuses the
/// client. A refused client gets the reason; then it returns `None`.
pub(super) async fn admit(
    permit: &mut SessionPermit,
    admission: &ConnectionAdmission,
    context: &ServerContext,
    listener: &Listener,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, ConnectionAddrs)> {
    let addrs = tokio::select! {
        addrs = admission.proxies.addrs(&mut stream, peer) => Some(addrs),
        () = permit.ended().cancelled() => None,
        () = context.drain.cancelled() => return None,
    };
    let (peer, admitted) = match addrs {
        None => (peer, Err(Refused::Displaced)),
        Some(Err(error)) => {
            tracing::warn!(%peer, %error, "connection closed");
            return None;
        }
        Some(Ok(addrs)) if context.failures.bans_address(addrs.peer.ip()) => {
            (addrs.peer, Err(Refused::Banned))
        }
        Some(Ok(addrs)) => (addrs.peer, permit.take_for(addrs.peer.ip()).map(|()| addrs)),
    };
    match admitted {
        Ok(addrs) => Some((stream, addrs)),
        Err(refused) => {
            admission.refused(peer, refused);
            refuse(stream, listener.implicit, refused).await;
            None
        }
    }
}

/// Sends the reason of a refusal. A client that does not read it gets none, and with implicit TLS
/// it can't be sent.
pub(super) async fn refuse(mut stream: TcpStream, implicit: bool, refused: Refused) {
    if implicit {
        return;
    }
    let reply = no_session(refused).to_bytes();
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, stream.write_all(&reply)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn report(reason: Refused, port: u16, count: u64) -> RefusalReport {
        RefusalReport {
            reason,
            peer: peer(port),
            count,
        }
    }

    #[test]
    fn a_flood_of_refusals_is_an_event_a_second_that_counts_all() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let banned = |refusals: &mut Refusals, port, at| {
            refusals.came(Refused::Banned, peer(port), start + at)
        };
        let first = banned(&mut refusals, 1, Duration::ZERO);
        assert_eq!(first, Some(report(Refused::Banned, 1, 1)));
        assert_eq!(refusals.next(), None);
        for _ in 0..1_000 {
            assert_eq!(banned(&mut refusals, 2, EVENT_EVERY / 2), None);
        }
        assert_eq!(refusals.next(), Some(start + EVENT_EVERY));
        let second = banned(&mut refusals, 3, EVENT_EVERY);
        assert_eq!(second, Some(report(Refused::Banned, 3, 1_001)));
        assert_eq!(refusals.next(), None);
        let third = banned(&mut refusals, 4, 3 * EVENT_EVERY);
        assert_eq!(third, Some(report(Refused::Banned, 4, 1)));
    }

    #[test]
    fn refusals_are_counted_by_their_reasons() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        for _ in 0..1_000 {
            refusals.came(Refused::Banned, peer(1), start);
        }
        let limit = refusals.came(Refused::AddressFull, peer(2), start);
        assert_eq!(limit, Some(report(Refused::AddressFull, 2, 1)));
    }

    #[test]
    fn what_is_held_back_when_a_flood_ends_is_reported() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        for port in [1, 2, 3] {
            refusals.came(Refused::Banned, peer(port), start);
        }
        let later = start + EVENT_EVERY / 2;
        for port in [4, 5] {
            refusals.came(Refused::Full, peer(port), later);
        }
        assert_eq!(refusals.due(Some(start)), []);
        let due = refusals.due(refusals.next());
        assert_eq!(due, [report(Refused::Banned, 3, 2)]);
        assert_eq!(refusals.next(), Some(later + EVENT_EVERY));
        assert_eq!(refusals.due(None), [report(Refused::Full, 5, 1)]);
        assert_eq!((refusals.next(), refusals.due(None)), (None, vec![]));
    }
}
