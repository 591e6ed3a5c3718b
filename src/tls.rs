//! TLS: certificates, client certificates, session resumption; what AUTH and PROT P put on a connection.
//!
//! ```text
//! files ── material ──▶ certificates (by SNI), client CA ──▶ one ServerConfig, swapped when the files change
//!                                                                │ at a control connection's handshake
//!                                                                ▼
//!                                               SessionTls: a copy for the control connection and one for its data
//!                                               connections, both with the session's own resumption cache
//! ```
//!
//! Each control session has a resumption cache of its own ([`resumption`]), so a data connection that resumes proves
//! that its client is the one of the control connection: nobody else has the secret. That is what
//! `require_session_reuse` asks for. Tickets of TLS 1.3 go out on the control connection only: a client that only
//! writes on a data connection, and closes it with a ticket unread, makes its kernel send a reset, and what it has
//! written is lost (seen with the TLS 1.3 of Perl, Ruby, Go and rclone).
//!
//! Between rustls and TCP is a [`socket`], which bounds handshakes and follows records.
//!
//! Application protocols (ALPN): a client that offers some must offer `ftp` (on data connections `ftp-data` is taken
//! too), else its handshake is refused: a browser that was led here speaks HTTP (the ALPACA attack).

mod certificates;
pub mod identity;
mod material;
mod resumption;
pub mod socket;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{ClientCertificates, TlsConfig, TlsVersion};

use certificates::{BySni, ForSession};
pub use certificates::{Summary, certificate, read_authorities};
use material::Material;
pub use material::{About, MaterialError};
use resumption::Resumption;
use socket::Handshakes;

/// What a control connection speaks.
const ALPN_CONTROL: [&[u8]; 1] = [b"ftp"];
/// What a data connection speaks: some clients tell the two apart.
const ALPN_DATA: [&[u8]; 2] = [b"ftp-data", b"ftp"];

/// TLS 1.3 tickets sent on a control connection. Most clients use one again and again; some (curl, Java) each only once,
/// and begin a new session then.
const TICKETS: usize = 4;
/// The same where data connections must resume: such clients are refused when they have used the last that they keep,
/// which is up to the client. A ticket is 103 bytes on the wire, and about 200 in memory while the session lasts.
const TICKETS_REQUIRED: usize = 32;

/// The longest handshake of a client without a certificate, bytes; those of real ones have less than 3 KiB. What
/// follows it may be among them, see [`socket`].
const LONGEST_HANDSHAKE: usize = 16 * 1024;
/// Of one that may have a certificate, which has its issuers behind it: as much as rustls takes of one message.
const LONGEST_HANDSHAKE_CERTIFIED: usize = 64 * 1024;

/// The TLS of a server. Certificates come from files and follow them.
#[derive(Debug)]
pub struct Tls {
    config: TlsConfig,
    current: ArcSwap<Current>,
    /// Somebody wants the files looked at.
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct Current {
    /// Of the contents that were read last, right or wrong.
    fingerprint: [u8; 32],
    server: Arc<ServerConfig>,
    certificates: Arc<BySni>,
}

/// The TLS of one control session.
#[derive(Debug)]
pub struct SessionTls {
    /// For the control connection's handshake.
    pub control: Handshakes,
    /// For those of its data connections.
    pub data: Handshakes,
    resumption: Arc<Resumption>,
    certificates: Arc<ForSession>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first that is wrong with them.
    pub fn load(config: &TlsConfig) -> Result<Tls, MaterialError> {
        let material = Material::read(config)?;
        let (server, certificates) = server_config(config, &material)?;
        let current = Current {
            fingerprint: material.fingerprint(),
            server,
            certificates,
        };
        Ok(Tls {
            config: config.clone(),
            current: ArcSwap::from_pointee(current),
            wanted: Arc::new(Notify::new()),
        })
    }

    /// For a control connection whose handshake is about to begin; its client has named `host` by HOST. A handshake that
    /// names nobody (SNI) gets that one's certificate.
    pub fn session(&self, host: Option<&str>) -> SessionTls {
        let current = self.current.load();
        let tickets = if self.config.require_session_reuse {
            TICKETS_REQUIRED
        } else {
            TICKETS
        };
        let longest = match self.config.client_certificates {
            ClientCertificates::Off => LONGEST_HANDSHAKE,
            _ => LONGEST_HANDSHAKE_CERTIFIED,
        };
        let resumption = Arc::new(Resumption::new(tickets));
        let certificates = Arc::new(ForSession::new(&current.certificates, host));
        let with = |protocols: &[&[u8]], tickets| {
            let mut config = ServerConfig::clone(&current.server);
            config.session_storage = Arc::clone(&resumption) as _;
            config.cert_resolver = Arc::clone(&certificates) as _;
            config.send_tls13_tickets = tickets;
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            Handshakes {
                config: Arc::new(config),
                longest,
            }
        };
        SessionTls {
            control: with(&ALPN_CONTROL, tickets),
            data: with(&ALPN_DATA, 0),
            resumption,
            certificates,
        }
    }

    /// Whether data connections must resume the session of their control connection.
    pub fn requires_session_reuse(&self) -> bool {
        self.config.require_session_reuse
    }

    /// Has [`follow`](Self::follow) look at the files now.
    pub fn look(&self) {
        self.wanted.notify_one();
    }

    /// Follows the files until `stop`: looks at their contents now and then (`tls.reload`), which finds them however
    /// they are replaced, Kubernetes' swap of a symbolic link included. What is wrong is logged, and what was there
    /// stays. Handshakes that begin from then on use what is new.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let period = self.config.reload;
            let pause = async {
                if period.is_zero() {
                    std::future::pending::<()>().await;
                }
                sleep(period).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => {}
                () = pause => {}
            }
            let this = Arc::clone(&self);
            // Reads files, which may lie on a slow disk.
            let looked = tokio::task::spawn_blocking(move || this.refresh()).await;
            match looked {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => tracing::info!("TLS certificates were read anew"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "TLS certificates can't be read anew, the old ones stay");
                }
                Err(error) => tracing::error!(%error, "reading TLS certificates anew failed"),
            }
        }
    }

    /// Reads the files, and takes them over where they have changed since they were read last; whether they had.
    fn refresh(&self) -> Result<bool, MaterialError> {
        let material = Material::read(&self.config)?;
        let fingerprint = material.fingerprint();
        let current = self.current.load_full();
        if current.fingerprint == fingerprint {
            return Ok(false);
        }
        let (server, certificates, result) = match server_config(&self.config, &material) {
            Ok((server, certificates)) => (server, certificates, Ok(true)),
            Err(error) => {
                let old = (&current.server, &current.certificates);
                (Arc::clone(old.0), Arc::clone(old.1), Err(error))
            }
        };
        // Remembered although it may be wrong: it need not be said again before it changes.
        self.current.store(Arc::new(Current {
            fingerprint,
            server,
            certificates,
        }));
        result
    }
}

impl SessionTls {
    /// The control connection's handshake is done, in which the client has asked for `server_name`. What it has put
    /// into the cache can be resumed, and nothing else; its data connections show the certificate that it has shown.
    pub fn established(&self, server_name: Option<&str>) {
        self.resumption.close();
        if let Some(name) = server_name {
            self.certificates.asked_for(name);
        }
    }
}

/// The provider of cryptography.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// All but what is a session's own, and the certificates.
fn server_config(
    config: &TlsConfig,
    material: &Material,
) -> Result<(Arc<ServerConfig>, Arc<BySni>), MaterialError> {
    static SINCE_12: [&SupportedProtocolVersion; 2] =
        [&rustls::version::TLS13, &rustls::version::TLS12];
    static SINCE_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    let versions: &[_] = match config.min_version {
        TlsVersion::V12 => &SINCE_12,
        TlsVersion::V13 => &SINCE_13,
    };
    let certificates = Arc::new(BySni::new(config, material)?);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| MaterialError::new(About::Certificate(0), error.to_string()))?;
    let builder = match client_verifier(config, material)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let server = builder.with_cert_resolver(Arc::clone(&certificates) as _);
    Ok((Arc::new(server), certificates))
}

fn client_verifier(
    config: &TlsConfig,
    material: &Material,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, MaterialError> {
    let Some(pem) = &material.client_ca else {
        return Ok(None);
    };
    let roots = certificates::authorities(pem)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match config.client_certificates {
        ClientCertificates::Off => return Ok(None),
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    let verifier = builder
        .build()
        .map_err(|error| MaterialError::new(About::ClientCa, error.to_string()))?;
    Ok(Some(verifier))
}

/// How often files are looked at where the configuration says nothing.
pub const DEFAULT_RELOAD: Duration = Duration::from_secs(30);
