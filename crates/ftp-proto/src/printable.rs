//! Text from clients and keys → bytes that stay on one line.

/// Appends `text` in UTF-8, each control character (C0, DEL, C1) replaced by `?`.
pub(super) fn push(out: &mut Vec<u8>, text: &str) {
    if text.chars().any(char::is_control) {
        out.extend(text.chars().map(printable).collect::<String>().into_bytes());
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

fn printable(character: char) -> char {
    if character.is_control() {
        '?'
    } else {
        character
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_replaced() {
        for (text, expected) in [
            ("", ""),
            ("plain ünï 日本 \u{2028}", "plain ünï 日本 \u{2028}"),
            ("a\r\n226 x", "a??226 x"),
            ("\0\u{1b}[31m\u{7f}\u{85}\u{9f}\u{a0}", "??[31m???\u{a0}"),
        ] {
            let mut out = b"> ".to_vec();
            push(&mut out, text);
            assert_eq!(out, format!("> {expected}").into_bytes());
        }
    }
}
