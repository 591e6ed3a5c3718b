//! SSE-C: which requests must name the key of an object. The bytes are stored as they are.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Digest as _;
use s3s::{S3Result, s3_error};

use super::index::{Attributes, hex};

/// The MD5 of the key that a request names, in base64; an error if its headers do not fit together.
macro_rules! customer_key {
    ($input:expr) => {
        $crate::encryption::named_key(
            $input.sse_customer_algorithm.as_deref(),
            $input.sse_customer_key.as_deref(),
            $input.sse_customer_key_md5.as_deref(),
        )
    };
}

/// The same of the key of a copy's source.
macro_rules! source_key {
    ($input:expr) => {
        $crate::encryption::named_key(
            $input.copy_source_sse_customer_algorithm.as_deref(),
            $input.copy_source_sse_customer_key.as_deref(),
            $input.copy_source_sse_customer_key_md5.as_deref(),
        )
    };
}

pub(crate) use {customer_key, source_key};

/// See [`customer_key!`].
pub(crate) fn named_key(
    algorithm: Option<&str>,
    key: Option<&str>,
    md5: Option<&str>,
) -> S3Result<Option<String>> {
    let (algorithm, key, md5) = match (algorithm, key, md5) {
        (None, None, None) => return Ok(None),
        (Some(algorithm), Some(key), Some(md5)) => (algorithm, key, md5),
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate \
                 secret key."
            ));
        }
    };
    if algorithm != "AES256" {
        return Err(s3_error!(
            InvalidArgument,
            "The encryption method is not supported"
        ));
    }
    let key = BASE64_STANDARD.decode(key).unwrap_or_default();
    if key.len() != 32 {
        return Err(s3_error!(
            InvalidArgument,
            "The secret key was invalid for the specified algorithm."
        ));
    }
    if BASE64_STANDARD.encode(md5::Md5::digest(&key)) != md5 {
        return Err(s3_error!(
            InvalidArgument,
            "The calculated MD5 hash of the key did not match the hash that was provided."
        ));
    }
    Ok(Some(md5.to_owned()))
}

/// Whether a request with this key may read an object, or copy it.
pub(crate) fn check_read(object: &Attributes, given: Option<&str>) -> S3Result<()> {
    match (object.customer_key_md5.as_deref(), given) {
        (None, None) => Ok(()),
        (Some(of_object), Some(given)) if of_object == given => Ok(()),
        (Some(_), Some(_)) => Err(s3_error!(AccessDenied, "Access Denied")),
        (Some(_), None) => Err(s3_error!(
            InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
             retrieve the object."
        )),
        (None, Some(_)) => Err(s3_error!(
            InvalidRequest,
            "The encryption parameters are not applicable to this object."
        )),
    }
}

/// Whether a part with this key may be added to a multipart upload.
pub(crate) fn check_part(upload: &Attributes, given: Option<&str>) -> S3Result<()> {
    match (upload.customer_key_md5.as_deref(), given) {
        (None, None) => Ok(()),
        (Some(of_upload), Some(given)) if of_upload == given => Ok(()),
        (Some(_), Some(_)) => Err(s3_error!(
            InvalidRequest,
            "The provided encryption parameters did not match the ones used originally."
        )),
        (Some(_), None) => Err(s3_error!(
            InvalidRequest,
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate \
             encryption parameters."
        )),
        (None, Some(_)) => Err(s3_error!(
            InvalidRequest,
            "The multipart upload initiate did not request encryption. Please resend the request without sending \
             encryption parameters."
        )),
    }
}

/// The ETag of an object of one PutObject or CopyObject: not an MD5 of its bytes, if it is encrypted
/// with another key than the store's.
pub(crate) fn etag(attributes: &Attributes, md5: &[u8; 16]) -> String {
    let kms = attributes.server_side_encryption.as_deref();
    let kms = kms.filter(|kind| kind.starts_with("aws:kms"));
    match attributes.customer_key_md5.as_deref().or(kms) {
        None => hex(md5),
        Some(salt) => {
            let salted = md5::Md5::new().chain_update(md5).chain_update(salt);
            hex(&salted.finalize().into())
        }
    }
}
