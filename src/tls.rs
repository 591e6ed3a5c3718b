//! TLS: certificates, client certificates and session resumption, for AUTH TLS and PROT P.
//!
//! ```text
//! files ─▶ certificates (by SNI), client CA ─▶ one ServerConfig, swapped when the files change
//!                                                   │ at a control connection's handshake
//!                                                   ▼
//!     SessionTls: a copy for the control connection and one for its data connections,
//!                 both with the session's own resumption cache
//! ```
//!
//! Each control session has a resumption cache of its own (`resumption`), so a data connection
//! that resumes proves that its client is the one of the control connection: no other client has
//! the secret. `require_session_reuse` asks for that. TLS 1.3 tickets go out on the control
//! connection only: a client that only writes on a data connection, and closes it with a ticket
//! unread, makes its kernel send a reset, and the data that it has written is lost (seen with the
//! TLS 1.3 of Perl, Ruby, Go and rclone).
//!
//! A [`socket`] between rustls and TCP limits handshakes and follows records.
//!
//! Application protocols (ALPN): a client that offers some must offer `ftp` (or `ftp-data` on data
//! connections), else its handshake is refused: a browser that was redirected here speaks HTTP (the
//! ALPACA attack).

mod certificates;
pub mod identity;
mod material;
pub mod options;
mod resumption;
pub mod socket;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::{Class, Event, Events, Kind, Level};
use crate::tls::options::{ClientCertificates, Pem, TlsOptions, TlsVersion};

use certificates::{BySni, Certificate, SessionCertificates, provider};
pub use certificates::{Summary, certificate, read_authorities};
pub use material::{About, MaterialError};
use material::{Contents, Reloadable, contents};
use resumption::Resumption;
use socket::Handshakes;

/// The application protocol of a control connection.
const ALPN_CONTROL: [&[u8]; 1] = [b"ftp"];
/// The application protocols of a data connection: some clients distinguish the two.
const ALPN_DATA: [&[u8]; 2] = [b"ftp-data", b"ftp"];

/// TLS 1.3 tickets sent on a control connection. Most clients use one ticket many times; some
/// (curl, Java) use each ticket once, and begin a new session after the last.
const TICKETS: usize = 4;
/// TLS 1.3 tickets sent on a control connection if data connections must resume. A client that uses
/// each ticket once is refused after its last one, and decides itself how many it keeps. A ticket
/// is 103 bytes on the wire, and about 200 in memory while the session lasts. Not more than 16: Go
/// closes a connection on which more messages without data arrive.
const TICKETS_REQUIRED: usize = 16;

/// The longest handshake of a client without a certificate, bytes; real ones have less than 3 KiB.
/// The bytes that follow the handshake may be counted, see [`socket`].
const LONGEST_HANDSHAKE: usize = 16 * 1024;
/// The longest handshake of a client that may send a certificate and its issuers, bytes: as much as
/// rustls takes of one message.
const LONGEST_HANDSHAKE_CERTIFIED: usize = 64 * 1024;

/// The TLS of a server. Certificates come from files and follow them.
#[derive(Debug)]
pub struct Tls {
    config: TlsOptions,
    current: ArcSwap<Current>,
    /// Notified when the files are to be read now.
    wanted: Arc<Notify>,
}

#[derive(Debug)]
struct Current {
    material: Material,
    server: Arc<ServerConfig>,
    certificates: Arc<BySni>,
}

/// The contents of the files.
#[derive(Debug)]
struct Material {
    /// In the configuration's order.
    certificates: Vec<Reloadable<Certificate>>,
    /// The verifier of client certificates, if they are checked.
    clients: Option<Reloadable<Verifier>>,
}

type Verifier = Option<Arc<dyn ClientCertVerifier>>;

/// The TLS of one control session.
#[derive(Debug)]
pub struct SessionTls {
    /// For the control connection's handshake.
    pub control: Handshakes,
    /// For the handshakes of its data connections.
    pub data: Handshakes,
    resumption: Arc<Resumption>,
    certificates: Arc<SessionCertificates>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The first problem with them.
    pub fn load(config: &TlsOptions) -> Result<Tls, MaterialError> {
        let material = Material::read(config)?;
        Ok(Tls {
            config: config.clone(),
            current: ArcSwap::from_pointee(Current::new(config, material)?),
            wanted: Arc::new(Notify::new()),
        })
    }

    /// Creates the TLS of a session whose control connection is about to begin its handshake;
    /// `host` is the host that its client has named by HOST. A handshake without a host name (SNI)
    /// gets that host's certificate.
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
        let certificates = Arc::new(SessionCertificates::new(&current.certificates, host));
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

    /// The certificates in use, in the configuration's order.
    pub fn certificates(&self) -> Vec<Summary> {
        let current = self.current.load();
        let certificates = current.material.certificates.iter();
        certificates.map(|piece| piece.good.summary()).collect()
    }

    /// Whether data connections must resume the session of their control connection.
    pub fn requires_session_reuse(&self) -> bool {
        self.config.require_session_reuse
    }

    /// Makes [`follow`](Self::follow) read the files now.
    pub fn look(&self) {
        self.wanted.notify_one();
    }

    /// Follows the files until `stop`: reads their contents at intervals (`tls.reload`), which
    /// notices every way of replacing them, including Kubernetes' swap of a symbolic link. Problems
    /// are logged when a file changes or after [`look`](Self::look), and the previous contents stay
    /// in use. New contents apply to handshakes that begin from then on.
    pub async fn follow(self: Arc<Self>, events: Events, stop: CancellationToken) {
        loop {
            let period = self.config.reload;
            let pause = async {
                if period.is_zero() {
                    std::future::pending::<()>().await;
                }
                sleep(period).await;
            };
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => true,
                () = pause => false,
            };
            let this = Arc::clone(&self);
            // Reads files, which may lie on a slow disk.
            let looked = tokio::task::spawn_blocking(move || this.refresh()).await;
            let changes = match looked {
                Ok(Ok(changes)) => changes,
                Ok(Err(error)) => {
                    events.send(not_reloaded("the TLS certificates", &error));
                    continue;
                }
                Err(error) => {
                    events.send(not_reloaded("the TLS certificates", &error));
                    continue;
                }
            };
            if changes.renewed {
                let mut event = Event::new(Kind::Reload, Level::Info);
                event.class = Some(Class::Ok);
                event.reason = Some("the TLS certificates were read anew".into());
                events.send(event);
            }
            if changes.changed || asked {
                for error in self.current.load().material.wrong() {
                    events.send(not_reloaded("a file of TLS", error));
                }
            }
        }
    }

    /// Reads the files, and takes over those that have changed and are valid.
    fn refresh(&self) -> Result<Changes, MaterialError> {
        let current = self.current.load();
        let (material, changes) = current.material.then(&self.config);
        if changes.changed {
            self.current
                .store(Arc::new(Current::new(&self.config, material)?));
        }
        Ok(changes)
    }
}

/// The event of files that can't be used.
fn not_reloaded(what: &str, error: &dyn fmt::Display) -> Event {
    let mut event = Event::new(Kind::Reload, Level::Error);
    event.class = Some(Class::Invalid);
    event.reason = Some(format!("{what} can't be read anew, what was read before stays").into());
    event.detail = Some(error.to_string().into());
    event
}

/// What has changed in the files since they were read last.
#[derive(Debug, Clone, Copy, Default)]
struct Changes {
    changed: bool,
    /// Some of the changed files are valid.
    renewed: bool,
}

impl Changes {
    fn note<T: Clone>(&mut self, before: &Reloadable<T>, now: &Reloadable<T>) {
        let changed = now.differs(before);
        self.changed |= changed;
        self.renewed |= changed && now.wrong.is_none();
    }
}

impl Material {
    /// At the start all files must be valid.
    fn read(config: &TlsOptions) -> Result<Material, MaterialError> {
        let mut certificates = Vec::with_capacity(config.certificates.len());
        for (number, files) in config.certificates.iter().enumerate() {
            certificates.push(Reloadable::first(
                Certificate::contents(files, number),
                |contents| Certificate::new(contents, files, number),
            )?);
        }
        let clients = match &config.client_ca {
            Some(source) => Some(Reloadable::first(authorities(source), |contents| {
                client_verifier(config, contents).map_err(|error| error.at(source))
            })?),
            None => None,
        };
        Ok(Material {
            certificates,
            clients,
        })
    }

    /// Later each of them keeps its previous contents until it is valid again.
    fn then(&self, config: &TlsOptions) -> (Material, Changes) {
        let mut changes = Changes::default();
        let certificates = self.certificates.iter().zip(&config.certificates);
        let certificates = certificates
            .enumerate()
            .map(|(number, (before, files))| {
                let now = before.then(Certificate::contents(files, number), |contents| {
                    Certificate::new(contents, files, number)
                });
                changes.note(before, &now);
                now
            })
            .collect();
        let clients = self.clients.as_ref().zip(config.client_ca.as_ref());
        let clients = clients.map(|(before, source)| {
            let now = before.then(authorities(source), |contents| {
                client_verifier(config, contents).map_err(|error| error.at(source))
            });
            changes.note(before, &now);
            now
        });
        let material = Material {
            certificates,
            clients,
        };
        (material, changes)
    }

    /// The problems with them.
    fn wrong(&self) -> impl Iterator<Item = &MaterialError> {
        let certificates = self.certificates.iter().map(|piece| &piece.wrong);
        let clients = self.clients.iter().map(|piece| &piece.wrong);
        certificates.chain(clients).flatten()
    }
}

/// The contents of the file of the authorities for client certificates.
fn authorities(source: &Pem) -> Contents {
    Ok(vec![contents(source, About::ClientCa)?])
}

impl SessionTls {
    /// The control connection's handshake is done, in which the client has asked for `server_name`.
    /// Only the sessions that it has put into the cache can be resumed; the data connections show
    /// the same certificate.
    pub fn established(&self, server_name: Option<&str>) {
        self.resumption.close();
        if let Some(name) = server_name {
            self.certificates.asked_for(name);
        }
    }
}

impl Current {
    /// Everything except what belongs to one session.
    fn new(config: &TlsOptions, material: Material) -> Result<Current, MaterialError> {
        static SINCE_12: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        static SINCE_13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        let versions: &[_] = match config.min_version {
            TlsVersion::V12 => &SINCE_12,
            TlsVersion::V13 => &SINCE_13,
        };
        let wrong = |problem| MaterialError::new(About::Certificate(0), problem);
        let certificates: Vec<_> = material
            .certificates
            .iter()
            .map(|piece| &piece.good)
            .collect();
        let certificates =
            BySni::new(&certificates).ok_or_else(|| wrong("is missing".to_owned()))?;
        let certificates = Arc::new(certificates);
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| wrong(error.to_string()))?;
        let verifier = material
            .clients
            .as_ref()
            .and_then(|piece| piece.good.clone());
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let server = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        Ok(Current {
            material,
            server: Arc::new(server),
            certificates,
        })
    }
}

fn client_verifier(config: &TlsOptions, contents: &[Vec<u8>]) -> Result<Verifier, MaterialError> {
    let roots = certificates::authorities(&contents.concat())?;
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
