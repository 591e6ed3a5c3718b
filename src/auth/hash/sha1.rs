//! SHA-1 in base64: `{SSHA}`, with a salt after the digest, of LDAP directories (RFC 2307 has its
//! form), and `{SHA}`, without one, of `htpasswd -s`. Both are weak: one round.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use super::{HashError, Scheme};

const DIGEST: usize = 20;
const LONGEST_SALT: usize = 64;
/// Some directories leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

struct SaltedSha1 {
    scheme: &'static str,
    expected: [u8; DIGEST],
    salt: Box<[u8]>,
}

/// Reads what follows `{SSHA}`.
pub(super) fn parse_salted(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    let hash = parse(rest, "{SSHA}")?;
    match hash.salt.len() {
        1..=LONGEST_SALT => Ok(Box::new(hash)),
        _ => Err(HashError::Malformed(hash.scheme)),
    }
}

/// Reads what follows `{SHA}`.
pub(super) fn parse_unsalted(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    let hash = parse(rest, "{SHA}")?;
    match hash.salt.len() {
        0 => Ok(Box::new(hash)),
        _ => Err(HashError::Malformed(hash.scheme)),
    }
}

fn parse(rest: &str, scheme: &'static str) -> Result<SaltedSha1, HashError> {
    let malformed = HashError::Malformed(scheme);
    let bytes = BASE64.decode(rest).map_err(|_| malformed)?;
    let (expected, salt) = bytes.split_first_chunk().ok_or(malformed)?;
    Ok(SaltedSha1 {
        scheme,
        expected: *expected,
        salt: salt.into(),
    })
}

impl Scheme for SaltedSha1 {
    fn name(&self) -> &'static str {
        self.scheme
    }

    fn matches(&self, password: &[u8]) -> bool {
        let mut hasher = Sha1::new();
        hasher.update(password);
        hasher.update(&self.salt);
        let digest: [u8; DIGEST] = hasher.finalize().into();
        digest.ct_eq(&self.expected).into()
    }

    fn weakness(&self) -> Option<&'static str> {
        Some(self.scheme)
    }
}
