//! Whether an answer is S3's. This is the only place that decides it.
//!
//! Between the gateway and the store there may be an ingress, a load balancer, a cache or a captive
//! portal, which answer in the store's place: `404 default backend`, `200` with a login page, a
//! body that ends early. The SDK reads such answers leniently: it takes an empty body for a result
//! without fields, and any 404 to a HEAD for a missing object. [`JudgeAnswers`] runs after the
//! SDK's parser and before its retries, and replaces the outcome of an answer that S3 did not write
//! by [`NotS3`]: the request is sent again like after a 503, and fails as
//! [`ObjectError::Foreign`](super::ObjectError::Foreign).
//!
//! What counts as S3's:
//! - an error with a body: a complete `<Error>` document with a code;
//! - a result in XML: a complete document with the operation's root element;
//! - PutObject and UploadPart: status 200, an ETag, no body (the checksum is the caller's to miss,
//!   see [`Echo`](super::echo::Echo));
//! - GetObject and HeadObject: an ETag; with status 206 also which bytes of how many;
//! - DeleteObject and AbortMultipartUpload: status 204 or 200, no body.
//!
//! An answer that carries no XML has `x-amz-request-id` if the store sends it. Whether it does is
//! learnt from its answers, for errors from errors as soon as there is one; AWS always does.

use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::{Metadata, OrchestratorError};
use aws_smithy_runtime_api::http::Headers;

use crate::object::error::NotS3;

/// Checks each answer of a store's client.
#[derive(Debug)]
pub(super) struct JudgeAnswers {
    /// Whether results have request ids.
    results: Habit,
    /// Whether errors have.
    errors: Habit,
}

impl JudgeAnswers {
    /// `aws`: the store is AWS itself, which always sends request ids.
    pub(super) fn new(aws: bool) -> Self {
        JudgeAnswers {
            results: Habit::new(aws),
            errors: Habit::new(aws),
        }
    }

    fn judge(&self, operation: &str, answer: &HttpAnswer<'_>) -> Result<(), NotS3> {
        let (request_ids, sent, evidence) = match answer.status {
            200..=299 => {
                let evidence = answer.result_of(operation);
                (&self.results, self.results.holds(), evidence)
            }
            _ => {
                // Until an error of the store's has been seen, its results speak for its errors.
                let sent = self.errors.holds() || (self.errors.unknown() && self.results.holds());
                (&self.errors, sent, answer.error_of(operation))
            }
        };
        let refuse = |why| {
            Err(NotS3 {
                status: answer.status,
                why,
            })
        };
        match (evidence, answer.request_id()) {
            (Err(why), _) => refuse(why),
            (Ok(Evidence::Headers), false) if sent => {
                refuse("without the request id that the store sends")
            }
            (Ok(_), true) => {
                request_ids.seen();
                Ok(())
            }
            (Ok(Evidence::Xml), false) => {
                request_ids.missed();
                Ok(())
            }
            (Ok(Evidence::Headers), false) => Ok(()),
        }
    }
}

impl Intercept for JudgeAnswers {
    fn name(&self) -> &'static str {
        "judge answers"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let parsed = match context.output_or_error() {
            Some(Ok(_)) => true,
            Some(Err(error)) if error.is_operation_error() => false,
            // No whole answer: the request timed out, or its answer broke off.
            _ => return Ok(()),
        };
        let (Some(response), Some(metadata)) = (context.response(), config.load::<Metadata>())
        else {
            return Ok(());
        };
        let answer = HttpAnswer {
            status: response.status().as_u16(),
            headers: response.headers(),
            body: response.body().bytes(),
            parsed,
        };
        if let Err(foreign) = self.judge(metadata.name(), &answer)
            && let Some(outcome) = context.output_or_error_mut()
        {
            tracing::warn!(operation = metadata.name(), %foreign, "an answer is not the store's");
            *outcome = Err(OrchestratorError::response(Box::new(foreign)));
        }
        Ok(())
    }
}

/// What shows that an answer is S3's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// A whole XML document of the right kind, which nothing but S3 writes.
    Xml,
    /// Status and headers alone.
    Headers,
}

/// An answer, as far as the SDK has read it.
#[derive(Debug, Clone, Copy)]
struct HttpAnswer<'a> {
    status: u16,
    headers: &'a Headers,
    /// `None` while it is streamed.
    body: Option<&'a [u8]>,
    /// Whether the SDK has made a result of it.
    parsed: bool,
}

impl HttpAnswer<'_> {
    /// Whether a success is that of an operation.
    fn result_of(&self, operation: &str) -> Result<Evidence, &'static str> {
        match Success::of(operation) {
            Some(Success::Xml(root)) => self.xml_result(root),
            Some(Success::LateXml(root)) => match self.root() {
                // These operations can fail after they have said 200.
                Some("Error") => self.xml_error(),
                _ => self.xml_result(root),
            },
            Some(Success::Stored) => match self.status {
                200 if !self.is_empty() => Err("with a body that the operation does not have"),
                200 => self.with_etag(),
                _ => Err("which is not that of a stored object"),
            },
            Some(Success::Object) => match self.status {
                200 => self.with_etag(),
                206 if !self.says_which_bytes() => Err("without the range that it is of"),
                206 => self.with_etag(),
                _ => Err("which is not that of an object"),
            },
            Some(Success::Removed) => match self.status {
                200 | 204 if self.is_empty() => Ok(Evidence::Headers),
                200 | 204 => Err("with a body that the operation does not have"),
                _ => Err("which is not that of a removal"),
            },
            None => {
                debug_assert!(false, "{operation} is not in the table of results");
                Ok(Evidence::Headers)
            }
        }
    }

    fn xml_result(&self, root: &str) -> Result<Evidence, &'static str> {
        match self.root() {
            _ if self.status != 200 => Err("which is not that of a result"),
            Some(found) if found == root && self.parsed => Ok(Evidence::Xml),
            Some(_) => Err("with an XML document of another kind"),
            None => Err("without a whole XML document"),
        }
    }

    /// Whether `Content-Range: bytes first-last/size` is there, and Content-Length agrees.
    fn says_which_bytes(&self) -> bool {
        let range = self.headers.get("content-range").and_then(content_range);
        let length = self.headers.get("content-length").map(str::parse::<u64>);
        range.is_some_and(|range| {
            let bytes = range.last - range.first + 1;
            length.is_none_or(|length| length == Ok(bytes))
        })
    }

    fn with_etag(&self) -> Result<Evidence, &'static str> {
        match self.headers.get("etag") {
            None | Some("") => Err("without an ETag"),
            Some(_) => Ok(Evidence::Headers),
        }
    }

    /// Whether a refusal is S3's.
    fn error_of(&self, operation: &str) -> Result<Evidence, &'static str> {
        if operation.starts_with("Head") {
            // No body by HTTP; the type is that of the one a GET would get.
            let html = self.headers.get("content-type");
            let html = html.is_some_and(|kind| kind.trim_start().starts_with("text/html"));
            return match html {
                true => Err("with an HTML page"),
                false => Ok(Evidence::Headers),
            };
        }
        match (operation, self.status) {
            // Garage refuses a condition by the status alone.
            ("GetObject", 304 | 412) if self.is_empty() => Ok(Evidence::Headers),
            _ => self.xml_error(),
        }
    }

    fn xml_error(&self) -> Result<Evidence, &'static str> {
        let body = self.body.unwrap_or_default();
        match self.root() {
            Some("Error") if has_code(body) => Ok(Evidence::Xml),
            Some(_) => Err("with an XML document of another kind"),
            None if self.is_empty() => Err("without a body"),
            None => Err("without a whole XML document"),
        }
    }

    fn root(&self) -> Option<&str> {
        whole_document(self.body.unwrap_or_default())
    }

    fn is_empty(&self) -> bool {
        self.body.unwrap_or_default().trim_ascii().is_empty()
    }

    fn request_id(&self) -> bool {
        self.headers.get("x-amz-request-id").is_some()
    }
}

/// What a success of an operation looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Success {
    /// An XML document with this root element.
    Xml(&'static str),
    /// An XML document with this root element, or an error although the status is 200.
    LateXml(&'static str),
    /// An object or part was stored: an ETag.
    Stored,
    /// An object, or what there is to know of it: an ETag.
    Object,
    /// Nothing is left: no content.
    Removed,
}

impl Success {
    fn of(operation: &str) -> Option<Self> {
        Some(match operation {
            "ListObjectsV2" => Success::Xml("ListBucketResult"),
            "ListParts" => Success::Xml("ListPartsResult"),
            "ListMultipartUploads" => Success::Xml("ListMultipartUploadsResult"),
            "CreateMultipartUpload" => Success::Xml("InitiateMultipartUploadResult"),
            "GetObjectTagging" => Success::Xml("Tagging"),
            "CompleteMultipartUpload" => Success::LateXml("CompleteMultipartUploadResult"),
            "CopyObject" => Success::LateXml("CopyObjectResult"),
            "UploadPartCopy" => Success::LateXml("CopyPartResult"),
            "PutObject" | "UploadPart" => Success::Stored,
            "GetObject" | "HeadObject" => Success::Object,
            "DeleteObject" | "AbortMultipartUpload" => Success::Removed,
            _ => return None,
        })
    }
}

/// The name of a document's root element, without its prefix, if the document ends with that
/// element's end tag. It reads the document's two ends and nothing between: S3 escapes `<` in text,
/// so a document that was cut anywhere does not end with this tag.
fn whole_document(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    while let Some((end, inside)) = [("?>", "<?"), ("-->", "<!--")]
        .iter()
        .find_map(|(end, start)| Some((*end, rest.strip_prefix(start)?)))
    {
        rest = inside.split_once(end)?.1.trim_start();
    }
    let rest = rest.strip_prefix('<')?;
    let (name, _) = rest.split_once(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')?;
    let tag = text.trim_end().strip_suffix('>')?.trim_end();
    let whole = tag.strip_suffix(name)?.ends_with("</");
    let local = name.rsplit_once(':').map_or(name, |(_, local)| local);
    (whole && !local.is_empty()).then_some(local)
}

/// Whether an error document names a code.
fn has_code(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").map(|(_, rest)| rest);
    code.is_some_and(|rest| {
        rest.split_once("</Code>")
            .is_some_and(|(code, _)| !code.trim().is_empty())
    })
}

/// The bytes that a Content-Range names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// First byte.
    pub first: u64,
    /// Last byte, inclusive.
    pub last: u64,
    /// The object's size.
    pub size: u64,
}

/// `bytes 5-9/10`.
pub(super) fn content_range(text: &str) -> Option<ContentRange> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = ContentRange {
        first: number(first)?,
        last: number(last)?,
        size: number(size)?,
    };
    (range.first <= range.last && range.last < range.size).then_some(range)
}

/// Whether a store's answers always have something, as far as is known from those that are the
/// store's beyond doubt.
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicU8);

impl Habit {
    const UNKNOWN: u8 = 0;
    const ALWAYS: u8 = 1;
    /// One answer had none.
    const NOT_ALWAYS: u8 = 2;

    fn new(always: bool) -> Self {
        Habit(AtomicU8::new(if always {
            Self::ALWAYS
        } else {
            Self::UNKNOWN
        }))
    }

    fn unknown(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::UNKNOWN
    }

    /// Whether an answer without it is not the store's.
    pub(super) fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::ALWAYS
    }

    /// An answer has it.
    pub(super) fn seen(&self) {
        // Fails if it is known already.
        let _ = self.0.compare_exchange(
            Self::UNKNOWN,
            Self::ALWAYS,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    /// An answer of the store's has none.
    pub(super) fn missed(&self) {
        self.0.store(Self::NOT_ALWAYS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in list {
            headers.insert(*name, *value);
        }
        headers
    }

    /// Whether an answer counts, by a judge that knows nothing yet.
    fn judged(
        operation: &str,
        status: u16,
        list: &[(&'static str, &'static str)],
        body: &str,
    ) -> bool {
        by(&JudgeAnswers::new(false), operation, status, list, body)
    }

    fn by(
        judge: &JudgeAnswers,
        operation: &str,
        status: u16,
        list: &[(&'static str, &'static str)],
        body: &str,
    ) -> bool {
        let headers = headers(list);
        let answer = HttpAnswer {
            status,
            headers: &headers,
            body: Some(body.as_bytes()),
            parsed: true,
        };
        judge.judge(operation, &answer).is_ok()
    }

    const ERROR: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code>\
                         <Message>no</Message></Error>\n";
    const PAGE: &str = "<!DOCTYPE html><html><body><h1>404</h1></body></html>";

    #[test]
    fn a_document_counts_only_if_it_is_whole() {
        for whole in [
            "<A/><A></A>",
            "\u{feff}<?xml version=\"1.0\"?>\n \n<!-- x --><A xmlns=\"y\"><B>1</B></A>\r\n",
            "  <?xml version=\"1.0\"?><n:A xmlns:n=\"y\"></n:A >",
        ] {
            assert_eq!(whole_document(whole.as_bytes()), Some("A"), "{whole}");
        }
        for other in [
            "",
            " ",
            "A",
            "<",
            "<A",
            "<A>",
            "<A/>",
            "</A>",
            "<A></B>",
            "<AB></B>",
            "<?xml",
            "<!-- <A></A>",
            PAGE,
        ] {
            assert_ne!(whole_document(other.as_bytes()), Some("A"), "{other}");
            assert_ne!(whole_document(other.as_bytes()), Some("Error"), "{other}");
        }
        for end in 0..ERROR.trim_end().len() {
            assert_eq!(whole_document(&ERROR.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_xml() {
        for status in [
            301, 400, 403, 404, 405, 409, 412, 416, 429, 500, 501, 503, 507,
        ] {
            for operation in [
                "PutObject",
                "UploadPart",
                "ListParts",
                "GetObject",
                "DeleteObject",
            ] {
                assert!(
                    judged(operation, status, &[], ERROR),
                    "{operation} {status}"
                );
                for body in [
                    "default backend - 404",
                    PAGE,
                    "{\"message\":\"no Route matched\"}",
                    "<Error><Code></Code></Error>",
                    "<Error></Error>",
                    "<ListPartsResult></ListPartsResult>",
                ] {
                    assert!(
                        !judged(operation, status, &[], body),
                        "{operation} {status} {body}"
                    );
                }
                let conditional = operation == "GetObject" && status == 412;
                assert_eq!(
                    judged(operation, status, &[], ""),
                    conditional,
                    "{operation} {status}"
                );
            }
        }
    }

    #[test]
    fn a_refusal_of_a_head_is_told_by_its_request_id() {
        let id = [("x-amz-request-id", "1")];
        let judge = JudgeAnswers::new(false);
        assert!(by(&judge, "HeadObject", 404, &[], ""));
        assert!(!by(
            &judge,
            "HeadObject",
            404,
            &[("content-type", "text/html; charset=utf-8")],
            ""
        ));
        // Results speak for errors until there is one.
        assert!(by(&judge, "GetObject", 200, &[id[0], ("etag", "x")], ""));
        assert!(!by(&judge, "HeadObject", 404, &[], ""));
        assert!(!by(&judge, "HeadObject", 200, &[("etag", "x")], ""));
        assert!(by(&judge, "HeadObject", 404, &id, ""));
        // A store that sends one now and then is not held to it.
        assert!(by(&judge, "GetObject", 404, &[], ERROR));
        assert!(by(&judge, "HeadObject", 404, &[], ""));
        assert!(!by(&JudgeAnswers::new(true), "HeadObject", 404, &[], ""));
    }

    #[test]
    fn a_result_is_told_by_what_the_operation_gives() {
        let etag = [("etag", "\"x\"")];
        for operation in ["PutObject", "UploadPart"] {
            assert!(judged(operation, 200, &etag, ""));
            for status in [201, 202, 204, 206] {
                assert!(!judged(operation, status, &etag, ""));
            }
            assert!(
                !judged(operation, 200, &[], "") && !judged(operation, 200, &[("etag", "")], "")
            );
            assert!(!judged(operation, 200, &etag, PAGE));
        }
        for operation in ["GetObject", "HeadObject"] {
            assert!(judged(operation, 200, &etag, ""));
            assert!(!judged(operation, 200, &[], PAGE) && !judged(operation, 204, &etag, ""));
        }
        for operation in ["DeleteObject", "AbortMultipartUpload"] {
            assert!(judged(operation, 204, &[], "") && judged(operation, 200, &[], "\n"));
            assert!(!judged(operation, 200, &[], PAGE) && !judged(operation, 202, &[], ""));
        }
    }

    #[test]
    fn a_part_of_an_object_says_which() {
        let answer = |range: &'static str, length: &'static str| {
            let list = [
                ("etag", "x"),
                ("content-range", range),
                ("content-length", length),
            ];
            judged("GetObject", 206, &list, "")
        };
        assert!(answer("bytes 5-9/10", "5") && answer("bytes 0-0/1", "1"));
        for range in [
            "",
            "bytes */10",
            "bytes 5-9/*",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "5-9/10",
            "bytes 5-9",
        ] {
            assert!(!answer(range, "5"), "{range}");
        }
        assert!(!answer("bytes 5-9/10", "4") && !answer("bytes 5-9/10", "x"));
        assert!(!judged("GetObject", 206, &[("etag", "x")], ""));
    }

    #[test]
    fn a_result_in_xml_is_whole_and_of_its_operation() {
        for (operation, root) in [
            ("ListObjectsV2", "ListBucketResult"),
            ("ListParts", "ListPartsResult"),
            ("ListMultipartUploads", "ListMultipartUploadsResult"),
            ("CreateMultipartUpload", "InitiateMultipartUploadResult"),
            ("GetObjectTagging", "Tagging"),
            ("CompleteMultipartUpload", "CompleteMultipartUploadResult"),
            ("CopyObject", "CopyObjectResult"),
            ("UploadPartCopy", "CopyPartResult"),
        ] {
            let xml =
                format!("<?xml version=\"1.0\"?>\n  <{root}><ETag>&quot;x&quot;</ETag></{root}>");
            assert!(judged(operation, 200, &[], &xml), "{operation}");
            for end in 0..xml.len() {
                assert!(
                    !judged(operation, 200, &[], &xml[..end]),
                    "{operation} {end}"
                );
            }
            assert!(!judged(operation, 200, &[], PAGE) && !judged(operation, 204, &[], &xml));
            assert!(!judged(operation, 200, &[], "<Other></Other>"));
            let late = ["CompleteMultipartUpload", "CopyObject", "UploadPartCopy"];
            assert_eq!(
                judged(operation, 200, &[], ERROR),
                late.contains(&operation),
                "{operation}"
            );
        }
    }
}
