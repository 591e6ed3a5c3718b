//! Which refusals are worth another attempt, beyond those that the SDK knows.

use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;

/// Bytes that arrived damaged: PutObject and UploadPart are sent again from the part's own bytes.
#[derive(Debug)]
pub(super) struct Damaged;

impl ClassifyRetry for Damaged {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let code = error.as_operation_error().and_then(|error| {
            let put = error.downcast_ref::<PutObjectError>();
            put.map(ProvideErrorMetadata::code).unwrap_or_else(|| {
                let part = error.downcast_ref::<UploadPartError>();
                part.and_then(ProvideErrorMetadata::code)
            })
        });
        if code.is_some_and(damaged) {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "damaged on the way"
    }
}

/// Whether an error code says that what has arrived is not what its checksum is of.
pub(super) fn damaged(code: &str) -> bool {
    matches!(
        code,
        "BadDigest"
            | "XAmzContentChecksumMismatch"
            | "XAmzContentSHA256Mismatch"
            | "InvalidDigest"
            | "ContentSHA256Mismatch"
    )
}
