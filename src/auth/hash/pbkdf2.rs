//! PBKDF2 (RFC 8018) in the forms of SFTPGo: `$pbkdf2-sha256$150000$salt$hash`. The hash is base64
//! with padding. The salt is the text itself, or base64 as well in `$pbkdf2-b64salt-sha256$`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;

use super::{HashError, Scheme, at_most, number};

/// The largest number of rounds of the digest.
const MOST_ROUNDS: u64 = 10_000_000;
/// With fewer rounds it is weak.
const WEAK_BELOW: u32 = 100_000;
const SHORTEST_HASH: usize = 16;
const LONGEST_HASH: usize = 64;
const LONGEST_SALT: usize = 256;

/// A digest that PBKDF2 uses.
struct Prf {
    name: &'static str,
    derive: fn(&[u8], &[u8], u32, &mut [u8]),
    /// Bytes of the digest. A longer hash takes the rounds once for each such piece.
    length: usize,
}

static SHA1: Prf = Prf {
    name: "pbkdf2-sha1",
    derive: pbkdf2_hmac::<Sha1>,
    length: 20,
};
static SHA256: Prf = Prf {
    name: "pbkdf2-sha256",
    derive: pbkdf2_hmac::<Sha256>,
    length: 32,
};
static SHA512: Prf = Prf {
    name: "pbkdf2-sha512",
    derive: pbkdf2_hmac::<Sha512>,
    length: 64,
};

struct Pbkdf2 {
    algorithm: &'static Prf,
    rounds: u32,
    salt: Box<[u8]>,
    expected: Box<[u8]>,
}

/// Reads what follows `$pbkdf2-sha1$`.
pub(super) fn parse_sha1(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, &SHA1, text_salt)
}

/// Reads what follows `$pbkdf2-sha256$`.
pub(super) fn parse_sha256(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, &SHA256, text_salt)
}

/// Reads what follows `$pbkdf2-sha512$`.
pub(super) fn parse_sha512(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, &SHA512, text_salt)
}

/// Reads what follows `$pbkdf2-b64salt-sha256$`.
pub(super) fn parse_sha256_with_base64_salt(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, &SHA256, |salt| BASE64_STANDARD.decode(salt).ok())
}

fn text_salt(salt: &str) -> Option<Vec<u8>> {
    Some(salt.as_bytes().to_vec())
}

fn parse(
    rest: &str,
    algorithm: &'static Prf,
    read_salt: fn(&str) -> Option<Vec<u8>>,
) -> Result<Box<dyn Scheme>, HashError> {
    let malformed = HashError::Malformed(algorithm.name);
    let fields: Vec<&str> = rest.split('$').collect();
    let [rounds, salt, hash] = fields[..] else {
        return Err(malformed);
    };
    let rounds = number(rounds)
        .filter(|rounds| *rounds > 0)
        .ok_or(malformed)?;
    let salt = read_salt(salt).ok_or(malformed)?;
    let expected = BASE64_STANDARD.decode(hash).map_err(|_| malformed)?;
    let lengths = (SHORTEST_HASH..=LONGEST_HASH).contains(&expected.len())
        && (1..=LONGEST_SALT).contains(&salt.len());
    if !lengths {
        return Err(malformed);
    }
    let pieces = expected.len().div_ceil(algorithm.length) as u64;
    let work = rounds.saturating_mul(pieces);
    at_most(algorithm.name, "rounds", work, MOST_ROUNDS)?;
    Ok(Box::new(Pbkdf2 {
        algorithm,
        rounds: u32::try_from(rounds).map_err(|_| malformed)?,
        salt: salt.into(),
        expected: expected.into(),
    }))
}

impl Scheme for Pbkdf2 {
    fn name(&self) -> &'static str {
        self.algorithm.name
    }

    fn matches(&self, password: &[u8]) -> bool {
        let mut derived = [0; LONGEST_HASH];
        let derived = &mut derived[..self.expected.len()];
        (self.algorithm.derive)(password, &self.salt, self.rounds, derived);
        (*derived).ct_eq(&self.expected).into()
    }

    fn weakness(&self) -> Option<&'static str> {
        (self.rounds < WEAK_BELOW).then_some("pbkdf2 with fewer than 100,000 rounds")
    }
}
