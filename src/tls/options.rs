//! Options of TLS.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Whether a connection uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// TLS is refused.
    Off,
    /// The client decides.
    #[default]
    Optional,
    /// TLS is required.
    Required,
}

/// `[tls]`.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Certificates with their keys; the first is for clients that ask for no name of the others.
    pub certificates: Vec<CertificateFiles>,
    /// The control connections' default, for listeners without an own one.
    pub control: Protection,
    /// The data connections' default, for listeners without an own one.
    pub data: Protection,
    /// The lowest version of TLS.
    pub min_version: TlsVersion,
    /// Whether data connections must resume the TLS session of their control connection.
    pub require_session_reuse: bool,
    /// The authorities that sign client certificates.
    pub client_ca: Option<Pem>,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// How often the files are read; zero: on SIGHUP only.
    pub reload: Duration,
}

/// A certificate's files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain, with the server's own certificate first.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
    /// The host names that it is for; empty: those in the certificate.
    pub names: Vec<String>,
}

/// A text in PEM form.
#[derive(Debug, Clone)]
pub enum Pem {
    /// In this file, which is read again when it changes.
    File(PathBuf),
    /// This text.
    Memory(SecretString),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    V12,
    /// 1.3
    V13,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// No.
    Off,
    /// A client may have one.
    Optional,
    /// A client must have one.
    Required,
}
