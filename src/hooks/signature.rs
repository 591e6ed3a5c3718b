//! The signature of a call: Standard Webhooks, scheme `v1`.
//!
//! `webhook-signature: v1,BASE64(HMAC-SHA256(secret, "ID.TIMESTAMP.BODY"))`. ID and TIMESTAMP are the
//! headers `webhook-id` and `webhook-timestamp` (seconds since 1970).

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use http::header::{HeaderMap, InvalidHeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// A secret that begins so is the key in base64, as Standard Webhooks writes it.
const PREFIX: &str = "whsec_";

/// The shortest key that a secret may be the base64 of, bytes. Shorter ones can be guessed.
const SHORTEST: usize = 16;

/// A secret from which no key can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// What stands after `whsec_` is not base64.
    #[error("begins with {PREFIX}, and the rest is not base64")]
    NotBase64,
    /// The key is too short.
    #[error("begins with {PREFIX}, and its key has fewer than {SHORTEST} bytes")]
    TooShort,
}

/// Whether a secret is the text of a key, or the key in base64 after `whsec_`.
///
/// # Errors
/// It begins with `whsec_`, and no key follows.
pub fn check_secret(secret: &SecretString) -> Result<(), SecretError> {
    let Some(encoded) = secret.expose_secret().strip_prefix(PREFIX) else {
        return Ok(());
    };
    let key = STANDARD
        .decode(encoded)
        .map_err(|_| SecretError::NotBase64)?;
    match key.len() {
        0..SHORTEST => Err(SecretError::TooShort),
        _ => Ok(()),
    }
}

/// Signs calls. Clones share the secret, which a reload can replace.
#[derive(Debug, Clone)]
pub struct Signer(Arc<ArcSwap<SecretString>>);

impl Signer {
    pub(super) fn new(secret: SecretString) -> Signer {
        Signer(Arc::new(ArcSwap::from_pointee(secret)))
    }

    /// Signs with this secret from now on.
    pub fn replace(&self, secret: &SecretString) {
        self.0.store(Arc::new(secret.clone()));
    }

    /// The signature of a call.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let secret = self.0.load();
        let secret = secret.expose_secret();
        let decoded = secret
            .strip_prefix(PREFIX)
            .and_then(|key| STANDARD.decode(key).ok());
        let key = decoded.as_deref().unwrap_or(secret.as_bytes());
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
            return String::new();
        };
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The headers of a call: its id, its time, and its signature if there is a secret.
pub(super) fn headers(
    signer: Option<&Signer>,
    id: &str,
    body: &[u8],
) -> Result<HeaderMap, InvalidHeaderValue> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the receiver compares the time with its own clock"
    )]
    let timestamp = jiff::Timestamp::now().as_second();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_str(id)?);
    headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
    if let Some(signer) = signer {
        let signature = signer.sign(id, timestamp, body);
        headers.insert("webhook-signature", HeaderValue::from_str(&signature)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_in_base64_holds_a_key() {
        let key = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for (secret, expected) in [
            ("text".to_owned(), Ok(())),
            (key(16), Ok(())),
            (key(15), Err(SecretError::TooShort)),
            (PREFIX.to_owned(), Err(SecretError::TooShort)),
            (format!("{PREFIX}!!"), Err(SecretError::NotBase64)),
            (
                key(17).trim_end_matches('=').to_owned(),
                Err(SecretError::NotBase64),
            ),
        ] {
            assert_eq!(check_secret(&secret.as_str().into()), expected, "{secret}");
        }
    }

    /// The example of the specification of Standard Webhooks.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = Signer::new(secret.into()).sign(id, 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let other = Signer::new("plain text".into()).sign(id, 1_614_265_330, body);
        assert_ne!(other, signed);
    }

    #[test]
    fn a_call_without_a_secret_has_no_signature() {
        let unsigned = headers(None, "id", b"{}").unwrap();
        assert!(unsigned.contains_key("webhook-id"));
        assert!(!unsigned.contains_key("webhook-signature"));
        let signer = Signer::new("s".into());
        let signed = headers(Some(&signer), "id", b"{}").unwrap();
        assert!(signed.contains_key("webhook-signature"));
        assert!(!format!("{signer:?}").contains("\"s\""));
    }
}
