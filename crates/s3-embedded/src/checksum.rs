//! S3's flexible checksums: algorithm, type and value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{ChecksumAlgorithm, ChecksumType};
use s3s::{S3Result, s3_error};

/// An algorithm that `x-amz-checksum-…` headers can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 5] = [
        Algorithm::Crc32,
        Algorithm::Crc32c,
        Algorithm::Crc64Nvme,
        Algorithm::Sha1,
        Algorithm::Sha256,
    ];

    /// The name in requests and answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => ChecksumAlgorithm::CRC32,
            Algorithm::Crc32c => ChecksumAlgorithm::CRC32C,
            Algorithm::Crc64Nvme => ChecksumAlgorithm::CRC64NVME,
            Algorithm::Sha1 => ChecksumAlgorithm::SHA1,
            Algorithm::Sha256 => ChecksumAlgorithm::SHA256,
        }
    }

    pub(crate) fn from_name(name: &str) -> S3Result<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| s3_error!(InvalidRequest, "Unknown checksum algorithm {name}"))
    }

    /// The header or trailer of its value.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The default of CreateMultipartUpload if the client gives no type.
    pub(crate) fn default_kind(self) -> Kind {
        match self {
            Algorithm::Crc64Nvme => Kind::FullObject,
            _ => Kind::Composite,
        }
    }

    /// Whether a multipart upload can have a checksum of the whole object.
    pub(crate) fn allows(self, kind: Kind) -> bool {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => true,
            Algorithm::Crc64Nvme => kind == Kind::FullObject,
            Algorithm::Sha1 | Algorithm::Sha256 => kind == Kind::Composite,
        }
    }
}

/// The type: what a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The checksums of the parts.
    Composite,
    /// The bytes of the object.
    FullObject,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Composite => ChecksumType::COMPOSITE,
            Kind::FullObject => ChecksumType::FULL_OBJECT,
        }
    }

    pub(crate) fn from_name(name: &str) -> S3Result<Kind> {
        match name {
            ChecksumType::COMPOSITE => Ok(Kind::Composite),
            ChecksumType::FULL_OBJECT => Ok(Kind::FullObject),
            _ => Err(s3_error!(InvalidRequest, "Unknown checksum type {name}")),
        }
    }
}

/// The checksum of an object or a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    /// Base64, followed by `-n` for a composite one of n parts.
    pub(crate) value: String,
}

impl Checksum {
    /// A composite checksum from those of the parts.
    pub(crate) fn composite<'a>(
        algorithm: Algorithm,
        parts: impl Iterator<Item = &'a str>,
    ) -> S3Result<Checksum> {
        let mut hasher = Hasher::new(algorithm);
        let mut count = 0usize;
        for part in parts {
            let raw = BASE64
                .decode(part)
                .map_err(|error| s3_error!(error, InvalidRequest, "a checksum is not base64"))?;
            hasher.update(&raw);
            count += 1;
        }
        Ok(Checksum {
            algorithm,
            kind: Kind::Composite,
            value: format!("{}-{count}", hasher.finish()),
        })
    }
}

/// Computes one checksum over bytes as they pass.
pub(crate) struct Hasher {
    algorithm: Algorithm,
    inner: ChecksumHasher,
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        let mut inner = ChecksumHasher::default();
        match algorithm {
            Algorithm::Crc32 => inner.crc32 = Some(s3s::crypto::Crc32::default()),
            Algorithm::Crc32c => inner.crc32c = Some(s3s::crypto::Crc32c::default()),
            Algorithm::Crc64Nvme => inner.crc64nvme = Some(s3s::crypto::Crc64Nvme::default()),
            Algorithm::Sha1 => inner.sha1 = Some(s3s::crypto::Sha1::default()),
            Algorithm::Sha256 => inner.sha256 = Some(s3s::crypto::Sha256::default()),
        }
        Hasher { algorithm, inner }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// The value, base64.
    pub(crate) fn finish(self) -> String {
        let sums = self.inner.finalize();
        let value = match self.algorithm {
            Algorithm::Crc32 => sums.checksum_crc32,
            Algorithm::Crc32c => sums.checksum_crc32c,
            Algorithm::Crc64Nvme => sums.checksum_crc64nvme,
            Algorithm::Sha1 => sums.checksum_sha1,
            Algorithm::Sha256 => sums.checksum_sha256,
        };
        value.unwrap_or_default()
    }
}

/// A CRC-32 as S3 writes it: base64 of its four bytes, the highest first.
pub(crate) fn crc32_text(value: u32) -> String {
    BASE64.encode(value.to_be_bytes())
}

/// The MD5 of a `Content-MD5` header.
pub(crate) fn parse_md5(header: &str) -> S3Result<[u8; 16]> {
    BASE64
        .decode(header)
        .ok()
        .and_then(|raw| raw.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest))
}

/// The checksum of a request, or of a part in the body of Complete, from its five optional fields.
macro_rules! given_checksum {
    ($from:expr) => {{
        use $crate::checksum::Algorithm;
        [
            (Algorithm::Crc32, &$from.checksum_crc32),
            (Algorithm::Crc32c, &$from.checksum_crc32c),
            (Algorithm::Crc64Nvme, &$from.checksum_crc64nvme),
            (Algorithm::Sha1, &$from.checksum_sha1),
            (Algorithm::Sha256, &$from.checksum_sha256),
        ]
        .into_iter()
        .find_map(|(algorithm, value)| value.clone().map(|value| (algorithm, value)))
    }};
}
pub(crate) use given_checksum;

/// Writes a checksum into its field of an answer's five.
macro_rules! set_checksum {
    ($into:expr, $checksum:expr) => {{
        use $crate::checksum::Algorithm;
        if let Some((algorithm, value)) = $checksum {
            let field = match algorithm {
                Algorithm::Crc32 => &mut $into.checksum_crc32,
                Algorithm::Crc32c => &mut $into.checksum_crc32c,
                Algorithm::Crc64Nvme => &mut $into.checksum_crc64nvme,
                Algorithm::Sha1 => &mut $into.checksum_sha1,
                Algorithm::Sha256 => &mut $into.checksum_sha256,
            };
            *field = Some(value);
        }
    }};
}
pub(crate) use set_checksum;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn known_values() {
        // The check values of the catalogue of CRCs for "123456789".
        for (algorithm, expected) in [
            (Algorithm::Crc32, 0xcbf4_3926_u32.to_be_bytes().to_vec()),
            (Algorithm::Crc32c, 0xe306_9283_u32.to_be_bytes().to_vec()),
            (
                Algorithm::Crc64Nvme,
                0xae8b_1486_0a79_9888_u64.to_be_bytes().to_vec(),
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hasher.finish(), BASE64.encode(expected), "{algorithm:?}");
        }
        assert_eq!(crc32_text(0xcbf4_3926), "y/Q5Jg==");
    }

    #[test]
    fn a_composite_covers_the_checksums_of_the_parts() {
        let part = |bytes: &[u8]| crc32_text(crc32fast::hash(bytes));
        let (a, b) = (part(b"aaa"), part(b"b"));
        let composite =
            Checksum::composite(Algorithm::Crc32, [a.as_str(), b.as_str()].into_iter()).unwrap();
        let mut raw = crc32fast::hash(b"aaa").to_be_bytes().to_vec();
        raw.extend(crc32fast::hash(b"b").to_be_bytes());
        assert_eq!(
            composite.value,
            format!("{}-2", crc32_text(crc32fast::hash(&raw)))
        );
        assert!(Checksum::composite(Algorithm::Crc32, ["!"].into_iter()).is_err());
    }
}
