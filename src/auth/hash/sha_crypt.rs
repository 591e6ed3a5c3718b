//! sha256-crypt and sha512-crypt: `$5$salt$hash`, `$6$rounds=5000$salt$hash`, as in
//! [Drepper's specification](https://www.akkadia.org/drepper/SHA-crypt.txt).

use sha_crypt::Params;
use subtle::ConstantTimeEq;

use super::{HashError, Scheme, at_most, decode_crypt, is_crypt_salt, number};

const SHA256: &str = "sha256-crypt";
const SHA512: &str = "sha512-crypt";
/// The largest number of rounds. The time of a check is in proportion to it.
const MOST_ROUNDS: u64 = 5_000_000;
const LONGEST_SALT: usize = 16;

/// Which bytes of the digest the text has, in this order.
const ORDER_SHA256: [usize; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28,
    18, 29, 19, 9, 30, 31,
];
const ORDER_SHA512: [usize; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8,
    50, 51, 30, 9, 10, 52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58,
    37, 38, 17, 59, 60, 39, 18, 19, 61, 40, 41, 20, 62, 63,
];

struct ShaCrypt<const N: usize> {
    name: &'static str,
    digest: fn(&[u8], &[u8], Params) -> [u8; N],
    order: &'static [usize; N],
    params: Params,
    salt: Box<[u8]>,
    expected: [u8; N],
}

/// Reads what follows `$5$`.
pub(super) fn parse_sha256(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, SHA256, sha_crypt::sha256_crypt, &ORDER_SHA256)
}

/// Reads what follows `$6$`.
pub(super) fn parse_sha512(rest: &str) -> Result<Box<dyn Scheme>, HashError> {
    parse(rest, SHA512, sha_crypt::sha512_crypt, &ORDER_SHA512)
}

fn parse<const N: usize>(
    rest: &str,
    name: &'static str,
    digest: fn(&[u8], &[u8], Params) -> [u8; N],
    order: &'static [usize; N],
) -> Result<Box<dyn Scheme>, HashError> {
    let malformed = HashError::Malformed(name);
    let (params, rest) = match rest.strip_prefix("rounds=") {
        Some(with_rounds) => {
            let (rounds, rest) = with_rounds.split_once('$').ok_or(malformed)?;
            let rounds = number(rounds).ok_or(malformed)?;
            at_most(name, "rounds", rounds, MOST_ROUNDS)?;
            let rounds = u32::try_from(rounds).map_err(|_| malformed)?;
            (Params::new(rounds).map_err(|_| malformed)?, rest)
        }
        None => (Params::default(), rest),
    };
    let (salt, hash) = rest.split_once('$').ok_or(malformed)?;
    if !(1..=LONGEST_SALT).contains(&salt.len()) || !is_crypt_salt(salt) {
        return Err(malformed);
    }
    Ok(Box::new(ShaCrypt {
        name,
        digest,
        order,
        params,
        salt: salt.as_bytes().into(),
        expected: decode_crypt(hash).ok_or(malformed)?,
    }))
}

impl<const N: usize> Scheme for ShaCrypt<N> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn matches(&self, password: &[u8]) -> bool {
        let digest = (self.digest)(password, &self.salt, self.params);
        let ordered = self.order.map(|index| digest[index]);
        ordered.ct_eq(&self.expected).into()
    }
}
