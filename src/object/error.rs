//! [`ObjectError`]: what can go wrong with a store, sorted by what mends it, and the one place
//! where the SDK's errors become ours.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use crate::object::retry::{damaged, passing};

/// Why an S3 operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// 404 of a key.
    #[error("no such object")]
    NotFound,
    /// 404 of a bucket.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// 401, 403: a policy denies this request.
    #[error("the store denies access: {0}")]
    Denied(String),
    /// The store does not take the server's credentials: wrong, expired, not there yet, or for
    /// another region. The operator has to mend it; no file is at fault.
    #[error("the store does not take the server's credentials: {0}")]
    Credentials(String),
    /// The clocks of the server and of the store differ by more than the store tolerates. The
    /// operator has to mend it.
    #[error("the clocks of the server and of the store differ: {0}")]
    Clock(String),
    /// A condition did not hold: the object exists (`If-None-Match: *`) or is another (`If-Match`).
    #[error("the object exists or was changed by another client")]
    Conflict,
    /// The object changed while it was read.
    #[error("the object was changed while it was read")]
    Changed,
    /// The offset lies beyond the end of the object, whose size is given if it is known.
    #[error("the offset is beyond the end of the object{}", size.map(|size| format!(", {size} bytes")).unwrap_or_default())]
    OutOfRange {
        /// The object's size.
        size: Option<u64>,
    },
    /// The name is that of a directory: keys below it exist, or the store says so.
    #[error("is a directory")]
    IsDirectory,
    /// The name is that of a file, so no directory can be made.
    #[error("is a file")]
    IsFile,
    /// An element of the path is a file, and the store has no keys below files.
    #[error("a part of the path is a file")]
    BelowFile,
    /// Another session of this process is writing the object, and was not done in time.
    #[error("another session is writing this file")]
    Busy,
    /// The store can't hold a key of this length: more than 1,024 bytes, or an element longer than
    /// its file names.
    #[error("the name is too long for the store")]
    NameTooLong,
    /// Larger than 10,000 parts of this store and budget can be.
    #[error("larger than the largest object here, {limit} bytes")]
    TooLarge {
        /// The largest object, bytes.
        limit: u64,
    },
    /// What the store holds is not what was sent.
    #[error("checksum mismatch: {0}")]
    Integrity(String),
    /// What has arrived of an object is not what the store holds, by its checksum of the whole.
    #[error("what has arrived is not what the store holds, by its checksum")]
    Damaged,
    /// 503 SlowDown and the like, after all retries.
    #[error("the store asks to slow down")]
    Throttled,
    /// Connection refused or reset, 5xx, after all retries.
    #[error("the store can't be reached: {0}")]
    Unavailable(String),
    /// No answer in time, after all retries.
    #[error("the store did not answer in time")]
    Timeout,
    /// Out of space or quota (507, QuotaExceeded, `XMinioStorageFull`).
    #[error("the store is full")]
    Full,
    /// No memory within the deadline.
    #[error("no memory free for the transfer")]
    Memory,
    /// Another client's object took the place of ours, which was whole and is gone.
    #[error("another upload of the same name has replaced this one")]
    Superseded,
    /// The store no longer knows the multipart upload, and the object is not ours: completed and
    /// deleted since, or aborted by another client.
    #[error("the store no longer knows the upload; whether the file was stored is not known")]
    Lost,
    /// The store can't do this.
    #[error("the store does not support it: {0}")]
    Unsupported(String),
    /// Something other than S3 answered, after all retries: an ingress, a load balancer, a body
    /// that was cut. Nothing is known of the request or the object.
    #[error("an answer that is not the store's: {0}")]
    Foreign(Box<NotS3>),
    /// The object is encrypted with a customer's key (SSE-C) that is not the mount's.
    #[error("the object is encrypted with another key")]
    OtherKey,
    /// Anything else, with the store's code and message.
    #[error("the store answered: {0}")]
    Other(String),
}

impl ObjectError {
    /// Whether trying again later can help: 4xx replies, else 5xx.
    pub fn transient(&self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::Credentials(_)
                | Self::Clock(_)
                | Self::Unavailable(_)
                | Self::Timeout
                | Self::Memory
                | Self::Busy
                | Self::Changed
                | Self::Damaged
                | Self::Integrity(_)
                | Self::Foreign(_)
        )
    }
}

impl ObjectError {
    /// Whether the server's own access to the store is at fault, whatever the client asks for: its
    /// credentials, its clock, or a bucket of the configuration that does not exist.
    pub(super) fn is_servers_fault(&self) -> bool {
        matches!(
            self,
            Self::Credentials(_) | Self::Clock(_) | Self::NoSuchBucket
        )
    }

    /// Whether an upload whose part failed so can go on later with what had been stored before.
    pub(super) fn can_go_on(&self) -> bool {
        !matches!(
            self,
            Self::Conflict
                | Self::Superseded
                | Self::Lost
                | Self::TooLarge { .. }
                | Self::NameTooLong
                | Self::NotFound
                | Self::IsDirectory
                | Self::IsFile
                | Self::BelowFile
                | Self::OutOfRange { .. }
                | Self::Unsupported(_)
                | Self::OtherKey
                | Self::Other(_)
        )
    }
}

/// An answer that S3 did not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("HTTP status {status}, {why}")]
pub struct NotS3 {
    /// HTTP status of the answer.
    pub status: u16,
    /// How it was recognised.
    pub why: &'static str,
}

impl NotS3 {
    /// A success that does not belong to its request.
    pub(super) fn result(status: u16, why: &'static str) -> ObjectError {
        ObjectError::Foreign(Box::new(NotS3 { status, why }))
    }
}

/// A failed request: the error, and what is needed to find out what has become of the request.
#[derive(Debug, Clone)]
pub(super) struct RequestFailure {
    /// The error that the caller gets.
    pub error: ObjectError,
    /// HTTP status of the last answer; `None` without one, and if it was not S3's.
    pub status: Option<u16>,
    /// S3's error code; empty if there is none.
    pub code: String,
    /// Headers of the answer.
    pub headers: Box<Headers>,
}

/// What is read from the headers of a failed request's answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Headers {
    /// The store's clock at the answer.
    pub date: Option<Timestamp>,
    /// Content-Range of the answer: `bytes */size` with 416.
    pub content_range: Option<String>,
    /// ETag of the answer, which some stores give with 416.
    pub etag: Option<String>,
    /// Last-Modified of the answer, which some stores give with 416.
    pub last_modified: Option<Timestamp>,
}

impl RequestFailure {
    /// Whether the request may have been carried out, or may still be: no answer, or a server
    /// error.
    pub fn ambiguous(&self) -> bool {
        match self.status {
            None => !matches!(self.error, ObjectError::Other(_)),
            Some(status) => {
                (status >= 500 && !matches!(status, 501 | 507))
                    // CompleteMultipartUpload and CopyObject can fail after they have said 200.
                    || matches!(
                        self.code.as_str(),
                        "InternalError" | "ServiceUnavailable" | "SlowDown" | "RequestTimeout"
                    )
            }
        }
    }

    /// Whether the store is done with the request, which failed; a request without an answer may
    /// take effect later, and so may one of which a gateway says that it has accepted it, or that
    /// the store behind it is late.
    pub fn answered(&self) -> bool {
        match (self.status, &self.error) {
            // S3 answers a copy that fails late by 200 with an error.
            (Some(status), _) => status >= 300 || !self.code.is_empty(),
            (None, ObjectError::Foreign(answer)) => answer.status < 500 && answer.status != 202,
            (None, _) => false,
        }
    }

    /// A condition of the request did not hold.
    pub fn condition_failed(&self) -> bool {
        self.status == Some(412) || self.code == "PreconditionFailed"
    }

    /// Another write of the same key was under way; S3 asks to try again.
    pub fn concurrent_write(&self) -> bool {
        self.status == Some(409)
            && !matches!(
                self.error,
                ObjectError::IsDirectory | ObjectError::BelowFile
            )
    }

    /// The store no longer knows the multipart upload: completed or aborted before.
    pub fn no_such_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    /// The object's size as a 416 reports it.
    pub fn unsatisfiable_size(&self) -> Option<u64> {
        self.headers
            .content_range
            .as_deref()?
            .trim()
            .strip_prefix("bytes */")?
            .parse()
            .ok()
    }
}

impl From<RequestFailure> for ObjectError {
    fn from(failure: RequestFailure) -> Self {
        failure.error
    }
}

/// Sorts an error of the SDK.
pub(super) fn failure<E>(error: SdkError<E>) -> RequestFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let mut out = RequestFailure {
        error: ObjectError::Timeout,
        status: None,
        code: String::new(),
        headers: Box::default(),
    };
    if let Some(response) = error.raw_response() {
        let header = |name: &str| response.headers().get(name);
        out.status = Some(response.status().as_u16());
        out.headers.date = header("date").and_then(http_date);
        out.headers.content_range = header("content-range").map(str::to_owned);
        out.headers.etag = header("etag").map(str::to_owned);
        out.headers.last_modified = header("last-modified").and_then(http_date);
    }
    out.error = match &error {
        SdkError::TimeoutError(_) => ObjectError::Timeout,
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => ObjectError::Timeout,
        SdkError::DispatchFailure(dispatch) if dispatch.is_user() => {
            ObjectError::Other(chain(&error))
        }
        SdkError::DispatchFailure(_) => {
            let text = explained(chain(&error));
            // Credentials that can't be loaded come as a dispatch failure, too.
            if text.contains("credentials") {
                ObjectError::Credentials(text)
            } else {
                ObjectError::Unavailable(text)
            }
        }
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            out.code = meta.code().unwrap_or_default().to_owned();
            sort(
                out.status.unwrap_or(0),
                &out.code,
                meta.message().unwrap_or_default(),
            )
        }
        // An answer that is not S3's, or can't be read to its end: the request may well have been
        // carried out.
        SdkError::ResponseError(_) => {
            out.status = None;
            match not_s3(&error) {
                Some(answer) => ObjectError::Foreign(Box::new(answer.clone())),
                None => ObjectError::Unavailable(chain(&error)),
            }
        }
        // Nothing was sent: a value that can't be put in a header, a bucket name that no host can
        // have.
        _ => ObjectError::Other(chain(&error)),
    };
    if out.code.is_empty() && without_words(&out) {
        out.error = ObjectError::Clock("refused without a word".to_owned());
    }
    out
}

/// What the judge of answers has found.
fn not_s3<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a NotS3> {
    let mut causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.find_map(|cause| cause.downcast_ref())
}

/// A HEAD is refused without a body that says why. S3 answers 403 to a clock that is wrong, which
/// the answer's own date gives away; what 400 means, [`head`](super::head()) asks.
#[expect(
    clippy::disallowed_methods,
    reason = "compares the machine's clock with the store's"
)]
fn without_words(failure: &RequestFailure) -> bool {
    /// What S3 tolerates.
    const SKEW: SignedDuration = SignedDuration::from_mins(15);
    match failure.status {
        Some(403) => failure
            .headers
            .date
            .is_some_and(|date| Timestamp::now().duration_since(date).abs() > SKEW),
        _ => false,
    }
}

/// What Garage says of an access key that it does not know, of one that has expired, and of a wrong
/// secret. It has no codes of its own for these and the next two.
const GARAGE_KEY: [&str; 3] = ["No such key: ", " has expired", "Invalid signature"];

/// What S3 says of an object that is encrypted with a customer's key to a request without one, or
/// with that of another object. It has no code of its own for it.
const OTHER_KEY: [&str; 2] = [
    "a form of Server Side Encryption",
    "encryption parameters are not applicable",
];

/// What Garage says if a bucket has its number of objects, or its size.
const GARAGE_QUOTA: &str = " quota is reached";

/// What Garage says if the server's clock is a day late. It takes each time of the future.
const GARAGE_CLOCK: &str = "Date is too old";

/// S3's status, code and message → our error.
pub(super) fn sort(status: u16, code: &str, message: &str) -> ObjectError {
    let text = || match (code, message) {
        ("", "") => format!("HTTP status {status}"),
        ("", text) | (text, "") => printable(text),
        (code, message) => printable(&format!("{code}: {message}")),
    };
    match code {
        "NoSuchKey" | "NotFound" => return ObjectError::NotFound,
        "KeyTooLongError" | "KeyTooLong" => return ObjectError::NameTooLong,
        "NoSuchBucket" => return ObjectError::NoSuchBucket,
        "AccessDenied" if GARAGE_KEY.iter().any(|words| message.contains(words)) => {
            return ObjectError::Credentials(text());
        }
        "AccessDenied" if message.contains(GARAGE_QUOTA) => return ObjectError::Full,
        "InvalidRequest" if message.contains(GARAGE_CLOCK) => return ObjectError::Clock(text()),
        "InvalidRequest" if OTHER_KEY.iter().any(|words| message.contains(words)) => {
            return ObjectError::OtherKey;
        }
        "AccessDenied" | "AllAccessDisabled" => return ObjectError::Denied(text()),
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => {
            return ObjectError::Clock(text());
        }
        "AccountProblem"
        | "NotSignedUp"
        | "InvalidAccessKeyId"
        // Of versitygw, with status 404.
        | "XAdminUserNotFound"
        | "SignatureDoesNotMatch"
        // The region of the configuration is not that of the bucket.
        | "AuthorizationHeaderMalformed"
        | "PermanentRedirect" => return ObjectError::Credentials(text()),
        code if passing(code) => return ObjectError::Credentials(text()),
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "ServiceUnavailable"
        | "TooManyRequestsException" => return ObjectError::Throttled,
        "PreconditionFailed" | "ConditionalRequestConflict" | "OperationAborted" => {
            return ObjectError::Conflict;
        }
        code if damaged(code) => return ObjectError::Integrity(text()),
        // The caller fills in the limit.
        "EntityTooLarge" => return ObjectError::TooLarge { limit: 0 },
        "QuotaExceeded"
        | "XMinioStorageFull"
        | "XMinioAdminBucketQuotaExceeded"
        | "InsufficientStorage"
        | "StorageQuotaExceeded" => return ObjectError::Full,
        // Of stores that keep objects as files: versitygw and MinIO.
        "ExistingObjectIsDirectory" | "XMinioObjectExistsAsDirectory" => {
            return ObjectError::IsDirectory;
        }
        "ObjectParentIsFile" | "XMinioParentIsObject" => return ObjectError::BelowFile,
        "NotImplemented" | "MethodNotAllowed" => return ObjectError::Unsupported(text()),
        "InvalidRange" => return ObjectError::OutOfRange { size: None },
        "RequestTimeout" => return ObjectError::Timeout,
        "InternalError" => return ObjectError::Unavailable(text()),
        _ => {}
    }
    match status {
        401 | 403 => ObjectError::Denied(text()),
        404 if code.is_empty() => ObjectError::NotFound,
        405 | 501 => ObjectError::Unsupported(text()),
        408 | 504 => ObjectError::Timeout,
        409 | 412 => ObjectError::Conflict,
        413 => ObjectError::TooLarge { limit: 0 },
        416 => ObjectError::OutOfRange { size: None },
        429 | 503 => ObjectError::Throttled,
        507 => ObjectError::Full,
        500..=599 => ObjectError::Unavailable(text()),
        _ => ObjectError::Other(text()),
    }
}

/// What the SDK and hyper say of each error: only which of their layers it has passed.
const LAYERS: [&str; 7] = [
    "dispatch failure",
    "response error",
    "io error",
    "user error",
    "other",
    "client error (Connect)",
    "client error (SendRequest)",
];

/// An error with its causes, in one line, without the layers it has passed.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |cause| cause.source()) {
        let cause = cause.to_string();
        if LAYERS.contains(&cause.as_str()) || text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    match text.is_empty() {
        true => printable(&error.to_string()),
        false => printable(&text),
    }
}

/// rustls' words for a peer that answers in plain text.
const NO_TLS: &str = "received corrupt message of type InvalidContentType";

/// What can't be sent, with what to mend if its own words don't say.
fn explained(text: String) -> String {
    match text.contains(NO_TLS) {
        true => format!("{text}: no TLS there, https:// in `endpoint` may have to be http://"),
        false => text,
    }
}

/// At most 300 characters, none of them a control character: it ends up in replies and logs.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn codes_come_before_statuses() {
        assert!(matches!(sort(404, "NoSuchKey", ""), ObjectError::NotFound));
        assert!(matches!(
            sort(404, "NoSuchBucket", ""),
            ObjectError::NoSuchBucket
        ));
        assert!(matches!(
            sort(404, "NoSuchUpload", "gone"),
            ObjectError::Other(text) if text == "NoSuchUpload: gone"
        ));
        assert!(matches!(sort(404, "", ""), ObjectError::NotFound));
        assert!(matches!(sort(403, "", ""), ObjectError::Denied(_)));
        assert!(matches!(
            sort(400, "ExpiredToken", ""),
            ObjectError::Credentials(_)
        ));
        for (status, code) in [
            (403, "InvalidAccessKeyId"),
            (403, "InvalidTokenId"),
            (403, "SignatureDoesNotMatch"),
            (404, "XAdminUserNotFound"),
        ] {
            let error = sort(status, code, "");
            assert!(matches!(error, ObjectError::Credentials(_)) && error.is_servers_fault());
        }
        assert!(matches!(
            sort(403, "RequestTimeTooSkewed", ""),
            ObjectError::Clock(_)
        ));
        for (message, wrong_key) in [
            ("Forbidden: No such key: GK31c2", true),
            ("Forbidden: Invalid signature", true),
            ("Forbidden: Access key GK31c2 has expired", true),
            ("Forbidden: Operation is not allowed for this key.", false),
        ] {
            let error = sort(403, "AccessDenied", message);
            assert_eq!(error.is_servers_fault(), wrong_key, "{message}");
        }
        let full = "Forbidden: Object quota is reached, maximum objects for this bucket: 9";
        assert!(matches!(sort(403, "AccessDenied", full), ObjectError::Full));
        assert!(matches!(
            sort(400, "InvalidRequest", "Bad request: Date is too old"),
            ObjectError::Clock(_)
        ));
        assert!(matches!(
            sort(400, "InvalidRequest", "Bad request: Missing header"),
            ObjectError::Other(_)
        ));
        assert!(matches!(sort(503, "SlowDown", ""), ObjectError::Throttled));
        assert!(matches!(
            sort(500, "InternalError", ""),
            ObjectError::Unavailable(_)
        ));
        assert!(matches!(
            sort(409, "ConditionalRequestConflict", ""),
            ObjectError::Conflict
        ));
        assert!(matches!(
            sort(400, "BadDigest", ""),
            ObjectError::Integrity(_)
        ));
        assert!(matches!(sort(507, "", ""), ObjectError::Full));
        for (status, code) in [
            (409, "ExistingObjectIsDirectory"),
            (409, "XMinioObjectExistsAsDirectory"),
        ] {
            assert!(matches!(sort(status, code, ""), ObjectError::IsDirectory));
        }
        for (status, code) in [(409, "ObjectParentIsFile"), (400, "XMinioParentIsObject")] {
            assert!(matches!(sort(status, code, ""), ObjectError::BelowFile));
        }
        assert!(matches!(
            sort(501, "NotImplemented", ""),
            ObjectError::Unsupported(_)
        ));
    }

    #[test]
    fn text_stays_in_one_line() {
        assert!(matches!(
            sort(400, "X", "a\r\n226 y"),
            ObjectError::Other(text) if text == "X: a  226 y"
        ));
    }

    #[test]
    fn a_peer_without_tls_is_named() {
        let text = explained(NO_TLS.to_owned());
        assert!(text.contains("https:// in `endpoint`"), "{text}");
        assert_eq!(explained("reset".to_owned()), "reset");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn an_error_is_its_causes_and_not_the_layers_of_the_sdk() {
        let nested = |texts: &[&'static str]| {
            let layers = texts.iter().rev();
            let nest = |below, text: &&'static str| Some(Box::new(Layer(text, below)));
            chain(&*layers.fold(None, nest).unwrap())
        };
        for (texts, shown) in [
            (
                &[
                    "dispatch failure",
                    "io error",
                    "client error (Connect)",
                    "tcp connect error",
                    "Connection refused (os error 111)",
                ][..],
                "tcp connect error: Connection refused (os error 111)",
            ),
            (
                &[
                    "dispatch failure",
                    "other",
                    "an error occurred while loading credentials",
                    "no providers in chain provided credentials",
                    "no providers in chain provided credentials",
                ],
                "an error occurred while loading credentials: no providers in chain provided credentials",
            ),
            (&["dispatch failure", "io error"], "dispatch failure"),
            (&["a\nb"], "a b"),
        ] {
            assert_eq!(nested(texts), shown);
        }
    }

    #[test]
    fn dates() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT")
                .unwrap()
                .as_second(),
            784_111_777
        );
        assert_eq!(http_date("yesterday"), None);
    }
}
