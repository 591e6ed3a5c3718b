//! Whether an accepted connection becomes a session: limits in all and per address, bans, and the PROXY header by which
//! a load balancer says whose connection it is.
//!
//! A connection has a place among all sessions from its accept on, also while its header has not come, so that those
//! who never send one are bounded by the same limit. Its address counts as soon as it is known.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::auth::network_of;
use crate::config::Limits;
use crate::proxy::{Ends, Proxies};
use crate::session::{Gateway, Listener};

/// How long a refused client may take to read why.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Why a connection gets no session. The text is that of the 421.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// As many as there may be.
    #[error("Too many sessions")]
    Full,
    /// As many as an address may have.
    #[error("Too many sessions from your address")]
    AddressFull,
    /// Logins have failed too often.
    #[error("Too many failed logins from your address")]
    Banned,
}

/// Counts sessions, in all and per address.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Limits,
    proxies: Proxies,
    /// The lock is held for a look-up only.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    /// By address, or /64 of IPv6; without those that have no session.
    per_address: HashMap<IpAddr, usize>,
}

/// One session's place; free again on drop.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
}

/// Finds out whose connection it is, and whether he may come in; who may not is told so, and `None` returned.
pub(super) async fn admit(
    place: &mut Place,
    gateway: &Gateway,
    listener: &Listener,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, Ends)> {
    let proxies = &place.admission.proxies;
    let ends = tokio::select! {
        ends = proxies.ends(&mut stream, peer) => ends,
        () = gateway.drain.cancelled() => return None,
    };
    let ends = match ends {
        Ok(ends) => ends,
        Err(error) => {
            tracing::warn!(%peer, %error, "connection closed");
            return None;
        }
    };
    let address = ends.peer.ip();
    let admitted = if gateway.failures.bans_address(address) {
        Err(Refused::Banned)
    } else {
        place.take_for(address)
    };
    match admitted {
        Ok(()) => Some((stream, ends)),
        Err(refused) => {
            tracing::warn!(peer = %ends.peer, reason = %refused, "connection refused");
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

impl Admission {
    pub(super) fn new(limits: Limits, proxies: Proxies) -> Self {
        Admission {
            limits,
            proxies,
            held: Mutex::default(),
        }
    }

    /// A place for a connection of whom nothing is known yet.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Place, Refused> {
        let mut held = self.held();
        if held.total >= self.limits.sessions {
            return Err(Refused::Full);
        }
        held.total += 1;
        drop(held);
        Ok(Place {
            admission: Arc::clone(self),
            address: None,
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Each step leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts it for the address of its client.
    fn take_for(&mut self, address: IpAddr) -> Result<(), Refused> {
        let address = network_of(address);
        let mut held = self.admission.held();
        let here = held.per_address.get(&address).copied().unwrap_or(0);
        if here >= self.admission.limits.sessions_per_address {
            return Err(Refused::AddressFull);
        }
        held.per_address.insert(address, here + 1);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.admission.held();
        held.total -= 1;
        if let Some(address) = self.address
            && let Some(here) = held.per_address.get_mut(&address)
        {
            *here -= 1;
            if *here == 0 {
                held.per_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::config::ProxyConfig;

    use super::*;

    fn admission(sessions: usize, sessions_per_address: usize) -> Arc<Admission> {
        let limits = Limits {
            sessions,
            sessions_per_address,
            sessions_per_user: None,
            login_attempts: 3,
        };
        let none = ProxyConfig {
            networks: Vec::new(),
            header_timeout: REFUSAL_DEADLINE,
        };
        Arc::new(Admission::new(limits, Proxies::new(&none)))
    }

    fn enter(admission: &Arc<Admission>, address: &str) -> Result<Place, Refused> {
        let mut place = admission.enter()?;
        place.take_for(address.parse().unwrap())?;
        Ok(place)
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = admission(3, 2);
        let first = enter(&admission, "10.0.0.1").unwrap();
        let _second = enter(&admission, "::ffff:10.0.0.1").unwrap();
        assert_eq!(
            enter(&admission, "10.0.0.1").unwrap_err(),
            Refused::AddressFull
        );
        let third = enter(&admission, "10.0.0.2").unwrap();
        assert_eq!(enter(&admission, "10.0.0.3").unwrap_err(), Refused::Full);
        drop(first);
        let _again = enter(&admission, "10.0.0.1").unwrap();
        drop(third);
        assert_eq!(
            admission.held().per_address.len(),
            1,
            "addresses without sessions are forgotten"
        );
        // Of whom nothing is known yet counts, too.
        let _unknown = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err(), Refused::Full);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let admission = admission(10, 1);
        let _first = enter(&admission, "2001:db8::1").unwrap();
        assert_eq!(
            enter(&admission, "2001:db8::2").unwrap_err(),
            Refused::AddressFull
        );
        let _other = enter(&admission, "2001:db8:0:1::1").unwrap();
    }
}
