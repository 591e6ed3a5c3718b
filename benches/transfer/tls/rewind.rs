//! A cipher suite that can decrypt the first record of a connection repeatedly.
//!
//! rustls counts records, and the number is part of a record's nonce. To decrypt the first record
//! once more, its cipher must use the first number, and later numbers must not count the
//! repetitions. Only the client has this suite. It changes nothing that is sent.

use std::sync::LazyLock;

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter,
    Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{
    CipherSuiteCommon, ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls13CipherSuite,
};

/// Bytes at the end of an encrypted record that identify it: the cipher's tag.
const TAG: usize = 16;

/// The default provider with this suite and no other.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![SupportedCipherSuite::Tls13(&SUITE)],
        ..aws_lc_rs::default_provider()
    }
}

static SUITE: LazyLock<Tls13CipherSuite> = LazyLock::new(|| {
    let original = original();
    Tls13CipherSuite {
        common: CipherSuiteCommon {
            suite: original.common.suite,
            hash_provider: original.common.hash_provider,
            confidentiality_limit: original.common.confidentiality_limit,
        },
        hkdf_provider: original.hkdf_provider,
        aead_alg: &Rewinding,
        quic: None,
    }
});

/// The suite that it wraps: [`super::SUITE`].
fn original() -> &'static Tls13CipherSuite {
    match aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384 {
        SupportedCipherSuite::Tls13(suite) => suite,
        SupportedCipherSuite::Tls12(_) => unreachable!("it has 1.3 in its name"),
    }
}

struct Rewinding;

impl Tls13AeadAlgorithm for Rewinding {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        original().aead_alg.encrypter(key, iv)
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Decrypter {
            original: original().aead_alg.decrypter(key, iv),
            first: [0; TAG],
            repetitions: 0,
        })
    }

    fn key_len(&self) -> usize {
        original().aead_alg.key_len()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: Iv,
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        original().aead_alg.extract_keys(key, iv)
    }
}

struct Decrypter {
    original: Box<dyn MessageDecrypter>,
    /// The first record's tag.
    first: [u8; TAG],
    /// Number of repetitions of that record.
    repetitions: u64,
}

impl MessageDecrypter for Decrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        number: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let tag = message.payload.last_chunk::<TAG>();
        if number == 0 {
            self.first = tag.copied().unwrap_or_default();
        } else if tag == Some(&self.first) {
            self.repetitions += 1;
            return self.original.decrypt(message, 0);
        }
        self.original.decrypt(message, number - self.repetitions)
    }
}
