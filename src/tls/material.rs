//! The contents of the files for TLS.

use std::fmt;
use std::io::{self, Read};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::tls::options::Pem;

/// The limit of a certificate chain, a key or a list of authorities, bytes.
const LONGEST: u64 = 4 * 1024 * 1024;

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

/// A problem with a file. It contains nothing of the file's contents.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct MaterialError {
    /// Which file.
    pub about: About,
    /// Its path, or a description.
    place: String,
    /// The problem.
    pub problem: String,
}

impl MaterialError {
    /// For a file that is named later.
    pub(super) fn new(about: About, problem: impl Into<String>) -> Self {
        MaterialError {
            place: about.to_string(),
            about,
            problem: problem.into(),
        }
    }

    /// Adds the path of the configuration.
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

/// Files that belong together, such as a certificate and its key. They are replaced together or not
/// at all, and independently of others: a problem with one of them does not keep the others at old
/// contents.
#[derive(Debug, Clone)]
pub(super) struct Reloadable<T> {
    /// The last valid contents, parsed.
    pub(super) good: T,
    /// The problem with newer contents, if there is one.
    pub(super) wrong: Option<MaterialError>,
    /// The fingerprint of the last contents, valid or not.
    fingerprint: [u8; 32],
}

/// The contents of the files, or why they can't be read.
pub(super) type Contents = Result<Vec<Vec<u8>>, MaterialError>;

impl<T: Clone> Reloadable<T> {
    /// The first contents must be valid.
    pub(super) fn first(
        contents: Contents,
        make: impl FnOnce(&[Vec<u8>]) -> Result<T, MaterialError>,
    ) -> Result<Self, MaterialError> {
        Ok(Reloadable {
            fingerprint: fingerprint(&contents),
            good: make(&contents?)?,
            wrong: None,
        })
    }

    /// Later contents are taken over if they are valid.
    pub(super) fn then(
        &self,
        contents: Contents,
        make: impl FnOnce(&[Vec<u8>]) -> Result<T, MaterialError>,
    ) -> Self {
        let fingerprint = fingerprint(&contents);
        if fingerprint == self.fingerprint {
            return self.clone();
        }
        let (good, wrong) = match contents.and_then(|contents| make(&contents)) {
            Ok(good) => (good, None),
            Err(error) => (self.good.clone(), Some(error)),
        };
        Reloadable {
            good,
            wrong,
            fingerprint,
        }
    }

    /// Whether the contents have changed.
    pub(super) fn differs(&self, before: &Self) -> bool {
        self.fingerprint != before.fingerprint
    }
}

/// Distinguishes contents, and errors of reading them.
fn fingerprint(contents: &Contents) -> [u8; 32] {
    let mut hash = Sha256::new();
    match contents {
        Ok(pieces) => {
            for piece in pieces {
                hash.update(piece.len().to_le_bytes());
                hash.update(piece);
            }
        }
        Err(error) => hash.update(error.to_string()),
    }
    hash.finalize().into()
}

/// The contents of a source.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_piece_stays_as_it_was_until_it_is_right_again() {
        let error = |problem: &str| MaterialError::new(About::Key(1), problem);
        let holds = |text: &str| -> Contents { Ok(vec![text.into(), b"key".to_vec()]) };
        let make = |contents: &[Vec<u8>]| match String::from_utf8_lossy(&contents[0]).parse::<u8>()
        {
            Ok(number) => Ok(number),
            Err(_) => Err(error("is not a number")),
        };
        assert_eq!(
            Reloadable::first(holds("x"), make).unwrap_err(),
            error("is not a number")
        );
        assert_eq!(
            Reloadable::first(Err(error("is gone")), make).unwrap_err(),
            error("is gone")
        );
        let mut piece = Reloadable::first(holds("1"), make).unwrap();
        let steps = [
            (holds("1"), 1, None, false),
            (holds("x"), 1, Some("is not a number"), true),
            (holds("x"), 1, Some("is not a number"), false),
            (Err(error("is gone")), 1, Some("is gone"), true),
            (Err(error("is gone")), 1, Some("is gone"), false),
            (holds("2"), 2, None, true),
            (holds("2"), 2, None, false),
        ];
        for (contents, good, wrong, differs) in steps {
            let then = piece.then(contents, make);
            assert_eq!((then.good, then.wrong.clone()), (good, wrong.map(error)));
            assert_eq!(then.differs(&piece), differs);
            piece = then;
        }
    }
}
