//! Data connections from an address that no session expects.
//!
//! If a session waits on the port for another address, the network between client and server has
//! probably changed one of the two: source NAT on one of the ways. The event names both addresses,
//! at most once a minute and pair, however often clients come.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::events::{Class, Event, Events, Kind, Level};

/// Shortest time between two events about one pair of addresses.
const EVERY: Duration = Duration::from_secs(60);

/// The pairs of which the last event is known. A pair that was pushed out gives an event early.
const PAIRS: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not 0");

/// Reports data connections that come from another address than their control connection.
#[derive(Debug)]
pub(super) struct Strangers {
    events: Events,
    /// By the expected address and that of the connection. The lock is held for a look-up only.
    seen: Mutex<LruCache<(IpAddr, IpAddr), Seen>>,
}

#[derive(Debug)]
struct Seen {
    last: Instant,
    /// Connections since then.
    silent: u64,
}

impl Strangers {
    pub(super) fn new(events: Events) -> Strangers {
        Strangers {
            events,
            seen: Mutex::new(LruCache::new(PAIRS)),
        }
    }

    /// A connection came `from` an address other than that of the session that waits.
    pub(super) fn came(&self, expected: IpAddr, from: SocketAddr, port: u16) {
        let Some(count) = self.count((expected, from.ip()), Instant::now()) else {
            return;
        };
        let mut event = Event::new(Kind::DataStranger, Level::Warn);
        event.peer = Some(SocketAddr::new(expected, 0));
        event.data_peer = Some(from);
        event.class = Some(Class::NoDataConnection);
        event.count = Some(count);
        event.reason = Some(
            format!("a data connection to port {port} came from another address than the control connection")
                .into(),
        );
        self.events.send(event);
    }

    /// The number of connections that the event stands for; `None` if it is not due.
    fn count(&self, pair: (IpAddr, IpAddr), now: Instant) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(&pair) {
            Some(seen) if now.saturating_duration_since(seen.last) < EVERY => {
                seen.silent += 1;
                None
            }
            Some(seen) => {
                seen.last = now;
                Some(std::mem::take(&mut seen.silent) + 1)
            }
            None => {
                let last = now;
                seen.put(pair, Seen { last, silent: 0 });
                Some(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_gives_an_event_a_minute_that_counts_the_others() {
        let strangers = Strangers::new(Events::none());
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let start = Instant::now();
        let pair = (address(1), address(2));
        assert_eq!(strangers.count(pair, start), Some(1));
        assert_eq!(strangers.count(pair, start + EVERY / 2), None);
        assert_eq!(strangers.count((address(1), address(3)), start), Some(1));
        assert_eq!(strangers.count(pair, start + EVERY), Some(2));
        assert_eq!(strangers.count(pair, start + EVERY * 2), Some(1));
    }

    #[test]
    fn the_pairs_are_bounded() {
        let strangers = Strangers::new(Events::none());
        let now = Instant::now();
        for number in 0..5_000_u32 {
            let pair = (
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from(number.to_be_bytes()),
            );
            assert_eq!(strangers.count(pair, now), Some(1));
        }
        assert_eq!(
            strangers.seen.lock().map(|seen| seen.len()).ok(),
            Some(1024)
        );
    }
}
