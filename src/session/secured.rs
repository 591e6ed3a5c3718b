//! The TLS of a session: its control connection's, and what PBSZ and PROT have said of data connections.

use crate::tls::SessionTls;
use crate::tls::identity::Identity;
use crate::tls::options::Protection;

/// The TLS of a session, once its control connection is under it.
pub(super) struct Secured {
    pub(super) tls: SessionTls,
    /// Whether PBSZ was said.
    pub(super) buffer_size: bool,
    /// What PROT has said of data connections: whether they are private.
    pub(super) said: Option<bool>,
    /// Whether they are where it has said nothing.
    pub(super) implied: bool,
    /// Who the client certificate says the client is.
    pub(super) identity: Option<Identity>,
}

impl Secured {
    /// Whether data connections are private, where they should be as `policy` says.
    pub(super) fn private(&self, policy: Protection) -> bool {
        self.said
            .unwrap_or(self.implied && policy != Protection::Off)
    }
}
