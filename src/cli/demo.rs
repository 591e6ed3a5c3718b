//! `s3ftpd demo`: a gateway with an embedded store, to try the server without installing anything
//! else.
//!
//! The store is [`s3_embedded`]; the demo prints the objects that are stored (`console`).

mod console;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use s3_embedded::{EmbeddedStore, StoreOptions};

use crate::config::{self, ConfigErrors};
use crate::events::EventSink;
use crate::server::capacity::descriptors;
use crate::server::options::ServerOptions;
use crate::server::{Server, ServerError};
use crate::tls::options::{
    CertificateFiles, ClientCertificates, Pem, Protection, TlsOptions, TlsVersion,
};

const BUCKET: &str = "demo";
const USER: &str = "demo";
const PASSWORD: &str = "demo";

/// Cost of the demo password's hash: the password is printed on the screen, so the lowest cost of
/// bcrypt is enough.
const BCRYPT_COST: u32 = 4;

/// How to run the demo.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of the FTP server.
    pub listen: SocketAddr,
    /// The directory of the objects, created if it is missing; `None`: a temporary directory that
    /// is removed at the end.
    pub data: Option<PathBuf>,
    /// The ports of passive mode, as `passive.ports` takes them.
    pub passive_ports: String,
    /// The address for clients in passive mode; `None`: the control connection's own.
    pub passive_address: Option<String>,
    /// The address of the embedded store.
    pub s3_listen: SocketAddr,
    /// What takes the events of the server.
    pub sinks: Vec<Arc<dyn EventSink>>,
}

impl Default for Options {
    /// By default other machines see nothing of it, and nothing is kept.
    fn default() -> Options {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 2121)),
            data: None,
            passive_ports: "auto".to_owned(),
            passive_address: None,
            s3_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            sinks: Vec::new(),
        }
    }
}

/// Why the demo can't run.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The data directory can't be used.
    #[error("can't keep objects in {}: {source}", directory.display())]
    Data {
        /// The directory.
        directory: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A temporary directory can't be created.
    #[error("can't make a temporary directory: {0}")]
    Temporary(io::Error),
    /// The demo's own configuration is invalid; a bug.
    #[error("the demo's configuration is wrong: {0}")]
    Config(#[from] ConfigErrors),
    /// The password can't be hashed; a bug.
    #[error("can't hash the demo's password: {0}")]
    Password(#[from] bcrypt::BcryptError),
    /// Another process has the port.
    #[error("{0} is in use by another program; choose another port with --listen")]
    PortInUse(SocketAddr),
    /// The embedded store can't listen on its address.
    #[error(
        "the embedded store can't listen on {address}: {source}; choose another address with --s3-listen"
    )]
    StoreAddress {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The certificate can't be made; a bug.
    #[error("can't make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The gateway can't start.
    #[error(transparent)]
    Server(ServerError),
}

impl From<ServerError> for DemoError {
    fn from(error: ServerError) -> DemoError {
        match error {
            ServerError::Bind { address, source } if source.kind() == io::ErrorKind::AddrInUse => {
                DemoError::PortInUse(address)
            }
            other => DemoError::Server(other),
        }
    }
}

/// Runs a gateway in front of an embedded store until `shutdown` is cancelled, and prints the
/// objects that are stored.
///
/// # Errors
/// [`DemoError`]; only before both are running.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), DemoError> {
    let temporary = match options.data {
        Some(_) => None,
        None => Some(tempfile::tempdir().map_err(DemoError::Temporary)?),
    };
    let directory = match (&options.data, &temporary) {
        (Some(directory), _) => directory.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => PathBuf::new(),
    };
    let in_directory = |source| DemoError::Data {
        directory: directory.clone(),
        source,
    };
    let store = EmbeddedStore::start(StoreOptions {
        listen: options.s3_listen,
        data: Some(directory.clone()),
        ..StoreOptions::default()
    })
    .await
    .map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => DemoError::StoreAddress {
            address: options.s3_listen,
            source,
        },
        _ => in_directory(source),
    })?;
    store
        .backend()
        .create_bucket(BUCKET)
        .map_err(in_directory)?;
    let events = store.backend().events();
    let text = configuration(&options, &store)?;
    let mut config = config::from_str(&text, "demo")?;
    offer_tls(&mut config)?;
    if let Some(shortage) = descriptors::cap(&mut config, descriptors::limit() / 2) {
        // The other half is for the store.
        tracing::warn!("{shortage}");
    }
    let server = Box::pin(Server::start(config, options.sinks)).await?;

    let (key, secret) = store.credentials();
    for address in server.control_addresses() {
        let text = console::instructions(*address, &endpoint(&store), key, secret);
        console::say(&text);
    }
    let narration = console::Narrator::default().narrate(events);
    tokio::select! {
        () = narration => {}
        () = shutdown.cancelled() => {}
    }
    server.stop().await;
    store.stop().await;
    Ok(())
}

/// Explicit TLS, for clients that want it, with a certificate that is made here and kept in memory.
fn offer_tls(config: &mut ServerOptions) -> Result<(), rcgen::Error> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(config.listen.iter().map(|l| l.address.ip().to_string()));
    let made = rcgen::generate_simple_self_signed(names)?;
    config.tls = Some(TlsOptions {
        certificates: vec![CertificateFiles {
            certificate: Pem::Memory(made.cert.pem().into()),
            key: Pem::Memory(made.signing_key.serialize_pem().into()),
            names: Vec::new(),
        }],
        control: Protection::Optional,
        data: Protection::Optional,
        min_version: TlsVersion::V12,
        require_session_reuse: false,
        client_ca: None,
        client_certificates: ClientCertificates::Off,
        reload: Duration::ZERO,
    });
    for listener in &mut config.listen {
        listener.control = Protection::Optional;
        listener.data = Protection::Optional;
    }
    Ok(())
}

/// The store's address for this machine.
fn endpoint(store: &EmbeddedStore) -> String {
    let address = store.address();
    let host = console::reachable(address.ip());
    format!("http://{host}:{}", address.port())
}

/// The demo's configuration file.
fn configuration(options: &Options, store: &EmbeddedStore) -> Result<String, DemoError> {
    let password = bcrypt::hash(PASSWORD, BCRYPT_COST)?;
    let (key, secret) = store.credentials();
    let endpoint = endpoint(store);
    let listen = options.listen;
    // User input is quoted as TOML requires; JSON's strings are valid TOML strings.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let ports = quoted(&options.passive_ports);
    let address = options.passive_address.as_deref();
    let address = address.map_or_else(String::new, |address| {
        format!("address = {}", quoted(address))
    });
    Ok(format!(
        r#"
replica = "demo"
listen = ["{listen}"]

[passive]
ports = {ports}
{address}

[limits]
sessions = 1000

[stores.demo]
endpoint = "{endpoint}"
region = "us-east-1"
path_style = true
access_key_id = "{key}"
secret_access_key = "{secret}"
checksums = "crc32"
conditional_writes = true
files_hide_directories = false

[mounts.demo]
store = "demo"
bucket = "{BUCKET}"

[users.{USER}]
password = '{password}'
mounts = {{ "/" = "demo" }}
"#
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::data::options::PassivePorts;

    #[tokio::test]
    async fn the_demo_s_configuration_is_a_valid_one() {
        let store = EmbeddedStore::start(StoreOptions::default()).await.unwrap();
        let options = Options {
            listen: "[::1]:2121".parse().unwrap(),
            passive_ports: "30000-30009".to_owned(),
            passive_address: Some("ftp.example.com".to_owned()),
            ..Options::default()
        };
        let text = configuration(&options, &store).unwrap();
        let config = config::from_str(&text, "demo").unwrap();
        assert_eq!(config.listen[0].address, options.listen);
        assert_eq!(config.passive.ports, PassivePorts::Range(30000, 30009));
        assert_eq!(config.passive.address, options.passive_address);
        assert_eq!(config.stores["demo"].endpoint, Some(store.endpoint()));
        assert_eq!(config.users.len(), 1);
    }

    #[tokio::test]
    async fn the_demo_s_certificate_can_be_used() {
        let store = EmbeddedStore::start(StoreOptions::default()).await.unwrap();
        let text = configuration(&Options::default(), &store).unwrap();
        let mut config = config::from_str(&text, "demo").unwrap();
        offer_tls(&mut config).unwrap();
        crate::tls::Tls::load(config.tls.as_ref().unwrap()).unwrap();
        assert_eq!(config.listen[0].control, Protection::Optional);
        let shown = format!("{config:?}");
        assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    }

    #[test]
    fn a_busy_port_is_said_plainly() {
        let bind = |kind: io::ErrorKind| ServerError::Bind {
            address: "127.0.0.1:2121".parse().unwrap(),
            source: kind.into(),
        };
        let busy = DemoError::from(bind(io::ErrorKind::AddrInUse)).to_string();
        assert!(busy.starts_with("127.0.0.1:2121 is in use"), "{busy}");
        let denied = DemoError::from(bind(io::ErrorKind::PermissionDenied)).to_string();
        assert!(
            denied.starts_with("can't listen on 127.0.0.1:2121"),
            "{denied}"
        );
    }
}
