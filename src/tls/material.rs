//! The contents of the files that TLS is made of.

use std::fmt;
use std::io::{self, Read};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::config::{Pem, TlsConfig};

/// No certificate chain, key or list of authorities is longer, bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What was read. Holds private keys: no `Debug`.
pub(super) struct Material {
    /// Each certificate's chain and key, in the configuration's order.
    pub(super) certificates: Vec<(Vec<u8>, Vec<u8>)>,
    /// The authorities of client certificates.
    pub(super) client_ca: Option<Vec<u8>>,
}

/// Which of the files is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The certificate of this number, from 0.
    Certificate(usize),
    /// The key of this number.
    Key(usize),
    /// The authorities of client certificates.
    ClientCa,
}

/// What is wrong with it. Nothing of a file's contents is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct MaterialError {
    /// Which file.
    pub about: About,
    /// Its path, or what it is.
    place: String,
    /// What is wrong.
    pub problem: String,
}

impl MaterialError {
    /// About a file that is named later.
    pub(super) fn new(about: About, problem: impl Into<String>) -> Self {
        MaterialError {
            place: about.to_string(),
            about,
            problem: problem.into(),
        }
    }

    /// With the place that the configuration names.
    pub(super) fn at(mut self, source: &Pem) -> Self {
        if let Pem::File(path) = source {
            self.place = path.display().to_string();
        }
        self
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::Certificate(number) => write!(f, "certificate {}", number + 1),
            About::Key(number) => write!(f, "key {}", number + 1),
            About::ClientCa => f.write_str("client_ca"),
        }
    }
}

impl Material {
    /// Reads all the files.
    pub(super) fn read(config: &TlsConfig) -> Result<Material, MaterialError> {
        let mut certificates = Vec::with_capacity(config.certificates.len());
        for (number, files) in config.certificates.iter().enumerate() {
            certificates.push((
                contents(&files.certificate, About::Certificate(number))?,
                contents(&files.key, About::Key(number))?,
            ));
        }
        let client_ca = match &config.client_ca {
            Some(source) => Some(contents(source, About::ClientCa)?),
            None => None,
        };
        Ok(Material {
            certificates,
            client_ca,
        })
    }

    /// Tells contents from others.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let pieces = self.certificates.iter().flat_map(|(one, two)| [one, two]);
        for piece in pieces.chain(&self.client_ca) {
            hash.update(piece.len().to_le_bytes());
            hash.update(piece);
        }
        hash.finalize().into()
    }
}

/// What a source holds.
pub(super) fn contents(source: &Pem, about: About) -> Result<Vec<u8>, MaterialError> {
    let wrong =
        |error: io::Error| MaterialError::new(about, format!("can't be read: {error}")).at(source);
    match source {
        Pem::Memory(text) => Ok(text.expose_secret().as_bytes().to_vec()),
        Pem::File(path) => {
            let mut bytes = Vec::new();
            let file = std::fs::File::open(path).map_err(wrong)?;
            file.take(LONGEST + 1)
                .read_to_end(&mut bytes)
                .map_err(wrong)?;
            if bytes.len() as u64 > LONGEST {
                return Err(MaterialError::new(about, "is larger than 4 MiB").at(source));
            }
            Ok(bytes)
        }
    }
}
