//! Which refusals are worth another attempt, beyond those that the SDK knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    InterceptorContext,
};
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents, SharedInterceptor};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::operation::upload_part::UploadPartError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// Bytes that arrived damaged: PutObject and UploadPart are sent again from the part's own bytes.
#[derive(Debug)]
pub(super) struct Damaged;

impl ClassifyRetry for Damaged {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        if let Some(response) = context.response()
            && passing_trouble(response.status().as_u16(), response.body().bytes())
        {
            // The SDK corrects its clock by the answer's date, and asks for its credentials anew.
            return RetryAction::transient_error();
        }
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

/// No further attempt by the SDK, but for credentials and clocks: for requests that are looked
/// after first.
#[derive(Debug)]
pub(super) struct LookFirst;

impl ClassifyRetry for LookFirst {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let passing = context.response().is_some_and(|response| {
            passing_trouble(response.status().as_u16(), response.body().bytes())
        });
        match (context.output_or_error(), passing) {
            (Some(Err(_)), false) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "look first"
    }
}

/// Counts how often one request is sent: by the SDK, and by us, who look what has become of it and
/// begin it anew.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts(Arc<AtomicU32>);

/// How often a request had been sent before the SDK began it, in the state of the request.
#[derive(Debug)]
pub(super) struct SentBefore(pub(super) u32);

impl Storable for SentBefore {
    type Storer = StoreReplace<SentBefore>;
}

/// How often a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Once, or not at all: its answer is all that became of it.
    Once,
    /// Repeatedly: its answer says nothing about the attempts before it.
    Repeatedly,
}

impl Attempts {
    /// Of a request that was sent `times` times before.
    pub(super) fn after(times: u32) -> Self {
        Attempts(Arc::new(times.into()))
    }

    /// What counts them, in the settings of a request. The SDK looks before each hook of other
    /// interceptors whether it is turned off, which costs a small upload more than a percent.
    pub(super) fn counting(&self) -> SharedInterceptor {
        SharedInterceptor::permanent(self.clone())
    }

    /// How often it has been sent.
    pub(super) fn sent(&self) -> Sent {
        match self.0.load(Ordering::Relaxed) {
            0 | 1 => Sent::Once,
            _ => Sent::Repeatedly,
        }
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "attempts"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let sent = SentBefore(self.0.load(Ordering::Relaxed));
        config.interceptor_state().store_put(sent);
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether an error code says that credentials or clock are not right at the moment.
pub(super) fn passing(code: &str) -> bool {
    PASSING.contains(&code)
}

const PASSING: [&str; 8] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "InvalidToken",
    // Of MinIO.
    "InvalidTokenId",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
];

/// Whether an answer is one of these errors. The answer to a HEAD has no body; S3 refuses expired
/// credentials by 400 then.
fn passing_trouble(status: u16, body: Option<&[u8]>) -> bool {
    match (status, body) {
        (400, None | Some([])) => true,
        (400 | 403, Some(body)) => {
            element(&String::from_utf8_lossy(body), "Code").is_some_and(passing)
        }
        _ => false,
    }
}

/// The text of an element of an error document.
pub(super) fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_are_not_right_at_the_moment_are_worth_another_attempt() {
        let answer =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        for code in PASSING {
            assert!(
                passing_trouble(403, Some(answer(code).as_bytes())),
                "{code}"
            );
            assert!(
                passing_trouble(400, Some(answer(code).as_bytes())),
                "{code}"
            );
        }
        for code in [
            "AccessDenied",
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
        ] {
            assert!(
                !passing_trouble(403, Some(answer(code).as_bytes())),
                "{code}"
            );
        }
        assert!(passing_trouble(400, Some(b"")) && passing_trouble(400, None));
        assert!(!passing_trouble(403, None) && !passing_trouble(404, Some(b"")));
    }
}
