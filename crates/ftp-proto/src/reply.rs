//! [`Reply`]: a code and its lines → bytes (RFC 959, 4.2).

use super::printable;

/// One reply, with one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// The lines, without the code; [`Reply::to_bytes`] replaces control characters.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply with one line.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Reply {
            code,
            lines: vec![text.into()],
        }
    }

    /// A reply with several lines: `code-first`, ` middle` …, `code last`.
    pub fn lines(code: u16, lines: Vec<String>) -> Self {
        Reply { code, lines }
    }

    /// The bytes on the wire, with CRLF after each line. Middle lines begin with a space, so that
    /// none looks like the last one; RFC 2389 and RFC 3659 require that form for FEAT and MLST.
    /// Control characters become `?`, so that the client reads exactly one reply.
    ///
    /// # Examples
    ///
    /// ```
    /// use ftp_proto::Reply;
    ///
    /// let features = ["Features:", "UTF8", "End"].map(str::to_owned);
    /// let reply = Reply::lines(211, features.to_vec());
    /// assert_eq!(reply.to_bytes(), b"211-Features:\r\n UTF8\r\n211 End\r\n");
    ///
    /// // The name of a file can't add a reply.
    /// let reply = Reply::new(550, "/a\r\n226 done: no such file");
    /// assert_eq!(reply.to_bytes(), b"550 /a??226 done: no such file\r\n");
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        debug_assert!(
            (100..600).contains(&self.code),
            "{} is not a reply code",
            self.code
        );
        let text: usize = self
            .lines
            .iter()
            .map(|line| line.len() + "226 \r\n".len())
            .sum();
        let mut out = Vec::with_capacity(text);
        let (last, before) = match self.lines.split_last() {
            Some((last, before)) => (last.as_str(), before),
            None => ("", &[][..]),
        };
        for (number, line) in before.iter().enumerate() {
            if number == 0 {
                self.push_line(&mut out, "-", line);
            } else {
                out.push(b' ');
                printable::push(&mut out, line);
                out.extend_from_slice(b"\r\n");
            }
        }
        self.push_line(&mut out, " ", last);
        out
    }

    /// `/a "b"` → `"/a ""b"""` (RFC 959, appendix II).
    pub fn quote_path(path: &str) -> String {
        format!("\"{}\"", path.replace('"', "\"\""))
    }

    fn push_line(&self, out: &mut Vec<u8>, separator: &str, text: &str) {
        out.extend_from_slice(format!("{:03}{separator}", self.code).as_bytes());
        printable::push(out, text);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn written(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).unwrap()
    }

    fn many(code: u16, lines: &[&str]) -> Reply {
        Reply::lines(code, lines.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn replies_on_the_wire() {
        for (reply, expected) in [
            (Reply::new(200, "NOOP ok"), "200 NOOP ok\r\n"),
            (Reply::new(200, ""), "200 \r\n"),
            (many(200, &[]), "200 \r\n"),
            (
                many(211, &["Features:", "UTF8", "End"]),
                "211-Features:\r\n UTF8\r\n211 End\r\n",
            ),
            (many(214, &["a", "b"]), "214-a\r\n214 b\r\n"),
            (
                many(213, &["a", "213 forged", "", "b"]),
                "213-a\r\n 213 forged\r\n \r\n213 b\r\n",
            ),
            (
                Reply::new(550, "a\r\n226 x\u{85}y\0: none"),
                "550 a??226 x?y?: none\r\n",
            ),
            (Reply::new(550, "日本: none"), "550 日本: none\r\n"),
        ] {
            assert_eq!(written(&reply), expected);
        }
    }

    #[test]
    fn quoted_paths() {
        for (path, expected) in [
            ("/", "\"/\""),
            ("/a \"b\"", "\"/a \"\"b\"\"\""),
            ("/a'b", "\"/a'b\""),
        ] {
            assert_eq!(Reply::quote_path(path), expected);
        }
    }

    /// Reads one reply as a client does by RFC 959. Returns code, lines and the rest.
    fn read_reply(wire: &str) -> Option<(u16, Vec<&str>, &str)> {
        let (first, mut rest) = wire.split_once("\r\n")?;
        let code = first.get(..3)?.parse().ok()?;
        let text = first.get(4..)?;
        if first.as_bytes()[3] == b' ' {
            return Some((code, vec![text], rest));
        }
        assert_eq!(first.as_bytes()[3], b'-');
        let mut lines = vec![text];
        loop {
            let (line, after) = rest.split_once("\r\n")?;
            rest = after;
            if line.starts_with(&format!("{code} ")) {
                lines.push(&line[4..]);
                return Some((code, lines, rest));
            }
            lines.push(line.strip_prefix(' ')?);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_exactly_one_reply(
            code in 100_u16..600,
            lines in proptest::collection::vec(
                prop_oneof![any::<String>(), "[0-9]{3}[ -]x", "(a|\r|\n|\r\n|[1-5]{3} ){0,8}"], 1..6),
        ) {
            let wire = written(&Reply::lines(code, lines.clone()));
            let (read, texts, rest) = read_reply(&wire).unwrap();
            prop_assert_eq!(read, code);
            prop_assert_eq!(rest, "");
            prop_assert!(!wire.replace("\r\n", "").contains(char::is_control));
            let clean: Vec<String> =
                lines.iter().map(|line| line.replace(char::is_control, "?")).collect();
            prop_assert_eq!(texts, clean);
        }

        #[test]
        fn a_quoted_path_can_be_read_back(path in "[a\" /é]{0,20}", text in "[a ]{0,5}") {
            let quoted = Reply::quote_path(&path);
            let reply = format!("{quoted} {text}");
            // A client reads up to the first quote that is not doubled.
            let mut read = String::new();
            let mut characters = reply.chars().skip(1).peekable();
            while let Some(character) = characters.next() {
                if character == '"' && characters.next_if_eq(&'"').is_none() {
                    break;
                }
                read.push(character);
            }
            prop_assert_eq!(read, path);
            prop_assert_eq!(characters.collect::<String>(), format!(" {text}"));
        }
    }
}
