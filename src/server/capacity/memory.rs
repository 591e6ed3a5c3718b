//! The memory of sessions before login: the number for which it suffices.
//!
//! Each connection takes some memory before any login, and it does not count in the budget. In a
//! small container many connections could push the process over its limit, which no transfer can.
//! So the server [caps](cap) the sessions before login to those that fit into a quarter of the
//! memory that is not in the budget. The rest is for sessions after login, the process itself and
//! free memory of the allocator.

use std::fmt;

use crate::server::capacity::machine;
use crate::server::options::ServerOptions;
use crate::units::human_bytes;

/// Memory of a session before its login, bytes: 16 KiB of TLS, 64 KiB of an unfinished handshake
/// message, and its own.
const UNDER_TLS: u64 = 104 * 1024;
/// Memory of a session before its login without TLS, bytes: its own, with an unfinished line.
const IN_THE_CLEAR: u64 = 24 * 1024;
/// The smallest cap: if even these don't fit, the budget is too large.
const LEAST: u64 = 64;

/// The memory suffices for fewer sessions before login than configured. The text has the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryShortage {
    /// The configured number.
    configured: usize,
    /// The memory that they may need, bytes.
    needed: u64,
    /// The memory of the process, bytes.
    memory: u64,
    /// The budget, bytes.
    budget: u64,
    /// The number for which it suffices.
    capped: usize,
}

/// The memory of the process, bytes: the limit of its cgroup or the machine's memory.
pub fn memory() -> u64 {
    machine::memory().unwrap_or(u64::MAX)
}

/// Caps the sessions before login to those that fit into `memory`, the memory of the process in
/// bytes. Returns the shortage, if any.
pub fn cap(config: &mut ServerOptions, memory: u64) -> Option<MemoryShortage> {
    let each = match &config.tls {
        Some(_) => UNDER_TLS,
        None => IN_THE_CLEAR,
    };
    let budget = config.memory.budget;
    let fit = (memory.saturating_sub(budget) / 4 / each).max(LEAST);
    let fit = usize::try_from(fit).unwrap_or(usize::MAX);
    let configured = config.limits.before_login;
    if configured <= fit {
        return None;
    }
    config.limits = config.limits.before_login_held_to(fit);
    Some(MemoryShortage {
        configured,
        needed: u64::try_from(configured)
            .unwrap_or(u64::MAX)
            .saturating_mul(each),
        memory,
        budget,
        capped: fit,
    })
}

impl fmt::Display for MemoryShortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "limits.sessions_before_login = {} may need {} of memory, and there are {}, of which {} are the budget's: \
             sessions before login are held to {}; raise the limit of memory, or lower memory.budget or \
             limits.sessions_before_login",
            self.configured,
            human_bytes(self.needed),
            human_bytes(self.memory),
            human_bytes(self.budget),
            self.capped
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::config;
    use crate::tls::options::{ClientCertificates, Protection, TlsOptions, TlsVersion};

    const MIB: u64 = 1024 * 1024;

    fn config(more: &str) -> ServerOptions {
        let text = format!(
            "{more}\nmemory.budget = \"256MiB\"\n\
             [stores.main]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n\
             [mounts.main]\nstore = \"main\"\nbucket = \"files\"\n\
             [users.u]\npassword = \"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\nmounts = {{ \"/\" = \"main\" }}\n"
        );
        config::from_str(&text, "test").unwrap()
    }

    /// Any options, since their values don't matter.
    fn tls() -> TlsOptions {
        TlsOptions {
            certificates: Vec::new(),
            control: Protection::Optional,
            data: Protection::Optional,
            min_version: TlsVersion::V12,
            require_session_reuse: false,
            client_ca: None,
            client_certificates: ClientCertificates::Off,
            reload: Duration::ZERO,
        }
    }

    #[test]
    fn sessions_before_login_are_held_to_what_fits() {
        for (tls, each) in [(None, 24), (Some(tls()), 104)] {
            let configured = || ServerOptions {
                tls: tls.clone(),
                ..config("")
            };
            let mut capped = configured();
            assert_eq!(capped.limits.before_login, 2_500);
            let shortage = cap(&mut capped, 400 * MIB).unwrap();
            let fit = 36 * 1024 / each;
            assert_eq!(capped.limits.before_login, fit);
            assert_eq!(capped.limits.before_login_per_address, 250.min(fit / 2));
            assert_eq!(capped.limits.sessions, 10_000);
            let text = shortage.to_string();
            let beginning = format!(
                "limits.sessions_before_login = 2500 may need {} of memory, and there are 400 MiB, of which 256 MiB are the budget's: \
                 sessions before login are held to {fit}; ",
                human_bytes(2_500 * u64::try_from(each).unwrap() * 1024)
            );
            assert!(text.starts_with(&beginning), "{text}");
            // The capped number fits.
            assert_eq!(cap(&mut capped, 400 * MIB), None);
            let mut all = configured();
            assert_eq!(cap(&mut all, 2048 * MIB), None);
            assert_eq!(all.limits, configured().limits);
        }
    }

    #[test]
    fn what_is_configured_lower_stays_and_some_are_always_let_in() {
        let few = "limits.sessions_before_login = 20\nlimits.sessions_before_login_per_address = 3";
        let mut capped = config(few);
        assert_eq!(cap(&mut capped, 100 * MIB), None);
        assert_eq!(
            (
                capped.limits.before_login,
                capped.limits.before_login_per_address
            ),
            (20, 3)
        );
        let mut capped = config("");
        cap(&mut capped, 100 * MIB).unwrap();
        assert_eq!(capped.limits.before_login, 64);
    }
}
