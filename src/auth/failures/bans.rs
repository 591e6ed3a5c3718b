//! The bans as an operator sees them. The tables of buckets know only hashes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use tokio::time::Instant;

/// The most bans that are listed. More can be in force.
const MOST: usize = 1_000;

/// The most characters of a user's name that are kept.
const LONGEST_USER: usize = 100;

/// An address or a user that is refused for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Its number.
    pub id: u64,
    /// The address (of IPv6 its /64) at which it holds; `None`: at each.
    pub address: Option<IpAddr>,
    /// The user who can't log in; `None`: no user can.
    pub user: Option<Box<str>>,
    /// Its end.
    pub until: Instant,
}

/// Which bucket is the ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BanKey {
    Address(u64),
    User(u64),
    UserAtAddress(u64),
}

/// The bans that are listed, by number.
#[derive(Debug, Default)]
pub(super) struct BanList {
    next: u64,
    bans: BTreeMap<u64, (Ban, BanKey)>,
}

impl BanList {
    /// Lists a ban. If there are too many, the oldest one is no longer listed.
    pub(super) fn add(
        &mut self,
        key: BanKey,
        address: Option<IpAddr>,
        user: Option<&str>,
        until: Instant,
    ) {
        let id = self.next;
        self.next += 1;
        let user = user.map(|user| user.chars().take(LONGEST_USER).collect::<String>().into());
        let ban = Ban {
            id,
            address,
            user,
            until,
        };
        self.bans.insert(id, (ban, key));
        if self.bans.len() > MOST {
            self.bans.pop_first();
        }
    }

    /// The bans that hold, the newest first.
    pub(super) fn all(&mut self, now: Instant) -> Vec<Ban> {
        self.bans.retain(|_, (ban, _)| ban.until > now);
        self.bans
            .values()
            .rev()
            .map(|(ban, _)| ban.clone())
            .collect()
    }

    /// Takes a ban out of the list.
    pub(super) fn remove(&mut self, id: u64, now: Instant) -> Option<(Ban, BanKey)> {
        self.bans.remove(&id).filter(|(ban, _)| ban.until > now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_list_is_bounded_and_forgets_what_has_ended() {
        let mut list = BanList::default();
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        for number in 0..MOST as u64 + 3 {
            let long = "x".repeat(1000);
            list.add(BanKey::UserAtAddress(number), address, Some(&long), soon);
        }
        let all = list.all(now);
        assert_eq!(all.len(), MOST);
        assert_eq!(all.first().map(|ban| ban.id), Some(MOST as u64 + 2));
        let name = all.first().and_then(|ban| ban.user.clone());
        assert_eq!(name.map(|name| name.len()), Some(LONGEST_USER));
        assert!(list.remove(1, now).is_none());
        let removed = list.remove(5, now).map(|(_, key)| key);
        assert_eq!(removed, Some(BanKey::UserAtAddress(5)));
        assert!(list.remove(5, now).is_none());
        assert!(list.remove(6, soon).is_none());
        assert!(list.all(soon).is_empty() && list.bans.is_empty());
    }
}
