//! The certificate of the gateway and the relay, which each run makes, and the client's trust in
//! it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::rewind;

/// Its PEM file in the directory of the identity.
const CERTIFICATE: &str = "tls.crt";
/// The PEM file of its key.
const KEY: &str = "tls.key";

/// A self-signed certificate for the loopback address, in files, and clients' trust in it.
#[derive(Debug)]
pub struct Identity {
    directory: PathBuf,
    pub(super) client: ClientConfig,
}

impl Identity {
    /// Makes a certificate, and writes it to a directory.
    pub fn create(directory: &Path) -> Result<Identity> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        fs::write(directory.join(CERTIFICATE), made.cert.pem())?;
        fs::write(directory.join(KEY), made.signing_key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let client = ClientConfig::builder_with_provider(Arc::new(rewind::provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Identity {
            directory: directory.to_owned(),
            client,
        })
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The certificate's file.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// The key's file.
    pub fn key(&self) -> PathBuf {
        self.directory.join(KEY)
    }

    /// A client that resumes no session.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut config = self.client.clone();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    }
}

/// A server with the identity in this directory, without tickets.
pub fn server_config(directory: &Path) -> Result<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(directory.join(CERTIFICATE))?;
    let key = PrivateKeyDer::from_pem_file(directory.join(KEY))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    config.send_tls13_tickets = 0;
    Ok(config)
}
