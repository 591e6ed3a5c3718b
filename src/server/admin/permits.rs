//! [`PagePermits`]: how many pages are sent at the same time.
//!
//! A page may hold a megabyte until its client has read it. So the number of pages is bounded, and a
//! client that reads slowly must not keep others from theirs: one address holds only a few, and some
//! are reserved for those who know the token.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::network_of;

/// The most pages at the same time, without the reserved ones.
const SHARED: usize = 12;

/// The most of them that one address holds.
const OF_ONE_ADDRESS: usize = 4;

/// The most pages of requests with the token that exceed the others.
const RESERVED: usize = 4;

/// The permits of a server.
#[derive(Debug, Default)]
pub(super) struct PagePermits(Mutex<HeldPermits>);

#[derive(Debug, Default)]
struct HeldPermits {
    by_address: HashMap<IpAddr, usize>,
    reserved: usize,
}

/// Allows one page, until it is dropped.
#[derive(Debug)]
pub(super) struct PagePermit {
    permits: Arc<PagePermits>,
    /// Whose; `None`: a reserved one.
    address: Option<IpAddr>,
}

impl PagePermits {
    /// A permit for a client at this address.
    pub(super) fn take(self: &Arc<Self>, from: IpAddr) -> Option<PagePermit> {
        let address = network_of(from);
        let mut held = self.held();
        let own = held.by_address.get(&address).copied().unwrap_or_default();
        let all: usize = held.by_address.values().sum();
        if own >= OF_ONE_ADDRESS || all >= SHARED {
            return None;
        }
        held.by_address.insert(address, own + 1);
        Some(self.permit(Some(address)))
    }

    /// A reserved permit, for a client that knows the token.
    pub(super) fn take_reserved(self: &Arc<Self>) -> Option<PagePermit> {
        let mut held = self.held();
        if held.reserved >= RESERVED {
            return None;
        }
        held.reserved += 1;
        Some(self.permit(None))
    }

    fn permit(self: &Arc<Self>, address: Option<IpAddr>) -> PagePermit {
        PagePermit {
            permits: Arc::clone(self),
            address,
        }
    }

    fn held(&self) -> MutexGuard<'_, HeldPermits> {
        // It is right between any two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PagePermit {
    fn drop(&mut self) {
        let mut held = self.permits.held();
        let Some(address) = self.address else {
            held.reserved -= 1;
            return;
        };
        match held.by_address.get_mut(&address) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.by_address.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> IpAddr {
        // Of IPv6, the /64 counts.
        let text = format!("2001:db8:0:{:x}::{number:x}", number / 10);
        text.parse().unwrap_or(IpAddr::from([0; 4]))
    }

    #[test]
    fn an_address_has_a_few_and_all_addresses_leave_the_reserved_ones() {
        let permits = Arc::<PagePermits>::default();
        let mut held = Vec::new();
        for number in 0..40 {
            held.extend(permits.take(address(number)));
        }
        assert_eq!(held.len(), SHARED);
        for network in 0..3 {
            let of_one = held
                .iter()
                .filter(|permit| permit.address == Some(network_of(address(10 * network))));
            assert_eq!(of_one.count(), OF_ONE_ADDRESS);
        }
        let reserved: Vec<_> = (0..9).filter_map(|_| permits.take_reserved()).collect();
        assert_eq!(reserved.len(), RESERVED);
        // Each is given back to its own.
        drop(reserved);
        assert!(permits.take_reserved().is_some());
        assert!(permits.take(address(0)).is_none());
        held.remove(0);
        assert!(permits.take(address(0)).is_some());
        drop(held);
        assert!(permits.held().by_address.is_empty());
    }
}
