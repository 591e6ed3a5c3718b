//! Which S3 operation an HTTP request is.

use http::{HeaderMap, Method};
use s3s::HttpRequest;

/// A request as the store saw it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The operation's name in S3's API, such as `PutObject`.
    pub operation: String,
    /// Empty for ListBuckets.
    pub bucket: String,
    /// Decoded; empty for operations on a bucket.
    pub key: String,
    /// The query string as it was sent.
    pub query: String,
    /// The Range header.
    pub range: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
}

impl Request {
    /// Names the operation of a request, and notes its headers.
    pub fn of(request: &HttpRequest) -> Request {
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = request.uri().query().unwrap_or_default();
        let headers = request.headers().clone();
        let copies = headers.contains_key("x-amz-copy-source");
        let range = headers.get("range");
        Request {
            operation: operation(request.method(), bucket, key, query, copies).to_owned(),
            bucket: bucket.to_owned(),
            key: percent_decode(key),
            query: query.to_owned(),
            range: range.map(|range| String::from_utf8_lossy(range.as_bytes()).into_owned()),
            headers,
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query, as it was sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        parameter(&self.query, name)
    }
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find_map(|(key, value)| (key == name).then_some(value))
}

fn operation(method: &Method, bucket: &str, key: &str, query: &str, copies: bool) -> &'static str {
    let has = |name| parameter(query, name).is_some();
    match (method.as_str(), bucket.is_empty(), key.is_empty()) {
        ("GET", true, _) => "ListBuckets",
        ("GET", _, true) if has("uploads") => "ListMultipartUploads",
        ("GET", _, true) if has("list-type") => "ListObjectsV2",
        ("GET", _, true) if has("location") => "GetBucketLocation",
        ("GET", _, true) => "ListObjects",
        ("PUT", _, true) => "CreateBucket",
        ("HEAD", _, true) => "HeadBucket",
        ("DELETE", _, true) => "DeleteBucket",
        ("POST", _, true) if has("delete") => "DeleteObjects",
        ("GET", ..) if has("uploadId") => "ListParts",
        ("GET", ..) if has("tagging") => "GetObjectTagging",
        ("GET", ..) if has("attributes") => "GetObjectAttributes",
        ("GET", ..) => "GetObject",
        ("HEAD", ..) => "HeadObject",
        ("PUT", ..) if has("uploadId") && copies => "UploadPartCopy",
        ("PUT", ..) if has("uploadId") => "UploadPart",
        ("PUT", ..) if has("tagging") => "PutObjectTagging",
        ("PUT", ..) if copies => "CopyObject",
        ("PUT", ..) => "PutObject",
        ("POST", ..) if has("uploads") => "CreateMultipartUpload",
        ("POST", ..) if has("uploadId") => "CompleteMultipartUpload",
        ("DELETE", ..) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", ..) if has("tagging") => "DeleteObjectTagging",
        ("DELETE", ..) => "DeleteObject",
        _ => "Unknown",
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match escape {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
