//! Digests of objects: from the store's checksum if that covers the whole object, else by reading
//! it.
//!
//! A store's checksum of a multipart upload covers the whole object only if its type says so
//! (`FULL_OBJECT`, as our own uploads request); a composite one is a checksum of checksums. An ETag
//! is not a reliable MD5: not of multipart uploads, and not with SSE-KMS.

use std::time::Duration;

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::Digest as _;

use crate::object::download::Download;
use crate::object::error::ObjectError;
use crate::object::head::{head_object, total_size};
use crate::object::location::Location;

/// After this number of bytes other tasks get their turn.
const TURN: usize = 256 * 1024;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
    /// CRC-32 as in zip, big-endian.
    Crc32,
}

/// The digest of the bytes from `first` to before `stop` (`None`: the object's end), and the end of
/// the bytes that it covers. A whole object costs 1 HEAD if the store has
/// its checksum, else a download of the bytes. `progress` hears how many bytes were read. An object
/// that changes meanwhile is [`ObjectError::Changed`].
pub async fn digest(
    location: &Location,
    algorithm: Algorithm,
    first: u64,
    stop: Option<u64>,
    memory_wait: Duration,
    mut progress: impl FnMut(usize),
) -> Result<(Vec<u8>, u64), ObjectError> {
    let kept = matches!(
        algorithm,
        Algorithm::Crc32 | Algorithm::Sha1 | Algorithm::Sha256
    );
    if first == 0
        && stop.is_none()
        && kept
        && let Some(stored) = stored(location, algorithm).await?
    {
        return Ok(stored);
    }
    let budget = &location.store.context().budget;
    let admission = budget
        .admit(memory_wait)
        .await
        .map_err(|_| ObjectError::Memory)?;
    let stop = stop.unwrap_or(u64::MAX);
    let mut download = Box::pin(Download::open_between(
        location.clone(),
        admission,
        first,
        stop,
    ))
    .await?;
    let end = first + download.remaining();
    let mut hasher = Hasher::new(algorithm);
    while let Some(chunk) = download.next().await? {
        for piece in chunk.chunks(TURN) {
            hasher.update(piece);
            tokio::task::yield_now().await;
        }
        progress(chunk.len());
    }
    Ok((hasher.finish(), end))
}

/// The store's checksum of the whole object, `None` if it has none, and the object's size.
async fn stored(
    location: &Location,
    algorithm: Algorithm,
) -> Result<Option<(Vec<u8>, u64)>, ObjectError> {
    let (output, _) = Box::pin(head_object(location, Some(ChecksumMode::Enabled))).await?;
    let size = total_size(None, output.content_length())?;
    let text = match algorithm {
        Algorithm::Crc32 => output.checksum_crc32(),
        Algorithm::Sha1 => output.checksum_sha1(),
        Algorithm::Sha256 => output.checksum_sha256(),
        Algorithm::Sha512 | Algorithm::Md5 => None,
    };
    // A composite checksum ends in the number of its parts. If a store does not report the type,
    // its checksum counts if the object was written by one PutObject.
    let multipart = output
        .e_tag()
        .is_some_and(|etag| etag.trim_matches('"').contains('-'));
    let whole = match output.checksum_type() {
        Some(kind) => *kind == ChecksumType::FullObject,
        None => !multipart,
    };
    let bytes = text
        .filter(|text| whole && !text.contains('-'))
        .and_then(|text| BASE64_STANDARD.decode(text).ok());
    Ok(bytes
        .filter(|bytes| bytes.len() == algorithm.length())
        .map(|bytes| (bytes, size)))
}

impl Algorithm {
    /// Bytes of the digest.
    fn length(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha1 => 20,
            Algorithm::Sha512 => 64,
            Algorithm::Md5 => 16,
            Algorithm::Crc32 => 4,
        }
    }
}

enum Hasher {
    Sha256(sha2::Sha256),
    Sha1(sha1::Sha1),
    Sha512(Box<sha2::Sha512>),
    Md5(md5::Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::new(sha2::Sha512::new())),
            Algorithm::Md5 => Hasher::Md5(md5::Md5::new()),
            Algorithm::Crc32 => Hasher::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha1(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
            Hasher::Md5(hash) => hash.update(bytes),
            Hasher::Crc32(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Hasher::Sha256(hash) => hash.finalize().to_vec(),
            Hasher::Sha1(hash) => hash.finalize().to_vec(),
            Hasher::Sha512(hash) => hash.finalize().to_vec(),
            Hasher::Md5(hash) => hash.finalize().to_vec(),
            Hasher::Crc32(hash) => hash.finalize().to_be_bytes().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_usual_nine_digits() {
        for (algorithm, expected) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (
                Algorithm::Sha256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            let digest = hasher.finish();
            assert_eq!(digest.len(), algorithm.length());
            let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(text, expected);
        }
        assert_eq!(Hasher::new(Algorithm::Sha512).finish().len(), 64);
    }
}
