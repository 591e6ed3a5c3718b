//! HOST (RFC 7151): which virtual host a session is on.

use crate::config::host_key;
use crate::protocol::Reply;
use crate::protocol::command::HostName;

use super::{Handled, Session};

impl Session {
    /// Chooses a virtual host; answered by its greeting. REIN takes it back, a new USER does not (RFC 7151, 3.2.1).
    pub(super) fn choose_host(&mut self, wanted: &HostName) -> Handled {
        if !self.has_hosts() {
            return Err(Reply::new(502, "HOST is not offered"));
        }
        let chosen = match wanted {
            // The address that the client has reached anyway: as if HOST had not been sent.
            HostName::Address(address) if *address == self.control.local.ip() => None,
            HostName::Address(_) => return Err(unknown()),
            HostName::Name(name) => {
                let host = self.gateway.config.hosts.get(&host_key(name));
                Some(host.cloned().ok_or_else(unknown)?)
            }
        };
        self.host = chosen;
        Ok(Reply::new(220, self.greeting()))
    }

    /// Whether HOST works.
    pub(super) fn has_hosts(&self) -> bool {
        !self.gateway.config.hosts.is_empty()
    }

    /// Of the virtual host, where it has one.
    pub(super) fn greeting(&self) -> String {
        let own = self.host.as_ref().and_then(|host| host.greeting.as_ref());
        own.unwrap_or(&self.gateway.config.greeting).clone()
    }

    /// Whether a user may log in where the session is.
    pub(super) fn host_admits(&self, user: &str) -> bool {
        self.host.as_ref().is_none_or(|host| host.admits(user))
    }
}

fn unknown() -> Reply {
    Reply::new(504, "There is no such host here")
}
