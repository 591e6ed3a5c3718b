//! The contents of the files that TLS is made of.

use std::fmt;
use std::io::{self, Read};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::tls::options::Pem;

/// No certificate chain, key or list of authorities is longer, bytes.
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

/// What belongs together of the files, a certificate with its key say. It changes as a whole or not at all, and for
/// itself: what is wrong with another piece is no reason to go on with an old one here.
#[derive(Debug, Clone)]
pub(super) struct Reloadable<T> {
    /// What was made of it when it was right last.
    pub(super) good: T,
    /// What is wrong with it since.
    pub(super) wrong: Option<MaterialError>,
    /// Of what was read last, right or wrong.
    fingerprint: [u8; 32],
}

/// What the files of a piece hold.
pub(super) type Contents = Result<Vec<Vec<u8>>, MaterialError>;

impl<T: Clone> Reloadable<T> {
    /// What is read first must be right.
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

    /// What is read later is taken where it is right.
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

    /// Whether something else was read than before.
    pub(super) fn differs(&self, before: &Self) -> bool {
        self.fingerprint != before.fingerprint
    }
}

/// Tells contents from others, and what was wrong with reading them.
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
            Err(_) => Err(error("is no number")),
        };
        assert_eq!(
            Reloadable::first(holds("x"), make).unwrap_err(),
            error("is no number")
        );
        assert_eq!(
            Reloadable::first(Err(error("is gone")), make).unwrap_err(),
            error("is gone")
        );
        let mut piece = Reloadable::first(holds("1"), make).unwrap();
        let steps = [
            (holds("1"), 1, None, false),
            (holds("x"), 1, Some("is no number"), true),
            (holds("x"), 1, Some("is no number"), false),
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
