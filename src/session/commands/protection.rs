//! AUTH, PBSZ, PROT, CCC (RFC 2228, 4217) and implicit TLS: which connections are under TLS, and
//! which must be.
//!
//! The listener says whether TLS is off, optional or required, for control and for data
//! connections. An account can override it, after the password was right: an earlier refusal would
//! disclose that the user exists. If the listener requires TLS, USER is refused before AUTH, so
//! that no client sends a password in the clear.
//!
//! AUTH resets the session and empties its buffers, so that bytes which an attacker injected before
//! the handshake have no effect after it. There is no way back to plaintext: CCC and REIN are
//! refused under TLS.

use std::sync::Arc;

use tokio::time::Instant;

use crate::auth::options::UserOptions;
use crate::data::secure::DataTls;
use crate::events::{Cause, Kind, Level};
use crate::tls::Tls;
use crate::tls::identity::Identity;
use crate::tls::options::Protection;
use ftp_proto::command::{AuthMechanism, ProtectionLevel};

use crate::session::control::{ControlError, HandshakeError};
use crate::session::data_setup::DataSetup;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::secured::Secured;
use crate::session::state::{Flow, Session};

impl Session {
    /// Implicit TLS: the handshake, before the greeting.
    pub(in crate::session) async fn begin_implicit(&mut self) -> Result<(), ControlError> {
        let Some(tls) = self.context.tls.clone() else {
            return Err(ControlError::Lost);
        };
        // Data connections are private by default: there is no AUTH that a client could follow by
        // PROT.
        self.handshake(&tls, None, true).await
    }

    /// AUTH.
    pub(in crate::session) async fn auth(
        &mut self,
        mechanism: AuthMechanism,
    ) -> Result<Flow, ControlError> {
        let tls = match self.offered_tls() {
            Some(_) if self.control.is_secure() => Err(Refusal::AlreadyUnderTls),
            Some(tls) => Ok(tls),
            None => Err(Refusal::NotOffered("AUTH")),
        };
        let tls = match tls {
            Ok(tls) => tls,
            Err(refusal) => {
                self.control.reply(&refusal.into()).await?;
                return Ok(Flow::Continue);
            }
        };
        self.control.reply(&success::begin_handshake()).await?;
        self.held.clear();
        // Of the choice by HOST, only the certificate remains.
        let host = self.host.take();
        self.reset();
        let host = host.as_ref().map(|host| host.name.as_str());
        self.handshake(&tls, host, mechanism.implies_private())
            .await?;
        Ok(Flow::Continue)
    }

    async fn handshake(
        &mut self,
        tls: &Tls,
        host: Option<&str>,
        private: bool,
    ) -> Result<(), ControlError> {
        let session = tls.session(host);
        let login = self
            .pre_login
            .deadline
            .saturating_duration_since(Instant::now());
        let deadline = self.context.options.timeouts.tls_handshake.min(login);
        // Boxed: a handshake holds much more than an idle session should.
        let done = Box::pin(self.control.secure(&session.control, deadline)).await;
        if let Err(error) = done {
            self.note_handshake(&error);
            return Err(ControlError::Lost);
        }
        session.established(self.control.server_name());
        // The choice by HOST in the clear is forgotten with the rest.
        self.enter_host(self.host_of_handshake());
        let tls = self.control.tls_version();
        self.chronicle.change(|facts| facts.tls = tls);
        let identity = self.control.client_certificate().map(Identity::of);
        tracing::debug!(
            peer = %self.control.peer,
            version = self.control.tls_version(),
            server_name = self.control.server_name(),
            client_certificate = ?identity,
            "TLS begins"
        );
        self.secured = Some(Box::new(Secured {
            tls: session,
            buffer_size: private,
            said: None,
            implied: private,
            identity,
        }));
        Ok(())
    }

    /// Reports a handshake that is not done. Load balancers probe a port all the time: a handshake that
    /// did not begin does not count as a refused login, and neither does one that the server cuts.
    fn note_handshake(&mut self, error: &HandshakeError) {
        let reason = match error {
            HandshakeError::Unbegun => error.to_string(),
            HandshakeError::Cut if self.chronicle.live().ended() => {
                Refusal::SessionEnded.to_string()
            }
            HandshakeError::Cut => Refusal::ShuttingDown.to_string(),
            HandshakeError::Failed(_) => "the TLS handshake failed".to_owned(),
        };
        if let HandshakeError::Failed(error) = error {
            let mut event = self.chronicle.event(Kind::LoginRefused, Level::Info);
            event.cause = Some(Cause::Tls);
            event.reason = Some(reason.as_str().into());
            event.detail = Some(error.to_string().into());
            self.chronicle.send(event);
        }
        self.chronicle.ends(reason);
    }

    /// PBSZ (RFC 4217, 9): TLS has no blocks, so the size is 0.
    pub(in crate::session) fn pbsz(&mut self) -> Handled {
        if self.offered_tls().is_none() {
            return Err(Refusal::NotOffered("PBSZ"));
        }
        let secured = self.secured.as_mut().ok_or(Refusal::AuthFirst)?;
        secured.buffer_size = true;
        Ok(success::buffer_size())
    }

    /// PROT (RFC 4217, 9). A data connection that already exists is closed: it began at the other
    /// level.
    pub(in crate::session) fn prot(&mut self, level: ProtectionLevel) -> Handled {
        if self.offered_tls().is_none() {
            return Err(Refusal::NotOffered("PROT"));
        }
        let policy = self.data_policy();
        let secured = self.secured.as_mut().ok_or(Refusal::AuthFirst)?;
        if !secured.buffer_size {
            return Err(Refusal::PbszFirst);
        }
        let private = match level {
            ProtectionLevel::Clear if policy == Protection::Required => {
                return Err(Refusal::ProtClear);
            }
            ProtectionLevel::Private if policy == Protection::Off => {
                return Err(Refusal::ProtPrivate);
            }
            ProtectionLevel::Clear => false,
            ProtectionLevel::Private => true,
            ProtectionLevel::Safe | ProtectionLevel::Confidential => {
                return Err(Refusal::ProtLevel);
            }
        };
        let before = secured.private(policy);
        secured.said = Some(private);
        if before != private {
            self.protect_data_anew();
        }
        Ok(success::data_protection(private))
    }

    /// CCC (RFC 4217, 12.3) is always refused: after it an attacker in the network could send
    /// commands.
    pub(in crate::session) fn ccc(&self) -> Handled {
        if self.offered_tls().is_none() {
            return Err(Refusal::NotOffered("CCC"));
        }
        Err(match self.secured {
            Some(_) => Refusal::CccUnderTls,
            None => Refusal::CccWithoutTls,
        })
    }

    /// By RFC 4217 REIN ends TLS, which is as unsafe as CCC. Clients differ in what they expect of
    /// it.
    pub(in crate::session) fn refuse_rein(&self) -> Result<(), Refusal> {
        match self.secured {
            Some(_) => Err(Refusal::ReinUnderTls),
            None => Ok(()),
        }
    }

    /// Refuses USER before TLS if the listener requires TLS.
    pub(in crate::session) fn require_tls(&self) -> Result<(), Refusal> {
        if self.listener.control == Protection::Required && self.secured.is_none() {
            Err(Refusal::TlsRequired)
        } else {
            Ok(())
        }
    }

    /// The user of a name if the client's certificate is enough for a login.
    pub(in crate::session) fn by_certificate(&self, name: &str) -> Option<Arc<UserOptions>> {
        let identity = self.secured.as_ref()?.identity.as_ref()?;
        self.configured.accounts.by_certificate(name, identity)
    }

    /// Refuses a login whose password was right if the account requires more.
    pub(in crate::session) fn admit(&self, user: &UserOptions) -> Result<(), (Cause, Refusal)> {
        match (user.tls.control, &self.secured) {
            (Some(Protection::Required), None) => Err((Cause::Tls, Refusal::AccountNeedsTls)),
            (Some(Protection::Off), Some(_)) => Err((Cause::Tls, Refusal::AccountWithoutTls)),
            (_, secured) => {
                let identity = secured.as_ref().and_then(|s| s.identity.as_ref());
                match &user.certificate {
                    Some(wanted) if !identity.is_some_and(|own| own.is(&wanted.name)) => {
                        Err((Cause::Certificate, Refusal::AccountNeedsCertificate))
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// The TLS of the next data connection; `None` if it is in the clear.
    pub(in crate::session) fn data_tls(&self) -> Option<Arc<DataTls>> {
        let policy = self.data_policy();
        let secured = self.secured.as_ref().filter(|s| s.private(policy))?;
        let tls = self.context.tls.as_ref()?;
        Some(Arc::new(DataTls {
            handshakes: secured.tls.data.clone(),
            require_reuse: tls.requires_session_reuse(),
            client: self.control.client_certificate().cloned(),
            lenient_close: self
                .logged_in()
                .is_some_and(|user| user.config.lenient_close),
            deadline: self.context.options.timeouts.tls_handshake,
        }))
    }

    /// Refuses a transfer whose data connection would not meet the policy (522 as in vsftpd and
    /// ProFTPD).
    pub(in crate::session) fn check_data_protection(&self) -> Result<(), Refusal> {
        let policy = self.data_policy();
        let private = self.secured.as_ref().is_some_and(|s| s.private(policy));
        match policy {
            Protection::Required if !private => Err(match self.secured {
                Some(_) => Refusal::DataNeedsProt,
                None => Refusal::DataNeedsAuth,
            }),
            Protection::Off if private => Err(Refusal::DataWithoutTls),
            _ => Ok(()),
        }
    }

    /// The lines of FEAT.
    pub(in crate::session) fn tls_features(
        &self,
    ) -> (Option<&'static str>, &'static [&'static str]) {
        match self.offered_tls() {
            None => (None, &[]),
            Some(_) if self.listener.implicit => (None, &["PBSZ", "PROT"]),
            Some(_) => (Some("AUTH TLS"), &["PBSZ", "PROT"]),
        }
    }

    /// The lines of STAT.
    pub(in crate::session) fn tls_status(&self) -> String {
        match &self.secured {
            None => "The control connection is not under TLS".to_owned(),
            Some(secured) => format!(
                "The control connection is under {}, data connections are {}",
                self.control.tls_version().unwrap_or("TLS"),
                if secured.private(self.data_policy()) {
                    "private"
                } else {
                    "clear"
                },
            ),
        }
    }

    /// TLS if this listener offers it.
    pub(in crate::session) fn offered_tls(&self) -> Option<Arc<Tls>> {
        match self.listener.control {
            Protection::Off => None,
            _ => self.context.tls.clone(),
        }
    }

    fn data_policy(&self) -> Protection {
        let own = self.logged_in().and_then(|user| user.config.tls.data);
        own.unwrap_or(self.listener.data)
    }

    /// After PROT: closes a data connection that exists, and keeps a port without a connection.
    fn protect_data_anew(&mut self) {
        self.drop_connected_data();
        let now = self.data_tls();
        match &mut self.data {
            DataSetup::Passive { tls, .. } | DataSetup::Active { tls, .. } => *tls = now,
            DataSetup::None => {}
        }
    }
}

/// Verbs that are offered only with TLS.
pub(in crate::session) const VERBS: [&str; 4] = ["AUTH", "PBSZ", "PROT", "CCC"];
