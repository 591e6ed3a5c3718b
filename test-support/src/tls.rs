//! TLS for the tests: an authority, certificates in files, and clients with the habits of real ones.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rcgen::{
    CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::DEADLINE;

/// The host name of the gateway's certificate.
pub const HOST: &str = "ftp.test";

/// Both versions.
pub const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// An authority and the files of what it has signed.
pub struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Where the files are.
    pub directory: TempDir,
}

impl Default for Pki {
    fn default() -> Self {
        Pki::new()
    }
}

impl Pki {
    /// A new one, with a certificate of [`HOST`] in `tls.crt` and `tls.key`.
    pub fn new() -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "tests' authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Pki {
            issuer,
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::write(pki.path("ca.crt"), pki.issuer.pem()).unwrap();
        pki.server("tls", &[HOST]);
        pki
    }

    /// A file's path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `name.crt` and `name.key` for these hosts.
    pub fn server(&self, name: &str, hosts: &[&str]) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let (certificate, key) = self.sign(CertificateParams::new(hosts).unwrap());
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A client certificate.
    pub fn client_certificate(&self, subject: &str, sans: &[&str]) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name.push(DnType::CommonName, subject);
        for san in sans {
            let name = (*san).try_into().unwrap();
            params.subject_alt_names.push(match san.contains('@') {
                true => SanType::Rfc822Name(name),
                false => SanType::DnsName(name),
            });
        }
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A `[tls]` section with the certificate of [`HOST`], and more lines.
    pub fn section(&self, more: &str) -> String {
        format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\n{more}\n",
            self.path("tls.crt"),
            self.path("tls.key")
        )
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientBuilder {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientBuilder {
            roots,
            version: None,
            identity: None,
            habit: Habit::Reuse,
            protocols: Vec::new(),
            name: HOST.to_owned(),
            tells_name: true,
        }
    }
}

/// A certificate and its key.
pub type Identity = (rcgen::Certificate, KeyPair);

/// What a client does with the sessions it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It offers the control connection's session on each data connection (FileZilla, WinSCP,
    /// lftp); in TLS 1.3 a ticket for each.
    Reuse,
    /// It offers the newest session once (Java).
    Once,
    /// It resumes none (Python's ftplib by default, curl in some versions).
    Never,
}

/// How to build a client.
#[must_use]
pub struct ClientBuilder {
    roots: RootCertStore,
    version: Option<&'static SupportedProtocolVersion>,
    identity: Option<Identity>,
    habit: Habit,
    protocols: Vec<Vec<u8>>,
    name: String,
    tells_name: bool,
}

impl ClientBuilder {
    /// Only this version.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.version = Some(version);
        self
    }

    /// With a certificate.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// With a habit.
    pub fn habit(mut self, habit: Habit) -> Self {
        self.habit = habit;
        self
    }

    /// Offers these ALPN protocols.
    pub fn protocols(mut self, names: &[&str]) -> Self {
        self.protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    /// Requests this host (SNI), and expects its certificate.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Sends no host name (SNI), and still expects the certificate of its own.
    pub fn without_sni(mut self) -> Self {
        self.tells_name = false;
        self
    }

    /// The client.
    pub fn build(self) -> Client {
        let versions = match self.version {
            Some(version) => vec![version],
            None => VERSIONS.to_vec(),
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&versions)
            .unwrap()
            .with_root_certificates(self.roots);
        let mut config = match self.identity {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols;
        config.enable_sni = self.tells_name;
        config.resumption = match self.habit {
            Habit::Reuse => Resumption::store(Arc::new(Reusing::default())),
            Habit::Once => Resumption::store(Arc::new(ClientSessionMemoryCache::new(64))),
            Habit::Never => Resumption::disabled(),
        };
        Client {
            config: Arc::new(config),
            name: ServerName::try_from(self.name).unwrap(),
        }
    }
}

/// A TLS client, and the sessions it knows.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// A handshake.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connected = timeout(DEADLINE, connector.connect(self.name.clone(), tcp)).await;
        connected.expect("a handshake has an end")
    }
}

/// Keeps a session of TLS 1.2 for more than one use. A ticket of TLS 1.3 cannot be copied here. The
/// unit tests of the server's cache and clients on OpenSSL and GnuTLS show that one ticket works
/// more than once.
#[derive(Default)]
struct Reusing {
    v12: Mutex<HashMap<ServerName<'static>, Tls12ClientSessionValue>>,
    v13: Mutex<HashMap<ServerName<'static>, Vec<Tls13ClientSessionValue>>>,
}

impl ClientSessionStore for Reusing {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.v12.lock().unwrap().insert(name, value);
    }
    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.v12.lock().unwrap().get(&name.to_owned()).cloned()
    }
    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        self.v12.lock().unwrap().remove(name);
    }
    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut tickets = self.v13.lock().unwrap();
        tickets.entry(name).or_default().push(value);
    }
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.v13.lock().unwrap().get_mut(name)?.pop()
    }
}

impl fmt::Debug for Reusing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reusing")
    }
}

/// Sends all bytes, and ends with close_notify and a FIN; then reads the server's end, as careful
/// clients do.
pub async fn send_and_end(tls: &mut TlsStream<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    let sending = async {
        tls.write_all(bytes).await?;
        tls.shutdown().await?;
        let mut rest = Vec::new();
        tls.read_to_end(&mut rest).await?;
        assert!(rest.is_empty());
        Ok(())
    };
    timeout(DEADLINE, sending)
        .await
        .expect("an upload has an end")
}

/// All bytes, and an error if the connection does not end by close_notify.
pub async fn read_all(tls: &mut TlsStream<TcpStream>) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = timeout(DEADLINE, tls.read_to_end(&mut bytes)).await;
    let end = end.expect("a download has an end").map(|_| ());
    (bytes, end)
}
