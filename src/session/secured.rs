//! The TLS of a session: of its control connection, and of its data connections as PBSZ and PROT
//! have set it.

use crate::tls::SessionTls;
use crate::tls::identity::Identity;
use crate::tls::options::Protection;

/// The TLS of a session whose control connection is under TLS.
pub(super) struct Secured {
    pub(super) tls: SessionTls,
    /// Whether PBSZ was sent.
    pub(super) buffer_size: bool,
    /// Whether data connections are private, as PROT has set it.
    pub(super) said: Option<bool>,
    /// Whether they are private without a PROT.
    pub(super) implied: bool,
    /// The identity in the client certificate.
    pub(super) identity: Option<Identity>,
}

impl Secured {
    /// Whether data connections are private under this policy.
    pub(super) fn private(&self, policy: Protection) -> bool {
        self.said
            .unwrap_or(self.implied && policy != Protection::Off)
    }
}
