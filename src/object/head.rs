//! HeadObject, and a GET of the first bytes in its place.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::ChecksumMode;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::object::answer::content_range;
use crate::object::attributes::{CustomerKey, with_key};
use crate::object::customer_key::read_with_key;
use crate::object::error::{NotS3, ObjectError, RequestFailure, failure};
use crate::object::location::Location;

/// The user metadata with the client's time of a file: rclone's, seconds since 1970 with a fraction.
pub const MTIME_KEY: &str = "mtime";

/// The result of a HEAD, or of the head of a GET.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Bytes.
    pub size: u64,
    /// With its quotes, as S3 gives it.
    pub etag: String,
    /// LastModified.
    pub modified: Timestamp,
    /// The rest: what a copy has to keep.
    pub attributes: Attributes,
}

/// What a copy must preserve. Values are those of the headers; `None` if the store gives none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Content-Encoding.
    pub content_encoding: Option<String>,
    /// Content-Language.
    pub content_language: Option<String>,
    /// Content-Disposition.
    pub content_disposition: Option<String>,
    /// Cache-Control.
    pub cache_control: Option<String>,
    /// Expires; a copy preserves it if it is an HTTP date.
    pub expires: Option<String>,
    /// x-amz-website-redirect-location.
    pub website_redirect_location: Option<String>,
    /// x-amz-storage-class; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// x-amz-server-side-encryption.
    pub server_side_encryption: Option<String>,
    /// x-amz-server-side-encryption-aws-kms-key-id.
    pub kms_key_id: Option<String>,
    /// x-amz-server-side-encryption-bucket-key-enabled.
    pub bucket_key_enabled: Option<bool>,
    /// The MD5 of the customer's key that it is encrypted with (SSE-C), in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_key_md5: Option<String>,
    /// x-amz-acl of a write; no answer says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    /// x-amz-tagging of a write; no answer says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagging: Option<String>,
}

/// Reads [`Attributes`] from the output of HeadObject or GetObject, whose types share nothing but
/// the names, and the MD5 of the customer's key that it was got with.
macro_rules! attributes_of {
    ($output:expr, $key_md5:expr) => {{
        let output = &$output;
        $crate::object::head::Attributes {
            metadata: output
                .metadata()
                .map(|map| map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
                .unwrap_or_default(),
            content_type: output.content_type().map(str::to_owned),
            content_encoding: output.content_encoding().map(str::to_owned),
            content_language: output.content_language().map(str::to_owned),
            content_disposition: output.content_disposition().map(str::to_owned),
            cache_control: output.cache_control().map(str::to_owned),
            expires: output.expires_string().map(str::to_owned),
            website_redirect_location: output.website_redirect_location().map(str::to_owned),
            storage_class: output
                .storage_class()
                .map(|class| class.as_str().to_owned()),
            server_side_encryption: output
                .server_side_encryption()
                .map(|sse| sse.as_str().to_owned()),
            kms_key_id: output.ssekms_key_id().map(str::to_owned),
            bucket_key_enabled: output.bucket_key_enabled(),
            customer_key_md5: $key_md5,
            acl: None,
            tagging: None,
        }
    }};
}

/// The CRC-32 of the whole object in the output of a HeadObject, or of a GetObject of all its
/// bytes. A composite checksum is of no whole: its type says so, or the number of parts in it or in
/// the ETag.
macro_rules! whole_crc {
    ($output:expr) => {{
        let output = &$output;
        let parts = output.e_tag().is_none_or(|etag| etag.contains('-'));
        let whole = match output.checksum_type() {
            Some(kind) => *kind == aws_sdk_s3::types::ChecksumType::FullObject,
            None => !parts,
        };
        let crc = output.checksum_crc32().filter(|_| whole);
        crc.and_then($crate::object::checksum::crc_from_header)
    }};
}

/// Sets attributes on a PutObject, CreateMultipartUpload or CopyObject request.
macro_rules! with_attributes {
    ($request:expr, $attributes:expr) => {{
        let attributes: &$crate::object::head::Attributes = $attributes;
        $request
            .set_metadata(Some($crate::object::head::metadata_map(attributes)))
            .set_content_type(attributes.content_type.clone())
            .set_content_encoding(attributes.content_encoding.clone())
            .set_content_language(attributes.content_language.clone())
            .set_content_disposition(attributes.content_disposition.clone())
            .set_cache_control(attributes.cache_control.clone())
            .set_expires($crate::object::head::expires(attributes))
            .set_website_redirect_location(attributes.website_redirect_location.clone())
            .set_storage_class(
                attributes
                    .storage_class
                    .as_deref()
                    .map(aws_sdk_s3::types::StorageClass::from),
            )
            .set_server_side_encryption(
                attributes
                    .server_side_encryption
                    .as_deref()
                    .map(aws_sdk_s3::types::ServerSideEncryption::from),
            )
            .set_ssekms_key_id(attributes.kms_key_id.clone())
            .set_bucket_key_enabled(attributes.bucket_key_enabled)
            .set_acl(
                attributes
                    .acl
                    .as_deref()
                    .map(aws_sdk_s3::types::ObjectCannedAcl::from),
            )
            .set_tagging(attributes.tagging.clone())
    }};
}

/// Why an answer is not taken.
pub(super) const OTHER_RANGE: &str = "of another range than was asked for";

pub(super) use {attributes_of, whole_crc, with_attributes};

/// User metadata as the SDK wants it.
pub(super) fn metadata_map(attributes: &Attributes) -> HashMap<String, String> {
    attributes
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Expires, where it is a date.
pub(super) fn expires(attributes: &Attributes) -> Option<DateTime> {
    DateTime::from_str(attributes.expires.as_deref()?, DateTimeFormat::HttpDate).ok()
}

impl ObjectInfo {
    /// The client's modification time ([`MTIME_KEY`]), if any.
    pub fn client_modified(&self) -> Option<Timestamp> {
        parse_mtime(self.attributes.metadata.get(MTIME_KEY)?)
    }
}

/// `seconds[.fraction]`, at most nine digits of the fraction counted.
fn parse_mtime(text: &str) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let mut nanoseconds: i128 = seconds.parse::<i64>().ok()?.into();
    for index in 0..9 {
        let digit = fraction.as_bytes().get(index).map_or(0, |byte| byte - b'0');
        nanoseconds = nanoseconds * 10 + i128::from(digit);
    }
    Timestamp::from_nanosecond(if negative { -nanoseconds } else { nanoseconds }).ok()
}

/// The SDK's time as ours.
pub(super) fn timestamp(time: Option<&DateTime>) -> Option<Timestamp> {
    let time = time?;
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

/// The answer to a [`peek`].
#[derive(Debug, Clone)]
pub struct Peek {
    /// As from a HEAD.
    pub info: ObjectInfo,
    /// The first bytes; all of them if the object is not larger than requested.
    pub first: Bytes,
}

/// HeadObject.
pub async fn head(location: &Location) -> Result<ObjectInfo, ObjectError> {
    let (output, key_md5) = Box::pin(head_object(location, None)).await?;
    info_of(&output, key_md5)
}

/// HeadObject with the CRC-32 of the whole object, if the store holds it. Under SSE-KMS it needs
/// the permission to decrypt, as a GET does.
pub async fn head_with_crc(location: &Location) -> Result<(ObjectInfo, Option<u32>), ObjectError> {
    let (output, key_md5) = Box::pin(head_object(location, Some(ChecksumMode::Enabled))).await?;
    Ok((info_of(&output, key_md5)?, whole_crc!(output)))
}

fn info_of(output: &HeadObjectOutput, key_md5: Option<String>) -> Result<ObjectInfo, ObjectError> {
    Ok(ObjectInfo {
        // Not to be guessed: an append to an object of "0 bytes" would replace it.
        size: total_size(None, output.content_length())?,
        etag: output.e_tag().unwrap_or_default().to_owned(),
        modified: timestamp(output.last_modified()).unwrap_or(Timestamp::UNIX_EPOCH),
        attributes: attributes_of!(output, key_md5),
    })
}

/// HeadObject, and the MD5 of the customer's key that the object is encrypted with.
pub(super) async fn head_object(
    location: &Location,
    checksum: Option<ChecksumMode>,
) -> Result<(HeadObjectOutput, Option<String>), ObjectError> {
    let send = |key: Option<CustomerKey>| {
        let request = location
            .store
            .client()
            .head_object()
            .bucket(&*location.bucket)
            .key(&location.key)
            .set_checksum_mode(checksum.clone());
        let answer = Box::pin(with_key!(request, key.as_ref()).send());
        async move { answer.await.map_err(failure) }
    };
    match Box::pin(read_with_key(location, send)).await {
        Ok(answer) => Ok(answer),
        Err(failure) => Err(explained(location, failure).await),
    }
}

/// Why a HEAD was refused. Its refusal has no body that says so: a GetObject is made, whose refusal
/// has one, after a 301 or 400; after a 403 unless the store took the credentials a moment ago;
/// after a 404 only if the answer before refused the server's access.
pub(super) async fn explained(location: &Location, failure: RequestFailure) -> ObjectError {
    let access = location.store.access();
    let ask = match failure.status {
        // 301: the bucket is in another region.
        Some(301 | 400) => true,
        Some(403) => matches!(failure.error, ObjectError::Denied(_)) && !access.recently_accepted(),
        // versitygw answers 404 also if it does not know the access key.
        Some(404) => access.is_refused(&location.bucket),
        _ => false,
    };
    if !ask {
        return failure.error;
    }
    match (failure.status, Box::pin(peek(location, 1)).await) {
        (Some(400), Ok(_)) => {
            ObjectError::Unavailable("a HEAD is refused, a GET is not".to_owned())
        }
        (Some(400), Err(error)) => error,
        (_, Err(error)) if error.is_servers_fault() => error,
        _ => failure.error,
    }
}

/// GetObject of the first `bytes` bytes: costs as much as a HEAD, and may save the GET after it.
/// The 416 of an empty object has its size but neither time nor attributes: the time is then that
/// of 1970.
pub async fn peek(location: &Location, bytes: u64) -> Result<Peek, ObjectError> {
    let bytes = bytes.max(1);
    let send = |key: Option<CustomerKey>| {
        let request = location
            .store
            .client()
            .get_object()
            .bucket(&*location.bucket)
            .key(&location.key)
            .checksum_mode(ChecksumMode::Enabled)
            .range(format!("bytes=0-{}", bytes - 1));
        let answer = Box::pin(with_key!(request, key.as_ref()).send());
        async move { answer.await.map_err(failure) }
    };
    let (output, key_md5) = match Box::pin(read_with_key(location, send)).await {
        Ok(answer) => answer,
        Err(failure) if failure.status == Some(416) => {
            let info = ObjectInfo {
                size: 0,
                etag: failure.headers.etag.unwrap_or_default(),
                modified: Timestamp::UNIX_EPOCH,
                attributes: Attributes::default(),
            };
            return Ok(Peek {
                info,
                first: Bytes::new(),
            });
        }
        Err(failure) => return Err(failure.error),
    };
    let info = ObjectInfo {
        size: total_size(output.content_range(), output.content_length())?,
        etag: output.e_tag().unwrap_or_default().to_owned(),
        modified: timestamp(output.last_modified()).unwrap_or(Timestamp::UNIX_EPOCH),
        attributes: attributes_of!(output, key_md5),
    };
    if let Some(range) = output.content_range()
        && !starts_at(range, 0)
    {
        return Err(NotS3::result(206, OTHER_RANGE));
    }
    let whole_crc = (info.size <= bytes).then(|| whole_crc!(output)).flatten();
    let wanted = usize::try_from(info.size.min(bytes)).unwrap_or(usize::MAX);
    let mut body = output.body;
    let mut first = BytesMut::new();
    while first.len() < wanted {
        match timeout(location.store.config().request_timeout, body.next()).await {
            Ok(Some(Ok(chunk))) => {
                // The whole object in one piece is the ordinary case, and needs no copy.
                if first.is_empty() && chunk.len() >= wanted {
                    return Peek {
                        info,
                        first: chunk.slice(..wanted),
                    }
                    .checked(whole_crc);
                }
                let room = wanted - first.len();
                first.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(Some(Err(error))) => return Err(ObjectError::Unavailable(error.to_string())),
            Ok(None) => {
                return Err(ObjectError::Unavailable(
                    "the answer ended too early".to_owned(),
                ));
            }
            Err(_) => return Err(ObjectError::Timeout),
        }
    }
    Peek {
        info,
        first: first.freeze(),
    }
    .checked(whole_crc)
}

impl Peek {
    /// Compares all of an object with its checksum, if that is known.
    fn checked(self, whole_crc: Option<u32>) -> Result<Peek, ObjectError> {
        match whole_crc {
            Some(crc) if crc != crc32fast::hash(&self.first) => Err(ObjectError::Damaged),
            _ => Ok(self),
        }
    }
}

/// The object's size from a GET's Content-Range, or from its Content-Length if the store ignored
/// the range.
pub(super) fn total_size(range: Option<&str>, length: Option<i64>) -> Result<u64, ObjectError> {
    match range {
        Some(range) => content_range(range).map(|range| range.size),
        None => length.and_then(|length| u64::try_from(length).ok()),
    }
    .ok_or_else(|| NotS3::result(200, "that does not say the object's size"))
}

/// Whether a Content-Range begins at `first`.
pub(super) fn starts_at(range: &str, first: u64) -> bool {
    content_range(range).is_some_and(|range| range.first == first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn mtimes() {
        let ns = |text| parse_mtime(text).map(|time| time.as_nanosecond());
        assert_eq!(ns("1700000000"), Some(1_700_000_000_000_000_000));
        assert_eq!(ns("1700000000.5"), Some(1_700_000_000_500_000_000));
        assert_eq!(ns("1700000000.1234567891"), Some(1_700_000_000_123_456_789));
        assert_eq!(ns("-1.25"), Some(-1_250_000_000));
        assert_eq!(ns("1700000000."), Some(1_700_000_000_000_000_000));
        for bad in [
            "",
            "-",
            ".",
            "x",
            "1e9",
            "1.x",
            "+1",
            "99999999999999999999",
        ] {
            assert_eq!(ns(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(total_size(Some("bytes 0-9/10"), Some(10)).unwrap(), 10);
        assert_eq!(total_size(Some("bytes 5-9/1000"), Some(5)).unwrap(), 1000);
        assert_eq!(total_size(None, Some(7)).unwrap(), 7);
        assert!(total_size(Some("bytes 0-9/*"), Some(10)).is_err());
        assert!(total_size(None, None).is_err());
    }
}
