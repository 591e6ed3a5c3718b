//! The holder's names in a client certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The names in a certificate that a handshake has checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    subjects: Vec<String>,
    alternatives: Vec<String>,
}

/// The name that a certificate must have to identify a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequiredName {
    /// The common name of its subject, to the letter.
    Subject(String),
    /// A subject alternative name: a host name, an e-mail address or a URI; case does not matter in
    /// host names and in the part of an address after its `@`.
    Alternative(String),
}

impl Identity {
    /// Reads the names in a certificate; empty if it can't be parsed.
    pub fn of(certificate: &CertificateDer<'_>) -> Identity {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
            return Identity::default();
        };
        let subjects = certificate.subject().iter_common_name();
        let subjects = subjects.filter_map(|name| Some(name.as_str().ok()?.to_owned()));
        let extension = certificate.subject_alternative_name().ok().flatten();
        let names = extension.iter().flat_map(|e| &e.value.general_names);
        let alternatives = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::RFC822Name(name) => Some(normal(name)),
            GeneralName::URI(name) => Some((*name).to_owned()),
            _ => None,
        });
        Identity {
            subjects: subjects.collect(),
            alternatives: alternatives.collect(),
        }
    }

    /// Whether it has the name.
    pub fn is(&self, wanted: &RequiredName) -> bool {
        match wanted {
            RequiredName::Subject(name) => self.subjects.contains(name),
            RequiredName::Alternative(name) => {
                let name = normal(name);
                self.alternatives.contains(&name)
            }
        }
    }
}

/// The form of a name for comparison.
fn normal(name: &str) -> String {
    if name.contains("://") {
        return name.to_owned();
    }
    match name.split_once('@') {
        Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
        None => name.to_ascii_lowercase(),
    }
}
