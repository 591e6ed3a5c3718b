//! ListObjectsV2: pages of the stored keys, and of a million generated ones.

use std::fmt::Write;

use super::objects::{MODIFIED, Sizes, XML, escape};
use super::request::Request;

/// Number of keys under a prefix that ends in `million/`.
pub const MILLION: u64 = 1_000_000;
/// Upper limit of the entries of a page.
const PAGE: u64 = 1000;

/// ListObjectsV2, with or without the delimiter `/`: the body of its answer.
pub fn list(sizes: &Sizes, request: &Request) -> String {
    let prefix = request.query("prefix").unwrap_or("");
    let token = request.query("continuation-token");
    let most = request.query("max-keys").and_then(|text| text.parse().ok());
    let mut page = Page {
        left: most.unwrap_or(PAGE).min(PAGE),
        encode: request.query("encoding-type").is_some(),
        ..Page::default()
    };
    if prefix.ends_with("million/") {
        let first = token.and_then(|token| token.parse().ok()).unwrap_or(0);
        let last = MILLION.min(first + page.left);
        for number in first..last {
            page.object(&format!("{prefix}file-{number:07}.bin"), number);
        }
        page.next = (last < MILLION).then(|| last.to_string());
    } else {
        page.collect(sizes, request, prefix, token);
    }
    page.finish(request, prefix)
}

/// A page of a listing being written.
#[derive(Debug, Default)]
struct Page {
    entries: String,
    /// Entries so far, and the number that still fits.
    count: u64,
    left: u64,
    /// The token of the next page, if there is one: the last name of this page.
    next: Option<String>,
    /// Whether keys are percent-encoded (`encoding-type=url`).
    encode: bool,
}

impl Page {
    /// Adds the stored objects under `prefix` that come after `token`.
    fn collect(&mut self, sizes: &Sizes, request: &Request, prefix: &str, token: Option<&str>) {
        let folded = request.query("delimiter").is_some();
        let mut last = token.unwrap_or_default().to_owned();
        let from = (request.bucket.clone(), prefix.to_owned());
        let under = sizes
            .range(from..)
            .take_while(|((bucket, key), _)| *bucket == request.bucket && key.starts_with(prefix));
        for ((_, key), size) in under {
            let in_last = folded
                && last.len() > prefix.len()
                && last.ends_with('/')
                && key.starts_with(&last);
            if in_last || key.as_str() <= last.as_str() {
                continue;
            }
            if self.left == 0 {
                self.next = Some(last);
                return;
            }
            match key[prefix.len()..].split_once('/') {
                Some((directory, _)) if folded => {
                    last = format!("{prefix}{directory}/");
                    self.directory(&last);
                }
                _ => {
                    last.clone_from(key);
                    self.object(key, *size);
                }
            }
        }
    }

    fn object(&mut self, key: &str, size: u64) {
        self.entries.push_str("<Contents><Key>");
        self.push_name(key);
        // Writing to a string can't fail.
        let _ = write!(
            self.entries,
            "</Key><LastModified>{}</LastModified><ETag>&quot;{size:032x}&quot;</ETag><Size>{size}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            MODIFIED.1
        );
        self.added();
    }

    fn directory(&mut self, prefix: &str) {
        self.entries.push_str("<CommonPrefixes><Prefix>");
        self.push_name(prefix);
        self.entries.push_str("</Prefix></CommonPrefixes>");
        self.added();
    }

    fn added(&mut self) {
        self.count += 1;
        self.left -= 1;
    }

    fn push_name(&mut self, name: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if name.chars().all(plain) {
            self.entries.push_str(name);
        } else if self.encode {
            self.entries.push_str(&percent_encode(name));
        } else {
            self.entries.push_str(&escape(name));
        }
    }

    fn finish(self, request: &Request, prefix: &str) -> String {
        let encoding = if self.encode {
            "<EncodingType>url</EncodingType>"
        } else {
            ""
        };
        let prefix = if self.encode {
            percent_encode(prefix)
        } else {
            escape(prefix)
        };
        let next = self.next.as_ref().map_or_else(String::new, |token| {
            format!(
                "<NextContinuationToken>{}</NextContinuationToken>",
                escape(token)
            )
        });
        format!(
            "{XML}<ListBucketResult><Name>{}</Name><Prefix>{prefix}</Prefix>{encoding}<KeyCount>{}</KeyCount>\
             <MaxKeys>{PAGE}</MaxKeys><IsTruncated>{}</IsTruncated>{next}{}</ListBucketResult>",
            escape(&request.bucket),
            self.count,
            self.next.is_some(),
            self.entries
        )
    }
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
