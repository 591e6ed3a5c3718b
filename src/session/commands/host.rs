//! HOST (RFC 7151): which virtual host a session is on.
//!
//! A TLS handshake that names a virtual host (SNI) chooses it. After it, HOST with any other name
//! is refused: the certificate that the client has checked is for the name of the handshake, and
//! need not be valid for another. If the handshake names no host, HOST chooses. HOST before the
//! handshake chooses the certificate ([`crate::tls::Tls::session`]).

use std::sync::Arc;

use crate::session::options::{HostOptions, host_key};
use ftp_proto::command::HostName;

use crate::session::replies::{Handled, Refusal, success};
use crate::session::state::Session;

impl Session {
    /// Chooses a virtual host; the reply is its greeting. REIN undoes the choice, a new USER does
    /// not (RFC 7151, 3.2.1).
    pub(in crate::session) fn choose_host(&mut self, wanted: &HostName) -> Handled {
        if !self.has_hosts() {
            return Err(Refusal::NotOffered("HOST"));
        }
        let named = self.host_of_handshake();
        let chosen = match wanted {
            // The address that the client has connected to: as if HOST had not been sent.
            HostName::Address(address) if *address == self.control.local.ip() => named,
            HostName::Address(_) => return Err(Refusal::NoSuchHost),
            HostName::Name(name) => {
                let asked_for = self.control.server_name();
                if asked_for.is_some_and(|asked_for| host_key(asked_for) != host_key(name)) {
                    return Err(Refusal::HostNotOfHandshake);
                }
                Some(self.host_named(name).ok_or(Refusal::NoSuchHost)?)
            }
        };
        self.enter_host(chosen);
        Ok(success::greeting(&self.greeting()))
    }

    /// The session is on this virtual host from now on.
    pub(in crate::session) fn enter_host(&mut self, host: Option<Arc<HostOptions>>) {
        let name = host.as_ref().map(|host| host.name.as_str().into());
        self.chronicle.change(|facts| facts.host = name);
        self.host = host;
    }

    /// The one that the client has named in its TLS handshake.
    pub(in crate::session) fn host_of_handshake(&self) -> Option<Arc<HostOptions>> {
        self.host_named(self.control.server_name()?)
    }

    fn host_named(&self, name: &str) -> Option<Arc<HostOptions>> {
        self.configured.hosts.get(&host_key(name)).cloned()
    }

    /// Whether HOST works.
    pub(in crate::session) fn has_hosts(&self) -> bool {
        !self.configured.hosts.is_empty()
    }

    /// The virtual host's greeting if it has one, else the server's.
    pub(in crate::session) fn greeting(&self) -> String {
        let own = self.host.as_ref().and_then(|host| host.greeting.as_ref());
        own.unwrap_or(&self.context.options.greeting).clone()
    }

    /// Whether a user may log in on the session's virtual host.
    pub(in crate::session) fn host_admits(&self, user: &str) -> bool {
        self.host.as_ref().is_none_or(|host| host.admits(user))
    }
}
