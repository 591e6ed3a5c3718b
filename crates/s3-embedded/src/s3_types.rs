//! Values of s3s's types.

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use s3s::dto::{ETag, Timestamp};
use s3s::s3_error;

/// A failure of this store, as S3 reports it: 500 InternalError.
pub(crate) fn internal(error: io::Error) -> s3s::S3Error {
    s3_error!(error, InternalError)
}

/// An ETag as in an answer.
pub(crate) fn quoted(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

/// Seconds since the epoch as in an answer.
pub(crate) fn timestamp(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds)))
}
