//! The sessions before login, and which of them is displaced for another.
//!
//! It is the oldest one of the network that has the most of them, if that network is a hoarder: the
//! hoarder pays, and no other network does. A network is an IPv4 address or the /48 of an IPv6
//! address: a home has up to a /56 and a company a /48, and a client that spreads its connections
//! over all of it still counts as one. A /48 has no limit of its own, unlike a /64, because
//! customers of one hoster may share it: they don't lock each other out, and what such a network
//! gains by its size it loses as soon as permits are short.
//!
//! A connection whose PROXY header has not arrived is a network of its own: it has the header's
//! deadline, and comes from a load balancer. If a load balancer opens many connections at once,
//! none of them must be displaced before its header is read.
//!
//! A few more than the newcomer's network has, as in an office or with a client that opens two
//! connections, are not a hoard. Then the oldest session of all is displaced, whichever network it
//! belongs to, once it has had the time to log in. If none has, a network that has clearly more
//! than the newcomer's, or more than half of all, pays; else the newcomer is refused. If each
//! newcomer ended another client's login, no client would ever get in.
//!
//! All look-ups use ordered maps, so the work for a connection grows with the logarithm of their
//! number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A client that wants to log in has done so within this time, including a handshake and the wait
/// for a core to check the password (10 s at most).
pub(super) const HEAD_START: Duration = Duration::from_secs(20);
/// This many more than twice what the newcomer's network has are a hoard.
const HOARD: usize = 8;

/// The sessions are numbered in ascending order, so the smallest number is the oldest session.
#[derive(Debug, Default)]
pub(super) struct Early {
    last: u64,
    networks: HashMap<Network, BTreeMap<u64, EarlySession>>,
    /// All sessions, with their networks.
    ages: BTreeMap<u64, Network>,
    /// All networks. The last is the one with the most sessions; of several, the one with the
    /// oldest session.
    ranks: BTreeSet<Rank>,
}

/// The network of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Network {
    Of(IpAddr),
    /// The network of the session with this number, whose PROXY header has not arrived.
    Unknown(u64),
}

/// The number of its sessions, and the oldest of them.
type Rank = (usize, Reverse<u64>, Network);

/// A session before login.
#[derive(Debug)]
pub(super) struct EarlySession {
    /// The address that it counts for, if it is known.
    pub(super) address: Option<IpAddr>,
    /// Ends it.
    pub(super) end: CancellationToken,
    since: Instant,
}

impl Early {
    pub(super) fn count(&self) -> usize {
        self.ages.len()
    }

    /// Adds a session and returns its number.
    pub(super) fn add(
        &mut self,
        address: Option<IpAddr>,
        end: CancellationToken,
        now: Instant,
    ) -> u64 {
        self.last += 1;
        let (number, since) = (self.last, now);
        let waiting = EarlySession {
            address,
            end,
            since,
        };
        self.put(number, waiting);
        number
    }

    /// Removes a session; `None`: it has been displaced.
    pub(super) fn remove(&mut self, address: Option<IpAddr>, number: u64) -> Option<EarlySession> {
        let removed = self.change(network(address, number), |its| its.remove(&number));
        if removed.is_some() {
            self.ages.remove(&number);
        }
        removed
    }

    /// The header of a session whose address was not known has arrived. Returns `false` if it has
    /// been displaced.
    pub(super) fn is_of(&mut self, address: IpAddr, number: u64) -> bool {
        let Some(waiting) = self.remove(None, number) else {
            return false;
        };
        let address = Some(address);
        self.put(number, EarlySession { address, ..waiting });
        true
    }

    /// Removes the session that is displaced for a newcomer; `None`: the newcomer is refused.
    pub(super) fn displace(
        &mut self,
        newcomer: Option<IpAddr>,
        now: Instant,
    ) -> Option<EarlySession> {
        let &(most, Reverse(its_oldest), of) = self.ranks.last()?;
        let of_newcomer = newcomer.and_then(|address| self.networks.get(&network_of(address)));
        let with_newcomer = 1 + of_newcomer.map_or(0, BTreeMap::len);
        let (&oldest, network) = self.ages.first_key_value()?;
        let since = self.networks.get(network)?.get(&oldest)?.since;
        let late = now.duration_since(since) >= HEAD_START;
        let number = if late && most <= 2 * with_newcomer + HOARD {
            oldest
        } else if most > 2 * with_newcomer + 1 || (most > with_newcomer && 2 * most > self.count())
        {
            its_oldest
        } else {
            return None;
        };
        let of = if number == oldest { network } else { &of };
        let address = self.networks.get(of)?.get(&number)?.address;
        self.remove(address, number)
    }

    fn put(&mut self, number: u64, waiting: EarlySession) {
        let network = network(waiting.address, number);
        self.change(network, |its| its.insert(number, waiting));
        self.ages.insert(number, network);
    }

    /// Changes the sessions of a network, and its rank.
    fn change<T>(
        &mut self,
        network: Network,
        change: impl FnOnce(&mut BTreeMap<u64, EarlySession>) -> T,
    ) -> T {
        let its = self.networks.entry(network).or_default();
        let before = rank(network, its);
        let changed = change(its);
        let after = rank(network, its);
        if its.is_empty() {
            self.networks.remove(&network);
        }
        if let Some(before) = before {
            self.ranks.remove(&before);
        }
        self.ranks.extend(after);
        changed
    }
}

fn rank(network: Network, its: &BTreeMap<u64, EarlySession>) -> Option<Rank> {
    let (&oldest, _) = its.first_key_value()?;
    Some((its.len(), Reverse(oldest), network))
}

fn network(address: Option<IpAddr>, number: u64) -> Network {
    address.map_or(Network::Unknown(number), network_of)
}

fn network_of(address: IpAddr) -> Network {
    Network::Of(match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 80))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// Sessions at these addresses, the oldest first, one a millisecond; and the instant of the
    /// last.
    fn waiting(addresses: &[&str]) -> (Early, Vec<u64>, Instant) {
        let mut early = Early::default();
        let mut now = Instant::now();
        let mut numbers = Vec::new();
        for address in addresses {
            now += Duration::from_millis(1);
            numbers.push(early.add(ip(address), CancellationToken::new(), now));
        }
        (early, numbers, now)
    }

    /// The address of the displaced session; checks that it is the oldest there.
    fn displaced(early: &mut Early, newcomer: &str, now: Instant) -> Option<String> {
        let displaced = early.displace(ip(newcomer), now)?;
        let its = early.networks.get(&network_of(displaced.address?));
        assert!(its.is_none_or(|its| its.values().all(|left| left.since > displaced.since)));
        assert!(its.is_none_or(|its| its.keys().all(|number| early.ages.contains_key(number))));
        assert_eq!(
            early.networks.values().map(BTreeMap::len).sum::<usize>(),
            early.count()
        );
        assert_eq!(early.networks.len(), early.ranks.len());
        displaced.address.map(|address| address.to_string())
    }

    #[test]
    fn the_oldest_of_a_hoarder_makes_room() {
        let of = |address, count| std::iter::repeat_n(address, count);
        let all: Vec<_> = of("10.0.0.9", 1)
            .chain(of("10.0.0.1", 5))
            .chain(of("10.0.0.2", 6))
            .collect();
        let (mut early, _, now) = waiting(&all);
        let mut displace = |newcomer| displaced(&mut early, newcomer, now);
        for expected in ["10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"] {
            assert_eq!(displace("10.0.0.3").as_deref(), Some(expected));
        }
        // With one more the newcomer would have two.
        assert_eq!(displace("10.0.0.9"), None);
        assert_eq!(displace("10.0.0.3"), None, "three are not a hoard");
    }

    #[test]
    fn without_a_hoarder_the_oldest_of_all_makes_room_once_it_has_had_its_time() {
        let (mut early, _, now) = waiting(&[
            "10.0.0.9", "10.0.0.7", "10.0.0.8", "10.0.0.1", "10.0.0.5", "10.0.0.5", "10.0.0.5",
        ]);
        let soon = now + HEAD_START / 2;
        assert_eq!(displaced(&mut early, "10.0.0.3", soon), None);
        let later = now + HEAD_START;
        // Including those of an office that come while all permits are held by single silent
        // clients.
        for newcomer in ["10.0.0.5", "10.0.0.3"] {
            let displaced = displaced(&mut early, newcomer, later).unwrap();
            assert_ne!(displaced, "10.0.0.5");
            early.add(ip(newcomer), CancellationToken::new(), later);
        }
        for last in ["8", "1", "5", "5", "5"] {
            let displaced = displaced(&mut early, "10.0.0.3", later).unwrap();
            assert_eq!(displaced, format!("10.0.0.{last}"));
        }
        assert_eq!(displaced(&mut early, "10.0.0.3", later), None);
        assert_eq!(early.count(), 2);
    }

    #[test]
    fn a_hoarder_pays_though_others_are_older() {
        let mut all = vec!["10.0.0.9"];
        all.extend(std::iter::repeat_n("10.0.0.1", 3 + HOARD));
        let (mut early, _, now) = waiting(&all);
        let later = now + HEAD_START;
        let mut displace = || displaced(&mut early, "10.0.0.3", later).unwrap();
        assert_eq!(displace(), "10.0.0.1");
        assert_eq!(displace(), "10.0.0.9");
    }

    #[test]
    fn a_48_of_ipv6_is_one_network() {
        let (mut early, _, now) = waiting(&[
            "2001:db8:1:1::1",
            "10.0.0.1",
            "10.0.0.1",
            "2001:db8:1:2::1",
            "2001:db8:1:3::1",
            "2001:db8:1:ff00::1",
            "2001:db8:2::1",
        ]);
        let first = displaced(&mut early, "10.0.0.3", now).unwrap();
        assert_eq!(first, "2001:db8:1:1::1");
        assert_eq!(displaced(&mut early, "2001:db8:1:9::1", now), None);
    }

    #[test]
    fn those_without_a_header_are_a_network_each_and_keep_their_age() {
        let mut early = Early::default();
        let now = Instant::now();
        let [first, second, third] =
            [(); 3].map(|()| early.add(None, CancellationToken::new(), now));
        assert!(early.displace(None, now).is_none());
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(early.is_of(address, second));
        assert!(!early.is_of(address, second), "it has come already");
        assert!(early.displace(Some(address), now).is_none());
        assert!(early.is_of(address, first));
        assert_eq!((early.count(), early.networks.len()), (3, 2));
        // Now it has two of three. The older of them came first, whenever its header arrived.
        let displaced = early.displace(None, now).unwrap();
        assert_eq!(displaced.address, Some(address));
        assert!(early.remove(Some(address), first).is_none());
        assert!(early.displace(None, now).is_none());
        let displaced = early.displace(None, now + HEAD_START).unwrap();
        assert_eq!(displaced.address, Some(address));
        assert!(
            early
                .displace(None, now + HEAD_START)
                .unwrap()
                .address
                .is_none()
        );
        assert!(!early.is_of(address, third), "it has made room");
        assert_eq!((early.count(), early.ranks.len()), (0, 0));
    }
}
