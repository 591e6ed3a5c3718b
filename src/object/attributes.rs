//! [`ObjectAttributes`]: what the objects of a mount are like, whatever makes them: an upload of one
//! or many parts, an append, a copy, a rename across stores, a directory's marker.
//!
//! Each [`Location`](crate::object::Location) that a mount makes carries those of its mount. Where an object is written, they
//! are laid over the attributes that it has already: what the mount does not name stays.
//!
//! ```text
//!                     encryption      type, class   ACL, tags, metadata
//!   object            yes             yes           yes
//!   marker `dir/`     yes             no            yes
//!   staged file       yes             type          metadata
//!   tail              yes             no            no
//!   record            not SSE-C       no            no
//! ```
//!
//! A marker has no bytes: classes that bill a smallest size or a shortest time would only make it
//! dearer. The state of uploads is encrypted since policies of buckets demand that of each request.
//! Tails and staged files hold the user's bytes. A record does not, and the sweep, which has no
//! customer's key, must read it.
//!
//! SSE-C: a request that reads sends the key of its location. If the object is not encrypted with a
//! customer's key, the store answers 400, and the request is sent once more without the key: so
//! what was stored before the mount had a key stays readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Digest as _;
use secrecy::{ExposeSecret, SecretString};

/// What the objects of a mount are like. What is not given is left to the object or the store.
#[derive(Debug, Clone, Default)]
pub struct ObjectAttributes {
    /// Content-Type.
    pub content_type: Option<ContentType>,
    /// x-amz-storage-class.
    pub storage_class: Option<String>,
    /// How objects are encrypted.
    pub encryption: Option<Encryption>,
    /// x-amz-acl: the name of a canned ACL.
    pub acl: Option<String>,
    /// Name → value. If there are any, an object has these and no other tags.
    pub tags: BTreeMap<String, String>,
    /// User metadata, without `x-amz-meta-`, as it is sent.
    pub metadata: BTreeMap<String, String>,
    /// The size of the first parts of an upload, bytes, instead of that of all mounts.
    pub part_size: Option<u64>,
    /// Parts of one upload in flight at once, instead of the number of all mounts.
    pub upload_parallel: Option<usize>,
}

/// Which Content-Type objects get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContentType {
    /// This.
    Fixed(String),
    /// That of the name's extension, else `application/octet-stream`.
    ByName,
}

/// How objects are encrypted in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// SSE-S3: a key of the store.
    Store,
    /// SSE-KMS: a key of a key management service.
    Kms {
        /// Whether there are two layers of encryption.
        dual_layer: bool,
        /// The key; `None`: the default one.
        key: Option<String>,
        /// Whether the bucket has a key of its own, which saves requests to the service.
        bucket_key: Option<bool>,
    },
    /// SSE-C: a key that each request brings along.
    Customer(CustomerKey),
}

/// The key of SSE-C.
#[derive(Debug, Clone)]
pub struct CustomerKey {
    /// 32 bytes in base64.
    key: Arc<SecretString>,
    /// The MD5 of the bytes, in base64.
    md5: Arc<str>,
}

impl PartialEq for CustomerKey {
    fn eq(&self, other: &CustomerKey) -> bool {
        self.md5 == other.md5
    }
}

impl Eq for CustomerKey {}

/// Why a text is not a key of SSE-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CustomerKeyError {
    /// Not base64.
    #[error("is not base64")]
    NotBase64,
    /// Another number of bytes than 32.
    #[error("has {0} bytes, not 32")]
    Length(usize),
}

impl CustomerKey {
    /// Reads 32 bytes in base64.
    ///
    /// # Errors
    /// If it is something else.
    pub fn new(text: &SecretString) -> Result<CustomerKey, CustomerKeyError> {
        let bytes = BASE64_STANDARD
            .decode(text.expose_secret())
            .map_err(|_| CustomerKeyError::NotBase64)?;
        if bytes.len() != 32 {
            return Err(CustomerKeyError::Length(bytes.len()));
        }
        Ok(CustomerKey {
            md5: BASE64_STANDARD.encode(md5::Md5::digest(&bytes)).into(),
            key: Arc::new(text.clone()),
        })
    }

    /// The value of the header with the key.
    pub(in crate::object) fn header(&self) -> String {
        self.key.expose_secret().to_owned()
    }

    /// The value of the header with its MD5. It identifies the key, and gives nothing of it away.
    pub(in crate::object) fn md5(&self) -> &str {
        &self.md5
    }
}

/// Sets the headers of SSE-C, if there is a key.
macro_rules! with_key {
    ($request:expr, $key:expr) => {{
        let key: Option<&$crate::object::attributes::CustomerKey> = $key;
        $request
            .set_sse_customer_algorithm(key.map(|_| "AES256".to_owned()))
            .set_sse_customer_key(key.map($crate::object::attributes::CustomerKey::header))
            .set_sse_customer_key_md5(key.map(|key| key.md5().to_owned()))
    }};
}

/// Sets the headers of SSE-C for the source of a copy, if there is a key.
macro_rules! with_source_key {
    ($request:expr, $key:expr) => {{
        let key: Option<&$crate::object::attributes::CustomerKey> = $key;
        $request
            .set_copy_source_sse_customer_algorithm(key.map(|_| "AES256".to_owned()))
            .set_copy_source_sse_customer_key(
                key.map($crate::object::attributes::CustomerKey::header),
            )
            .set_copy_source_sse_customer_key_md5(key.map(|key| key.md5().to_owned()))
    }};
}

pub(in crate::object) use {with_key, with_source_key};

impl ContentType {
    /// The type of the object with this key.
    pub(in crate::object) fn of(&self, key: &str) -> String {
        match self {
            ContentType::Fixed(mime) => mime.clone(),
            ContentType::ByName => {
                let guessed = mime_guess::from_path(key).first_or_octet_stream();
                guessed.essence_str().to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_customer_key_has_32_bytes() {
        let of = |text: &str| CustomerKey::new(&SecretString::from(text));
        let key = of(&BASE64_STANDARD.encode([7; 32])).unwrap();
        // printf '\7%.0s' {1..32} | openssl dgst -md5 -binary | base64
        assert_eq!(key.md5(), "y4HAEFCYWuvAXWFTtA1Qpg==");
        assert_eq!(of("?").unwrap_err(), CustomerKeyError::NotBase64);
        let short = BASE64_STANDARD.encode([7; 31]);
        assert_eq!(of(&short).unwrap_err(), CustomerKeyError::Length(31));
        assert!(!format!("{key:?}").contains(&key.header()));
    }

    #[test]
    fn types_by_name() {
        for (key, mime) in [
            ("a.csv", "text/csv"),
            ("in.d/A.PDF", "application/pdf"),
            ("a.tar.gz", "application/gzip"),
            ("in.csv/a", "application/octet-stream"),
            ("a.unknown", "application/octet-stream"),
            (".csv", "application/octet-stream"),
        ] {
            assert_eq!(ContentType::ByName.of(key), mime, "{key}");
        }
    }
}
