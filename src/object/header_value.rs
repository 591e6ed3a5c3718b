//! Values of user metadata as headers.
//!
//! A header takes US-ASCII. S3 decodes other values by RFC 2047, and returns them encoded so. Stores
//! that don't keep the encoded text, which is the same for a client that reads it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Bytes of a text in one encoded word: in base64, with its frame, at most 75 characters.
const WORD: usize = 45;

/// A text as the value of a header: as it is, or as encoded words of RFC 2047 if it is not
/// US-ASCII, has control characters or spaces at its ends, or looks like an encoded word.
pub fn header_value(text: &str) -> String {
    let plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if text.bytes().all(plain) && text.trim() == text && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(word)));
        rest = after;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn decoded(value: &str) -> String {
        if !value.contains("=?") {
            return value.to_owned();
        }
        let words = value.split(' ').map(|word| {
            let inner = word.strip_prefix("=?UTF-8?B?").unwrap();
            let bytes = BASE64_STANDARD.decode(inner.strip_suffix("?=").unwrap());
            String::from_utf8(bytes.unwrap()).unwrap()
        });
        words.collect()
    }

    #[test]
    fn texts_of_ascii_stay() {
        for text in ["", "anna", "2001:db8::1", "a b", "a=b?c"] {
            assert_eq!(header_value(text), text);
        }
        assert_eq!(header_value("Jürg"), "=?UTF-8?B?SsO8cmc=?=");
        assert_eq!(header_value("a\r\nx: y"), "=?UTF-8?B?YQ0KeDogeQ==?=");
    }

    proptest! {
        #[test]
        fn each_value_is_a_header_and_can_be_read_back(text in any::<String>()) {
            let value = header_value(&text);
            prop_assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
            prop_assert_eq!(value.trim(), &value);
            prop_assert!(value == text || value.split(' ').all(|word| word.len() <= 75));
            prop_assert_eq!(decoded(&value), text);
        }
    }
}
