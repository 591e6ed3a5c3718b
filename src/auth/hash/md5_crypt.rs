//! md5-crypt as `$1$salt$hash`, and its variant of Apache's htpasswd as `$apr1$salt$hash`. Both are
//! weak: 1,000 rounds of MD5.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{HashError, Scheme, decode_crypt, is_crypt_salt};

const LONGEST_SALT: usize = 8;
const ROUNDS: usize = 1000;
/// Which bytes of the digest the text has, in this order.
const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

struct Md5Crypt {
    name: &'static str,
    /// `$1$` or `$apr1$`, which is hashed as well.
    prefix: &'static str,
    salt: Box<[u8]>,
    expected: [u8; 16],
}

/// Reads what follows `$1$`.
pub(super) fn parse_md5_crypt(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, "md5-crypt", "$1$")
}

/// Reads what follows `$apr1$`.
pub(super) fn parse_apr1(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, "apr1", "$apr1$")
}

fn parse(
    rest: &str,
    name: &'static str,
    prefix: &'static str,
) -> Result<Box<dyn Scheme>, HashError> {
    let malformed = HashError::Malformed(name);
    let (salt, hash) = rest.split_once('$').ok_or(malformed)?;
    if salt.len() > LONGEST_SALT || !is_crypt_salt(salt) {
        return Err(malformed);
    }
    Ok(Box::new(Md5Crypt {
        name,
        prefix,
        salt: salt.as_bytes().into(),
        expected: decode_crypt(hash).ok_or(malformed)?,
    }))
}

/// The digest, as in FreeBSD's crypt-md5.c.
fn digest(password: &[u8], salt: &[u8], prefix: &str) -> [u8; 16] {
    let alternate = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(prefix);
    first.update(salt);
    for piece in password.chunks(alternate.len()) {
        first.update(&alternate[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..ROUNDS {
        let odd = round % 2 == 1;
        digest = md5(&[
            if odd { password } else { &digest },
            if round % 3 == 0 { &[] } else { salt },
            if round % 7 == 0 { &[] } else { password },
            if odd { &digest } else { password },
        ]);
    }
    digest
}

fn md5(pieces: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}

impl Scheme for Md5Crypt {
    fn name(&self) -> &'static str {
        self.name
    }

    fn matches(&self, password: &[u8]) -> bool {
        let digest = digest(password, &self.salt, self.prefix);
        ORDER
            .map(|index| digest[index])
            .ct_eq(&self.expected)
            .into()
    }

    fn weakness(&self) -> Option<&'static str> {
        Some(self.prefix)
    }
}
