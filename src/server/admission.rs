//! Whether an accepted connection becomes a session: bans, limits, and the PROXY header by which a load balancer says
//! whose connection it is.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::auth::{Refused, SessionPermit};
use crate::net::proxy::{ConnectionAddrs, Proxies};
use crate::session::{Listener, ServerContext};

/// How long a refused client may take to read why.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Refusals are told in the log this often at most: whoever connects without end is not to fill it.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What the accept tasks share.
#[derive(Debug)]
pub(super) struct ConnectionAdmission {
    pub(super) proxies: Proxies,
    log: Mutex<RefusalLog>,
}

#[derive(Debug, Default)]
struct RefusalLog {
    last: Option<Instant>,
    /// Refusals since, of which there was no word.
    silent: u64,
}

impl ConnectionAdmission {
    pub(super) fn new(proxies: Proxies) -> Self {
        ConnectionAdmission {
            proxies,
            log: Mutex::default(),
        }
    }

    /// A place for a connection from there, where it may come in as far as is known now.
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

    /// A refusal, for the log.
    pub(super) fn refused(&self, peer: SocketAddr, reason: Refused) {
        let others = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.next(Instant::now())
        };
        if let Some(others) = others {
            tracing::warn!(%peer, %reason, others, "connection refused");
        }
    }
}

impl RefusalLog {
    /// Whether this one is told; how many before it were not.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now - last < LOG_EVERY) {
            self.silent += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

/// Finds out whose connection it is where a header tells it, and whether he may come in; who may not is told so, and `None`
/// returned.
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

/// Says why. A courtesy: whoever does not take it goes without, and where TLS begins with the first byte (`implicit`)
/// there is no way to say it.
pub(super) async fn refuse(mut stream: TcpStream, implicit: bool, refused: Refused) {
    if implicit {
        return;
    }
    let line = format!("421 {refused}, try again later\r\n");
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, stream.write_all(line.as_bytes())).await;
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
