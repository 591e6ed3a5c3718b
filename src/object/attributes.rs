//! [`ObjectAttributes`]: what the objects of a mount are like, whatever makes them: an upload of one
//! or many parts, an append, a copy, a rename across stores, a directory's marker.
//!
//! Each [`Location`] that a mount makes carries those of its mount. Where an object is written, they
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

use crate::object::error::{ObjectError, RequestFailure};
use crate::object::head::Attributes;
use crate::object::keys;
use crate::object::location::Location;
use crate::object::part_sizes::PartSizes;

/// `aws:kms:dsse`: two layers.
const DSSE: &str = "aws:kms:dsse";

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
    fn of(&self, key: &str) -> String {
        match self {
            ContentType::Fixed(mime) => mime.clone(),
            ContentType::ByName => {
                let guessed = mime_guess::from_path(key).first_or_octet_stream();
                guessed.essence_str().to_owned()
            }
        }
    }
}

impl Attributes {
    /// These, with what the mount of an object says.
    pub(in crate::object) fn of_object(self, object: &Location) -> Attributes {
        let Some(mount) = object.attributes.as_deref() else {
            return Attributes {
                customer_key_md5: None,
                ..self
            };
        };
        let content_type = mount.content_type.as_ref().map(|kind| kind.of(&object.key));
        Attributes {
            content_type: content_type.or(self.content_type.clone()),
            storage_class: mount.storage_class.clone().or(self.storage_class.clone()),
            ..self.named(mount).encrypted(mount)
        }
    }

    /// These, with what the mount of a directory says of its marker.
    pub(in crate::object) fn of_marker(self, directory: &Location) -> Attributes {
        let none = ObjectAttributes::default();
        let mount = directory.attributes.as_deref().unwrap_or(&none);
        Attributes {
            storage_class: None,
            ..self.named(mount).encrypted(mount)
        }
    }

    /// The attributes of a piece of a tail.
    pub(in crate::object) fn of_tail(at: &Location) -> Attributes {
        match at.attributes.as_deref() {
            Some(mount) => Attributes::default().encrypted(mount),
            None => Attributes::default(),
        }
    }

    /// The attributes of a record.
    pub(in crate::object) fn of_record(at: &Location) -> Attributes {
        Attributes {
            customer_key_md5: None,
            ..Attributes::of_tail(at)
        }
    }

    /// The attributes of the file at a staged key that becomes an object with these.
    pub(in crate::object) fn of_staged(&self) -> Attributes {
        Attributes {
            storage_class: None,
            website_redirect_location: None,
            acl: None,
            tagging: None,
            ..self.clone()
        }
    }

    /// ACL, tags and metadata.
    fn named(mut self, mount: &ObjectAttributes) -> Attributes {
        self.metadata.extend(mount.metadata.clone());
        let tags = mount.tags.iter();
        let tagging = keys::tagging(tags.map(|(name, value)| (name.as_str(), value.as_str())));
        Attributes {
            acl: mount.acl.clone().or(self.acl),
            tagging: Some(tagging)
                .filter(|text| !text.is_empty())
                .or(self.tagging),
            ..self
        }
    }

    fn encrypted(self, mount: &ObjectAttributes) -> Attributes {
        let customer_key_md5 = None;
        match &mount.encryption {
            None => Attributes {
                customer_key_md5,
                ..self
            },
            Some(Encryption::Store) => Attributes {
                server_side_encryption: Some("AES256".to_owned()),
                kms_key_id: None,
                bucket_key_enabled: None,
                customer_key_md5,
                ..self
            },
            Some(Encryption::Kms {
                dual_layer,
                key,
                bucket_key,
            }) => Attributes {
                server_side_encryption: Some(if *dual_layer { DSSE } else { "aws:kms" }.to_owned()),
                kms_key_id: key.clone(),
                bucket_key_enabled: *bucket_key,
                customer_key_md5,
                ..self
            },
            Some(Encryption::Customer(key)) => Attributes {
                server_side_encryption: None,
                kms_key_id: None,
                bucket_key_enabled: None,
                customer_key_md5: Some(key.md5().to_owned()),
                ..self
            },
        }
    }
}

impl Location {
    /// The customer's key of the mount.
    pub(in crate::object) fn customer_key(&self) -> Option<&CustomerKey> {
        match self.attributes.as_ref()?.encryption.as_ref()? {
            Encryption::Customer(key) => Some(key),
            Encryption::Store | Encryption::Kms { .. } => None,
        }
    }

    /// What the mount says, but for its customer's key, which no record is encrypted with.
    pub(in crate::object) fn attributes_without_key(&self) -> Option<Arc<ObjectAttributes>> {
        let mount = self.attributes.as_ref()?;
        Some(match self.customer_key() {
            None => Arc::clone(mount),
            Some(_) => Arc::new(ObjectAttributes {
                encryption: None,
                ..(**mount).clone()
            }),
        })
    }

    /// The key that an object with these attributes is encrypted with, if it is that of the mount.
    pub(in crate::object) fn key_of(&self, attributes: &Attributes) -> Option<&CustomerKey> {
        let md5 = attributes.customer_key_md5.as_deref()?;
        self.customer_key().filter(|key| key.md5() == md5)
    }

    /// Whether an upload with these attributes can go on here: the store takes its parts with the
    /// key only that it was created with.
    pub(in crate::object) fn has_key_of(&self, attributes: &Attributes) -> bool {
        attributes.customer_key_md5.is_none() || self.key_of(attributes).is_some()
    }

    /// The same, in a mount that encrypts as these attributes say: an upload that is resumed after
    /// the configuration has changed stays what it was.
    pub(in crate::object) fn encrypting_as(&self, attributes: &Attributes) -> Location {
        let encryption = match (
            &attributes.customer_key_md5,
            attributes.server_side_encryption.as_deref(),
        ) {
            (Some(_), _) => self.key_of(attributes).cloned().map(Encryption::Customer),
            (None, None) => None,
            (None, Some(kind)) if kind.starts_with("aws:kms") => Some(Encryption::Kms {
                dual_layer: kind == DSSE,
                key: attributes.kms_key_id.clone(),
                bucket_key: attributes.bucket_key_enabled,
            }),
            (None, Some(_)) => Some(Encryption::Store),
        };
        let mount = self.attributes.as_deref().cloned().unwrap_or_default();
        Location {
            attributes: Some(Arc::new(ObjectAttributes {
                encryption,
                ..mount
            })),
            ..self.clone()
        }
    }

    /// The part sizes of uploads here.
    pub(in crate::object) fn part_sizes(&self) -> PartSizes {
        let mount = self.attributes.as_deref();
        self.store
            .part_sizes_from(mount.and_then(|mount| mount.part_size))
    }

    /// The largest object an upload here can become, bytes.
    pub fn largest_object(&self) -> u64 {
        self.part_sizes().largest_object()
    }

    /// The most that is sent as one PutObject, bytes.
    pub fn part_size(&self) -> u64 {
        self.part_sizes().sizes().0
    }

    /// The number of parts of an upload here that are sent in parallel; at least 1.
    pub(in crate::object) fn upload_parallel(&self) -> usize {
        let mount = self.attributes.as_deref();
        let parallel = mount.and_then(|mount| mount.upload_parallel);
        let all = self.store.context().transfer.upload_parallel;
        parallel.unwrap_or(all).max(1)
    }
}

/// Sends a request that reads with the key of the location, if it has one, and once more without it
/// if the store refuses that. Returns the answer, and the MD5 of the key that it was got with.
pub(in crate::object) async fn read_with_key<T, F>(
    location: &Location,
    send: impl Fn(Option<CustomerKey>) -> F,
) -> Result<(T, Option<String>), RequestFailure>
where
    F: Future<Output = Result<T, RequestFailure>>,
{
    let Some(key) = location.customer_key() else {
        return Ok((send(None).await?, None));
    };
    let failure = match send(Some(key.clone())).await {
        Ok(output) => return Ok((output, Some(key.md5().to_owned()))),
        Err(failure) => failure,
    };
    // 400: not encrypted with a customer's key, 403: with another one, or a policy.
    if !matches!(failure.status, Some(400 | 403)) {
        return Err(failure);
    }
    match send(None).await {
        Ok(output) => Ok((output, None)),
        Err(without) if without.status == Some(400) => Err(RequestFailure {
            error: ObjectError::OtherKey,
            ..failure
        }),
        Err(without) => Err(without),
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
