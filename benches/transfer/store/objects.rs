//! The S3 operations of a store that keeps only sizes.
//!
//! Some objects always exist: a key whose last element is `size-N.bin` is an object of N bytes, and
//! a prefix that ends in `million/` has a million keys.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use super::listing::list;
use super::request::{Request, parse_range};

/// LastModified of everything, as in headers and as in listings.
pub const MODIFIED: (&str, &str) = ("Thu, 01 Jan 2026 00:00:00 GMT", "2026-01-01T00:00:00.000Z");
/// The start of an XML document.
pub const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The prefix of the last element of a key that has its size.
pub fn sized_key(size: u64) -> String {
    format!("size-{size}.bin")
}

/// Size by bucket and key.
pub type Sizes = BTreeMap<(String, String), u64>;

/// The state of the store.
#[derive(Debug, Default)]
pub struct Objects {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sizes: Sizes,
    /// Open multipart uploads: part sizes by number.
    uploads: HashMap<String, BTreeMap<u32, u64>>,
    /// Number of the next upload.
    created: u64,
}

/// An answer that is to be sent.
#[derive(Debug)]
pub struct Answer {
    status: &'static str,
    headers: String,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// XML, or nothing.
    Text(String),
    /// This number of zeros.
    Zeros(u64),
}

impl Objects {
    /// Carries out a request whose body has been dropped.
    pub fn answer(&self, request: &Request) -> Answer {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = request.query("uploadId");
        match (request.method.as_str(), request.key.is_empty(), upload) {
            ("GET", true, _) if request.query("list-type") == Some("2") => {
                Answer::text("200 OK", list(&state.sizes, request))
            }
            ("HEAD", true, _) => Answer::text("200 OK", String::new()),
            ("GET" | "HEAD", false, None) => read(&state, request),
            ("PUT", false, _) if request.header("x-amz-copy-source").is_some() => {
                Answer::unsupported()
            }
            ("PUT", false, None) => put(&mut state, request),
            ("PUT", false, Some(id)) => put_part(&mut state, request, id),
            ("POST", false, Some(id)) => complete(&mut state, request, id),
            ("POST", false, None) if request.query("uploads").is_some() => {
                create(&mut state, request)
            }
            ("DELETE", false, Some(id)) => {
                state.uploads.remove(id);
                Answer::text("204 No Content", String::new())
            }
            ("DELETE", false, None) => {
                state.sizes.remove(&name(request));
                Answer::text("204 No Content", String::new())
            }
            _ => Answer::unsupported(),
        }
    }
}

/// GetObject and HeadObject.
fn read(state: &State, request: &Request) -> Answer {
    let size = state
        .sizes
        .get(&name(request))
        .copied()
        .or_else(|| size_in(&request.key));
    let Some(size) = size else {
        return Answer::error("404 Not Found", "NoSuchKey");
    };
    if request
        .header("if-match")
        .is_some_and(|expected| expected != etag(size))
    {
        return Answer::error("412 Precondition Failed", "PreconditionFailed");
    }
    let mut answer = match request
        .header("range")
        .map(|range| parse_range(range, size))
    {
        None => Answer::new("200 OK", Body::Zeros(size)),
        Some(Err(())) => return Answer::error("416 Range Not Satisfiable", "InvalidRange"),
        Some(Ok((first, length))) => {
            let last = first + length - 1;
            Answer::new("206 Partial Content", Body::Zeros(length))
                .header("Content-Range", &format!("bytes {first}-{last}/{size}"))
        }
    };
    answer = answer
        .header("ETag", &etag(size))
        .header("Last-Modified", MODIFIED.0)
        .header("Accept-Ranges", "bytes");
    answer.header("Content-Type", "application/octet-stream")
}

/// PutObject.
fn put(state: &mut State, request: &Request) -> Answer {
    if let Some(refusal) = refusal(state, request) {
        return refusal;
    }
    let size = request.payload();
    state.sizes.insert(name(request), size);
    with_checksum(
        Answer::text("200 OK", String::new()).header("ETag", &etag(size)),
        request,
    )
}

/// CreateMultipartUpload.
fn create(state: &mut State, request: &Request) -> Answer {
    state.created += 1;
    let id = format!("upload-{}", state.created);
    let text = format!(
        "{XML}<InitiateMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><UploadId>{id}</UploadId>\
         </InitiateMultipartUploadResult>",
        escape(&request.bucket),
        escape(&request.key)
    );
    state.uploads.insert(id, BTreeMap::new());
    Answer::text("200 OK", text)
}

/// UploadPart.
fn put_part(state: &mut State, request: &Request, id: &str) -> Answer {
    let number = request
        .query("partNumber")
        .and_then(|text| text.parse().ok());
    let (Some(parts), Some(number)) = (state.uploads.get_mut(id), number) else {
        return Answer::error("404 Not Found", "NoSuchUpload");
    };
    let size = request.payload();
    parts.insert(number, size);
    with_checksum(
        Answer::text("200 OK", String::new()).header("ETag", &etag(size)),
        request,
    )
}

/// CompleteMultipartUpload of all parts that were uploaded; it ignores the list in the body.
fn complete(state: &mut State, request: &Request, id: &str) -> Answer {
    let Some(parts) = state.uploads.get(id) else {
        return Answer::error("404 Not Found", "NoSuchUpload");
    };
    let size = parts.values().sum();
    if let Some(expected) = request.header("x-amz-mp-object-size")
        && expected.parse() != Ok(size)
    {
        return Answer::error("400 Bad Request", "InvalidRequest");
    }
    if let Some(refusal) = refusal(state, request) {
        return refusal;
    }
    state.uploads.remove(id);
    state.sizes.insert(name(request), size);
    let checksum = request
        .header("x-amz-checksum-crc32")
        .map_or_else(String::new, |crc| {
            format!("<ChecksumCRC32>{crc}</ChecksumCRC32><ChecksumType>FULL_OBJECT</ChecksumType>")
        });
    let text = format!(
        "{XML}<CompleteMultipartUploadResult><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag>{checksum}\
         </CompleteMultipartUploadResult>",
        escape(&request.bucket),
        escape(&request.key),
        escape(&etag(size))
    );
    Answer::text("200 OK", text)
}

impl Answer {
    fn new(status: &'static str, body: Body) -> Answer {
        Answer {
            status,
            headers: String::new(),
            body,
        }
    }

    fn text(status: &'static str, text: String) -> Answer {
        Answer::new(status, Body::Text(text))
    }

    fn error(status: &'static str, code: &str) -> Answer {
        let text = format!("{XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        Answer::text(status, text)
    }

    fn unsupported() -> Answer {
        Answer::error("501 Not Implemented", "NotImplemented")
    }

    fn header(mut self, name: &str, value: &str) -> Answer {
        // Writing to a string can't fail.
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }

    /// Status line and headers, with the empty line at their end.
    pub fn head(&self) -> String {
        let length = match &self.body {
            Body::Text(text) => text.len() as u64,
            Body::Zeros(length) => *length,
        };
        let now = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
        format!(
            "HTTP/1.1 {}\r\nServer: null\r\nDate: {now}\r\nx-amz-request-id: 0\r\n{}Content-Length: {length}\r\n\r\n",
            self.status, self.headers
        )
    }
}

fn name(request: &Request) -> (String, String) {
    (request.bucket.clone(), request.key.clone())
}

/// 412 for a write whose condition does not hold.
fn refusal(state: &State, request: &Request) -> Option<Answer> {
    let there = state.sizes.get(&name(request));
    let absent_wanted = request.header("if-none-match") == Some("*") && there.is_some();
    let other_wanted = request
        .header("if-match")
        .is_some_and(|expected| there.is_none_or(|size| expected != etag(*size)));
    (absent_wanted || other_wanted)
        .then(|| Answer::error("412 Precondition Failed", "PreconditionFailed"))
}

/// Returns the request's checksum, as a store that had verified it would.
fn with_checksum(answer: Answer, request: &Request) -> Answer {
    match request.header("x-amz-checksum-crc32") {
        Some(crc) => answer.header("x-amz-checksum-crc32", crc),
        None => answer,
    }
}

/// The ETag of an object depends only on its size, since nothing else is known.
fn etag(size: u64) -> String {
    format!("\"{size:032x}\"")
}

/// N of a key that ends in `size-N.bin`.
fn size_in(key: &str) -> Option<u64> {
    let name = key.rsplit('/').next()?;
    name.strip_prefix("size-")?
        .strip_suffix(".bin")?
        .parse()
        .ok()
}

/// Text, escaped for XML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
