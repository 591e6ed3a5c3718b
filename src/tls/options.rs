//! What is configured of TLS.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Whether a connection is to be under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It can't be.
    Off,
    /// As the client wants.
    Optional,
    /// It must be.
    Required,
}

/// `[tls]`.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Certificates with their keys; the first is for clients that ask for none of the others' names.
    pub certificates: Vec<CertificateFiles>,
    /// For listeners that say nothing else.
    pub control: Protection,
    /// For listeners that say nothing else.
    pub data: Protection,
    /// The oldest version of TLS.
    pub min_version: TlsVersion,
    /// Whether data connections must resume the TLS session of their control connection.
    pub require_session_reuse: bool,
    /// Who signs client certificates.
    pub client_ca: Option<Pem>,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// How often the files are looked at; zero: on SIGHUP only.
    pub reload: Duration,
}

/// A certificate's files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain: its own certificate first.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
    /// The host names it is for; empty: those it names itself.
    pub names: Vec<String>,
}

/// A text in PEM form.
#[derive(Debug, Clone)]
pub enum Pem {
    /// In this file, and followed when it changes.
    File(PathBuf),
    /// This.
    Memory(SecretString),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not.
    Off,
    /// They may have one.
    Optional,
    /// They must have one.
    Required,
}
