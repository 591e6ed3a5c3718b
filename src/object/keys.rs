//! Keys in the places where S3 wants or gives them percent-encoded.

/// The value of `x-amz-copy-source`: bucket and key, everything but unreserved characters and `/`
/// encoded.
pub(super) fn copy_source(bucket: &str, key: &str) -> String {
    let mut out = String::with_capacity(bucket.len() + key.len() + 16);
    out.push_str(bucket);
    out.push('/');
    encode(key, &mut out);
    out
}

/// `k1=v1&k2=v2`, encoded: the value of `x-amz-tagging`.
pub(super) fn tagging<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in tags {
        if !out.is_empty() {
            out.push('&');
        }
        encode(key, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

fn encode(text: &str, out: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

/// Whether `text` can be the url-encoding of a key. Stores that answer a listing with
/// `EncodingType` url but do not encode give themselves away by a character that an encoder never
/// leaves as it is.
pub(super) fn looks_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(index, byte)| match byte {
        b'%' => matches!(
            bytes.get(index + 1..index + 3),
            Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()
        ),
        b' ' | b'"' | b'<' | b'>' | b'&' | b'#' | b'?' | b'\\' => false,
        b'^' | b'`' | b'{' | b'|' | b'}' => false,
        _ => byte.is_ascii_graphic(),
    })
}

/// The key that a listing reports in url-encoding (`+` is a space there).
pub(super) fn decode(text: &str) -> String {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let mut ahead = bytes.clone();
                match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                    (Some(high), Some(low)) => {
                        out.push(high << 4 | low);
                        bytes = ahead;
                    }
                    _ => out.push(b'%'),
                }
            }
            _ => out.push(byte),
        }
    }
    // S3's keys are UTF-8; what is not can't be named in a request either.
    String::from_utf8(out)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_sources() {
        assert_eq!(copy_source("b", "a/b c+d%.txt"), "b/a/b%20c%2Bd%25.txt");
        assert_eq!(copy_source("b", "ü?#\u{1}"), "b/%C3%BC%3F%23%01");
    }

    #[test]
    fn tags() {
        assert_eq!(
            tagging([("a b", "c&d"), ("e", "")].into_iter()),
            "a%20b=c%26d&e="
        );
    }

    #[test]
    fn listings() {
        assert_eq!(decode("a+b%2Bc%0A%C3%BC/plain"), "a b+c\nü/plain");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%é"), "%é");
        assert!(looks_encoded("a+b%2Bc"));
        for raw in ["a b", "ü", "100%", "%zz", "a\u{1}b", "a&b"] {
            assert!(!looks_encoded(raw), "{raw:?}");
        }
    }
}
