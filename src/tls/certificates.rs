//! PEM → certificates with their keys, selected by the host name that a client asks for (SNI).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::tls::options::{CertificateFiles, Pem};

use crate::tls::material::{About, Contents, MaterialError, contents};

/// The contents of a certificate that are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Host names: those of its subject alternative names, else its common name; in lower case.
    pub names: Vec<String>,
    /// When it expires, seconds since 1970.
    pub ends: i64,
}

/// Reads one certificate and its key, and checks that they belong together.
///
/// # Errors
/// The problem, and which of the two has it ([`About`]'s number is 0).
pub fn certificate(files: &CertificateFiles) -> Result<Summary, MaterialError> {
    let chain = contents(&files.certificate, About::Certificate(0))?;
    let key = contents(&files.key, About::Key(0))?;
    let (certified, summary) = certified(&chain, &key, 0).map_err(|error| located(error, files))?;
    drop(certified);
    Ok(summary)
}

/// Reads the authorities of client certificates.
///
/// # Errors
/// There is none, or one of them is damaged.
pub fn read_authorities(source: &Pem) -> Result<(), MaterialError> {
    let pem = contents(source, About::ClientCa)?;
    authorities(&pem).map_err(|error| error.at(source))?;
    Ok(())
}

/// The authorities in a PEM text.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, MaterialError> {
    let wrong = |problem: &str| MaterialError::new(About::ClientCa, problem);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| wrong("is not a PEM file"))?;
        roots
            .add(certificate)
            .map_err(|_| wrong("holds a certificate that is damaged"))?;
    }
    if roots.is_empty() {
        return Err(wrong("holds no certificate in PEM form"));
    }
    Ok(roots)
}

/// Selects the certificate of a handshake: the one for the name that the client asks for, an exact
/// name before one with an asterisk; for all other names the first of the configuration.
#[derive(Debug)]
pub(super) struct BySni {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// `*.example.com` as `example.com`.
    below: HashMap<String, Arc<CertifiedKey>>,
}

/// One of the configuration's certificates.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    certified: Arc<CertifiedKey>,
    /// The names that it is for.
    names: Vec<String>,
    /// When it expires, seconds since 1970.
    ends: i64,
    /// The names are those of the configuration, not of the certificate.
    configured: bool,
}

impl Certificate {
    /// The contents of its files: the chain and the key.
    pub(super) fn contents(files: &CertificateFiles, number: usize) -> Contents {
        Ok(vec![
            contents(&files.certificate, About::Certificate(number))?,
            contents(&files.key, About::Key(number))?,
        ])
    }

    /// Parses these contents.
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the machine's clock"
    )]
    pub(super) fn new(
        contents: &[Vec<u8>],
        files: &CertificateFiles,
        number: usize,
    ) -> Result<Certificate, MaterialError> {
        let [chain, key] = contents else {
            return Err(MaterialError::new(About::Certificate(number), "is missing"));
        };
        let (certified, summary) =
            certified(chain, key, number).map_err(|error| located(error, files))?;
        if summary.ends <= jiff::Timestamp::now().as_second() {
            // Clients will report it; there may be no better certificate yet.
            tracing::warn!(names = ?summary.names, "a TLS certificate is no longer valid");
        }
        let configured = !files.names.is_empty();
        let names = if configured {
            files.names.clone()
        } else {
            summary.names
        };
        Ok(Certificate {
            certified: Arc::new(certified),
            names,
            ends: summary.ends,
            configured,
        })
    }

    /// What is shown of it.
    pub(super) fn summary(&self) -> Summary {
        Summary {
            names: self.names.clone(),
            ends: self.ends,
        }
    }
}

impl BySni {
    /// `None`: there are no certificates.
    pub(super) fn new(certificates: &[&Certificate]) -> Option<BySni> {
        let mut resolver = BySni {
            first: Arc::clone(&certificates.first()?.certified),
            exact: HashMap::new(),
            below: HashMap::new(),
        };
        // Names of the configuration go before those of a certificate.
        let configured = certificates
            .iter()
            .filter(|certificate| certificate.configured);
        let own = certificates
            .iter()
            .filter(|certificate| !certificate.configured);
        for certificate in configured.chain(own) {
            for name in &certificate.names {
                let name = name.to_ascii_lowercase();
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut resolver.below, parent.to_owned()),
                    None => (&mut resolver.exact, name),
                };
                table
                    .entry(name)
                    .or_insert_with(|| Arc::clone(&certificate.certified));
            }
        }
        Some(resolver)
    }

    fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let parent = name.split_once('.').map(|(_, parent)| parent);
            self.exact
                .get(&name)
                .or_else(|| self.below.get(parent?))
                .cloned()
        });
        found.unwrap_or_else(|| Arc::clone(&self.first))
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

/// The certificates, for the connections of one control session. A handshake without a host name
/// gets the certificate of the session's host: the host of the control connection's handshake, or
/// the one that HOST named before it.
#[derive(Debug)]
pub(super) struct SessionCertificates {
    all: Arc<BySni>,
    /// By HOST.
    host: Option<Box<str>>,
    /// By the control connection's handshake.
    asked_for: OnceLock<Box<str>>,
}

impl SessionCertificates {
    pub(super) fn new(all: &Arc<BySni>, host: Option<&str>) -> Self {
        SessionCertificates {
            all: Arc::clone(all),
            host: host.map(Into::into),
            asked_for: OnceLock::new(),
        }
    }

    /// The control connection's handshake is done, and has asked for this name.
    pub(super) fn asked_for(&self, name: &str) {
        self.asked_for.get_or_init(|| name.into());
    }
}

impl ResolvesServerCert for SessionCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .or_else(|| self.asked_for.get().map(AsRef::as_ref))
            .or(self.host.as_deref());
        Some(self.all.choose(named))
    }
}

/// The provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Parses a chain and its key; `number` is their position in the configuration.
fn certified(
    chain: &[u8],
    key: &[u8],
    number: usize,
) -> Result<(CertifiedKey, Summary), MaterialError> {
    let about = About::Certificate(number);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, PemError>>()
        .map_err(|_| MaterialError::new(about, "is not a PEM file"))?;
    let Some(own) = chain.first() else {
        return Err(MaterialError::new(
            about,
            "holds no certificate in PEM form",
        ));
    };
    let summary = summary(own)
        .ok_or_else(|| MaterialError::new(about, "holds a certificate that is damaged"))?;
    let about = About::Key(number);
    // Problems with a key are described in our own words: an error must not quote any of it.
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        MaterialError::new(
            about,
            match error {
                PemError::NoItemsFound => {
                    "holds no private key in PEM form (an encrypted one can't be read)"
                }
                _ => "is not a PEM file",
            },
        )
    })?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        MaterialError::new(
            about,
            match error {
                TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    "is not the key of the certificate"
                }
                _ => "is damaged, or of a kind that can't be used",
            },
        )
    })?;
    Ok((certified, summary))
}

fn located(error: MaterialError, files: &CertificateFiles) -> MaterialError {
    match error.about {
        About::Key(_) => error.at(&files.key),
        _ => error.at(&files.certificate),
    }
}

fn summary(certificate: &CertificateDer<'_>) -> Option<Summary> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| {
            let names = extension.value.general_names.iter();
            names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                })
                .collect()
        })
        .unwrap_or_default();
    if names.is_empty() {
        let common = certificate.subject().iter_common_name();
        names.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    Some(Summary {
        names,
        ends: certificate.validity().not_after.timestamp(),
    })
}
