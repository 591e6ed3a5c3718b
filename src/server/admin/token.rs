//! Who may change something over the admin port: a client that knows `admin.token`.
//!
//! A program sends the token with each request (`Authorization: Bearer`). A person enters it once and
//! gets a cookie, which is not the token but a MAC by a key of this process: it ends with the
//! process, and after [`COOKIE_TIME`]. Wrong tokens are answered late, and an address that sends
//! [`GUESSES`] of them within a minute is refused for a minute without a look at its token.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use tokio::time::Instant;

use crate::auth::{BucketTable, network_of};

/// How long a cookie counts.
pub(super) const COOKIE_TIME: Duration = Duration::from_secs(12 * 3600);
/// The name of the cookie.
pub(super) const COOKIE: &str = "s3ftpd_admin";
/// How long the answer to a wrong token waits.
pub(super) const WRONG_DELAY: Duration = Duration::from_secs(1);
/// Wrong tokens of one address in a row that lead to [`TokenError::TooMany`].
const GUESSES: u32 = 10;
/// How long such an address is refused.
pub(super) const REFUSED_FOR: Duration = Duration::from_secs(60);
/// The most addresses whose wrong tokens are counted.
const ADDRESSES: usize = 1_000;

/// The token and what was guessed.
pub(super) struct AdminToken {
    /// Of this process, as long as a block of SHA-256.
    key: [u8; 64],
    token: ArcSwap<SecretString>,
    started: Instant,
    hasher: RandomState,
    /// The lock is held for a look-up only.
    wrong: Mutex<BucketTable>,
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// It is another.
    Wrong,
    /// The address has sent too many wrong ones.
    TooMany,
}

impl AdminToken {
    /// Compares with this token; `now` begins the time that cookies count.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new(token: SecretString, now: Instant) -> Result<AdminToken, getrandom::Error> {
        let mut key = [0; 64];
        getrandom::fill(&mut key)?;
        Ok(AdminToken {
            key,
            token: ArcSwap::from_pointee(token),
            started: now,
            hasher: RandomState::new(),
            wrong: Mutex::new(BucketTable::new(ADDRESSES, REFUSED_FOR, GUESSES, true)),
        })
    }

    /// Compares with this token from now on. Cookies of another token end.
    pub(in crate::server) fn replace(&self, token: &SecretString) {
        self.token.store(Arc::new(token.clone()));
    }

    /// Whether a client at this address has sent the token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub(super) fn check(&self, given: &str, from: IpAddr, now: Instant) -> Result<(), TokenError> {
        let from = self.hasher.hash_one(network_of(from));
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.is_banned(from, now) {
            return Err(TokenError::TooMany);
        }
        let expected = self.mac("token", self.token.load().expose_secret());
        // MACs of both are compared, in constant time: neither the length shows nor how much fits.
        let given = self.mac("token", given).finalize();
        if expected.verify(&given.into_bytes()).is_ok() {
            return Ok(());
        }
        wrong.add(from, now);
        Err(TokenError::Wrong)
    }

    /// The value of a new cookie.
    pub(super) fn cookie(&self, now: Instant) -> String {
        let ends = (now + COOKIE_TIME).duration_since(self.started).as_secs();
        let ends = ends.to_string();
        let mac = self.cookie_mac(&ends).finalize().into_bytes();
        let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{ends}.{mac}")
    }

    /// Whether this is a cookie of this process that still counts.
    pub(super) fn knows(&self, cookie: &str, now: Instant) -> bool {
        let Some((ends, mac)) = cookie.split_once('.') else {
            return false;
        };
        let Some(mac) = unhex(mac) else {
            return false;
        };
        let genuine = self.cookie_mac(ends).verify_slice(&mac).is_ok();
        let passed = now.duration_since(self.started).as_secs();
        genuine && ends.parse::<u64>().is_ok_and(|ends| passed < ends)
    }

    /// The MAC of a cookie: of its end and the token.
    fn cookie_mac(&self, ends: &str) -> Hmac<Sha256> {
        let mut mac = self.mac("cookie", ends);
        mac.update(b"\0");
        mac.update(self.token.load().expose_secret().as_bytes());
        mac
    }

    fn mac(&self, purpose: &str, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        mac.update(purpose.as_bytes());
        mac.update(b"\0");
        mac.update(text.as_bytes());
        mac
    }
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminToken")
    }
}

/// 32 bytes in hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() || !text.is_ascii() {
        return None;
    }
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TOKEN: &str = "correct horse battery";

    fn token() -> AdminToken {
        AdminToken::new(SecretString::from(TOKEN), Instant::now()).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn only_the_token_counts_and_guesses_end_for_a_minute() {
        let (token, now) = (token(), Instant::now());
        assert_eq!(token.check(TOKEN, address(1), now), Ok(()));
        for wrong in ["", "correct horse", "correct horse battery ", "x"] {
            let checked = token.check(wrong, address(1), now);
            assert_eq!(checked, Err(TokenError::Wrong), "{wrong:?}");
        }
        for _ in 4..GUESSES {
            let checked = token.check("x", address(1), now);
            assert_eq!(checked, Err(TokenError::Wrong));
        }
        let refused = token.check(TOKEN, address(1), now);
        assert_eq!(refused, Err(TokenError::TooMany));
        assert_eq!(token.check(TOKEN, address(2), now), Ok(()));
        let later = now + REFUSED_FOR + Duration::from_secs(1);
        assert_eq!(token.check(TOKEN, address(1), later), Ok(()));
    }

    #[test]
    fn a_cookie_counts_in_its_process_for_its_time() {
        let (one, other) = (token(), token());
        let now = Instant::now();
        let cookie = one.cookie(now);
        assert!(one.knows(&cookie, now));
        assert!(!other.knows(&cookie, now));
        assert!(!one.knows(&cookie, now + COOKIE_TIME + Duration::from_secs(1)));
        let (ends, mac) = cookie.split_once('.').unwrap();
        let prolonged = format!("{}9.{mac}", ends);
        for wrong in ["", ".", TOKEN, &prolonged, &cookie[..cookie.len() - 1]] {
            assert!(!one.knows(wrong, now), "{wrong}");
        }
        assert!(!cookie.contains(TOKEN));
        one.replace(&SecretString::from("another token of sixteen"));
        assert!(!one.knows(&cookie, now), "the token was replaced");
        assert_eq!(one.check(TOKEN, address(3), now), Err(TokenError::Wrong));
    }
}
