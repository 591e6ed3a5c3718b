//! HTTP/1.1 requests as S3 clients send them: a head, and a body of a known length.

use std::io::{self, BufRead};

/// The head of one request.
#[derive(Debug)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The bucket, decoded; may be empty.
    pub bucket: String,
    /// The key, decoded; empty in a request about the bucket.
    pub key: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Request {
    /// Reads the next head; `None` if the client has closed the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut request = Request::from_line(&line).ok_or_else(|| malformed(&line))?;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                return Ok(Some(request));
            }
            let (name, value) = header.split_once(':').ok_or_else(|| malformed(header))?;
            request
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a request line; `None` if it is malformed.
    pub fn from_line(line: &str) -> Option<Request> {
        let mut words = line.split_ascii_whitespace();
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.strip_prefix('/')?;
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (percent_decode(name), percent_decode(value))
            });
        Some(Request {
            method: method.to_owned(),
            bucket: percent_decode(bucket),
            key: percent_decode(key),
            query: query.collect(),
            headers: Vec::new(),
        })
    }

    /// A parameter of the query, decoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        find(&self.query, name)
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Bytes of the body on the wire.
    pub fn length(&self) -> u64 {
        self.header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0)
    }

    /// Bytes of the object or part that the body carries.
    pub fn payload(&self) -> u64 {
        self.header("x-amz-decoded-content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| self.length())
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"))
}

/// First byte and length of what a `Range` header selects of an object of `size` bytes; `Err` if it
/// selects nothing (416). A header in another form than `bytes=a-b`, `bytes=a-` and `bytes=-n`
/// selects all (RFC 9110, 14.2).
pub fn parse_range(header: &str, size: u64) -> Result<(u64, u64), ()> {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Ok((0, size));
    };
    let (first, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, size.min(last.saturating_add(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size),
        (Err(_), Ok(suffix)) if first.is_empty() => (size.saturating_sub(suffix), size),
        _ => (0, size),
    };
    if first < end {
        Ok((first, end - first))
    } else {
        Err(())
    }
}

/// Undoes percent encoding. Malformed encodings stay as they are; invalid UTF-8 is replaced.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten();
        let byte = hex
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
