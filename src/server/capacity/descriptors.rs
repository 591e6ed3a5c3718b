//! File descriptors: the number that a configuration may need, and the sessions for which the limit
//! suffices.
//!
//! Each connection needs one. Without free descriptors no client can connect, and transfers fail
//! since no connection to a store can be made: silent connections could do that to all users. So
//! the server [raises](raise) the soft limit, which is 1,024 on most systems, to the hard one. If
//! that does not suffice, it [caps](cap) the number of sessions.
//!
//! A configuration may need:
//!
//! ```text
//!   64                    the log, the runtime, health endpoints, certificates being read, refusals
//! + 1    for each control listener, and for the health endpoints
//! + 1    for each passive port and listening address (a wildcard's serve all of its family)
//! + 128  for each store: idle connections and those of large transfers; nine or more stores share 1,024
//! + 1    for each session: its control connection
//! + 2    for each transfer: its data connection, and one to the store
//! + 1    for each data connection that its client has not closed yet: as many as transfers, at most 1,024
//! ```
//!
//! It assumes that a quarter of the sessions transfer at the same time
//! ([`Limits::transfers`](crate::auth::options::Limits)).

use std::collections::BTreeSet;
use std::fmt;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::auth::options::Limits;
use crate::data::linger;
use crate::data::options::PassivePorts;
use crate::server::options::ServerOptions;

/// Open files other than connections, and connections that are refused.
const RESERVE: u64 = 64;

/// The descriptors suffice for fewer sessions than configured. The text has the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorShortage {
    /// The configured number.
    configured: usize,
    /// The descriptors that it may need.
    needed: u64,
    /// The available descriptors.
    limit: u64,
    /// The number for which they suffice.
    capped: Limits,
}

/// Raises the soft limit to the hard one. Returns the resulting limit.
pub fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        // The limit is unknown, so nothing is capped.
        return u64::MAX;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "the limit of file descriptors can't be raised");
            soft
        }
    }
}

/// The current limit.
pub fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft)
}

/// The number of descriptors that a server with this configuration may need.
pub fn needed(config: &ServerOptions) -> u64 {
    fixed(config) + for_sessions(&config.limits)
}

/// Caps the sessions to those for which `limit` descriptors suffice; returns the shortage, if any.
pub fn cap(config: &mut ServerOptions, limit: u64) -> Option<DescriptorShortage> {
    let needed = needed(config);
    if needed <= limit {
        return None;
    }
    let room = limit.saturating_sub(fixed(config));
    let configured = config.limits.sessions;
    // More sessions need more descriptors: search the largest number that fits, at least one.
    let (mut fits, mut too_many) = (1, configured);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match for_sessions(&config.limits.held_to(middle)) <= room {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    config.limits = config.limits.held_to(fits);
    Some(DescriptorShortage {
        configured,
        needed,
        limit,
        capped: config.limits.clone(),
    })
}

fn fixed(config: &ServerOptions) -> u64 {
    let listened = config.listen.iter().map(|l| l.address.ip());
    let addresses: BTreeSet<_> = listened.map(|ip| config.passive_address(ip)).collect();
    let ports = match config.passive.ports {
        PassivePorts::Range(first, last) => usize::from(last.saturating_sub(first)) + 1,
        PassivePorts::Ephemeral(count) => usize::from(count),
    };
    let listeners = config.listen.len() + usize::from(config.admin.is_some());
    let stores = config.stores.values();
    let kept: usize = stores.map(|store| store.idle_connections).sum();
    RESERVE + number(listeners + ports * addresses.len() + kept)
}

fn for_sessions(limits: &Limits) -> u64 {
    let transfers = limits.transfers();
    number(limits.sessions + 2 * transfers + transfers.min(linger::MOST))
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl DescriptorShortage {
    /// Whether only a single session is left although more were configured, which makes no useful
    /// server.
    pub fn is_fatal(&self) -> bool {
        self.capped.sessions <= 1
    }
}

impl fmt::Display for DescriptorShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limits.sessions = {} may need {} file descriptors, and the limit is {}: sessions are held to {}, before \
             login to {}; raise the hard limit (ulimit -n, systemd's LimitNOFILE, nofile of a container), or lower \
             limits.sessions",
            self.configured,
            self.needed,
            self.limit,
            self.capped.sessions,
            self.capped.before_login
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config;

    fn config(more: &str) -> ServerOptions {
        let text = format!(
            "listen = [\"127.0.0.1:0\", \"127.0.0.1:1\", \"[::1]:0\"]\npassive.ports = \"auto:10\"\n{more}\n\
             [stores.main]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n\
             [mounts.main]\nstore = \"main\"\nbucket = \"files\"\n\
             [users.u]\npassword = \"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\nmounts = {{ \"/\" = \"main\" }}\n"
        );
        config::from_str(&text, "test").unwrap()
    }

    #[test]
    fn what_may_be_needed() {
        let config = config("[admin]\nlisten = \"127.0.0.1:9\"");
        let fixed = 64 + 4 + 20 + 128;
        assert_eq!(needed(&config), fixed + 10_000 + 2 * 2_500 + 1_024);
    }

    #[test]
    fn sessions_are_held_to_what_fits() {
        for limit in [256, 300, 1_000, 1_024, 4_096, 16_238] {
            let mut capped = config("");
            let shortage = cap(&mut capped, limit).unwrap();
            assert!(needed(&capped) <= limit, "{limit}");
            let limits = capped.limits.clone();
            let mut more = capped;
            more.limits = config("").limits.held_to(limits.sessions + 1);
            assert!(needed(&more) > limit, "{limit}: more would fit");
            assert!(limits.before_login <= (limits.sessions / 4).max(4));
            assert!(limits.before_login_per_address <= (limits.before_login / 2).max(2));
            let text = shortage.to_string();
            let beginning = format!(
                "limits.sessions = 10000 may need 16239 file descriptors, and the limit is {limit}: sessions are held to {}, ",
                limits.sessions
            );
            assert!(text.starts_with(&beginning), "{text}");
        }
        let mut all = config("");
        assert_eq!(cap(&mut all, 16_239), None);
        assert_eq!(all.limits.sessions, 10_000);
        // If not even two fit, the server must not start as if all were well.
        let mut one = config("");
        assert!(cap(&mut one, 10).unwrap().is_fatal());
        assert_eq!(one.limits.sessions, 1);
        assert!(!cap(&mut config(""), 256).unwrap().is_fatal());
    }

    #[test]
    fn many_stores_share_the_connections_that_are_kept() {
        let more = |stores: usize| -> String {
            let store = |n: usize| {
                format!(
                    "[stores.s{n}]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n"
                )
            };
            (1..stores).map(store).collect()
        };
        for (stores, kept) in [(1, 128), (8, 1024), (9, 9 * 113), (64, 1024), (500, 2000)] {
            let config = config(&more(stores));
            assert_eq!(fixed(&config), 64 + 3 + 20 + kept, "{stores} stores");
        }
        let mut config = config(&more(500));
        assert_eq!(cap(&mut config, 20_000), None);
    }

    #[test]
    fn what_is_configured_lower_stays() {
        let mut capped = config(
            "[limits]\nsessions_before_login = 20\nsessions_before_login_per_address = 3\nsessions_per_address = 40",
        );
        cap(&mut capped, 1_024).unwrap();
        let limits = capped.limits;
        assert_eq!(
            (
                limits.before_login,
                limits.before_login_per_address,
                limits.sessions_per_address
            ),
            (20, 3, 40)
        );
    }
}
