//! Whether an accepted connection becomes a session: bans, limits, and the PROXY header in which a
//! load balancer sends the client's address.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::auth::{Refused, SessionPermit};
use crate::events::{Cause, Class, Event, Events, Kind, Level};
use crate::net::proxy::{ConnectionAddrs, Proxies};
use crate::session::{Listener, ServerContext, no_session};

/// Time for a refused client to read the reason.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Shortest interval of log lines about refusals, so that a flood of connections does not fill the
/// log.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// State that the accept tasks share.
#[derive(Debug)]
pub(super) struct ConnectionAdmission {
    pub(super) proxies: Proxies,
    events: Events,
    log: Mutex<RefusalLog>,
}

#[derive(Debug, Default)]
struct RefusalLog {
    last: Option<Instant>,
    /// Refusals since then that were not logged.
    silent: u64,
}

impl ConnectionAdmission {
    pub(super) fn new(proxies: Proxies, events: Events) -> Self {
        ConnectionAdmission {
            proxies,
            events,
            log: Mutex::default(),
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

    /// Sends the event of a refusal, at most one a second: a flood of connections must not flood the
    /// log.
    pub(super) fn refused(&self, peer: SocketAddr, reason: Refused) {
        let others = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.next(Instant::now())
        };
        let Some(others) = others else {
            return;
        };
        let reply = no_session(reason);
        let mut event = Event::new(Kind::LoginRefused, Level::Warn);
        event.peer = Some(peer);
        event.code = Some(reply.code);
        (event.cause, event.class) = match reason {
            Refused::Banned => (Some(Cause::Banned), Some(Class::Permission)),
            _ => (Some(Cause::Limit), Some(Class::Busy)),
        };
        event.reason = Some(reply.lines.join(" ").into());
        event.count = Some(others + 1);
        self.events.send(event);
    }
}

impl RefusalLog {
    /// Whether to log this refusal; `Some` has the number of earlier ones that were not logged.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now - last < LOG_EVERY) {
            self.silent += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.silent))
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

    #[test]
    fn a_flood_of_refusals_is_a_line_a_second() {
        let mut log = RefusalLog::default();
        let start = Instant::now();
        assert_eq!(log.next(start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(log.next(start), None);
        }
        assert_eq!(log.next(start + LOG_EVERY), Some(1_000));
        assert_eq!(log.next(start + LOG_EVERY), None);
        assert_eq!(log.next(start + 3 * LOG_EVERY), Some(1));
    }
}
