//! Parses replies as strictly as RFC 959, 4.2 defines them, and a little more strictly: one line
//! end, no control characters, and no middle line that could be taken for a last one.

/// One reply, read from the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrictReply<'a> {
    /// Three digits, the first of which is 1 to 5.
    pub code: u16,
    /// Its lines without codes, separators and line ends.
    pub lines: Vec<&'a str>,
}

impl<'a> StrictReply<'a> {
    /// Parses the first reply in `bytes`, and returns it with the rest; `None` if it is incomplete.
    ///
    /// # Errors
    /// Why these bytes are not a reply.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<(StrictReply<'a>, &'a [u8])>, String> {
        let Some((first, mut rest)) = line(bytes)? else {
            return Ok(None);
        };
        let code = code(first).ok_or_else(|| format!("no code in {first:?}"))?;
        let text = first
            .get(4..)
            .ok_or_else(|| format!("no text in {first:?}"))?;
        let mut lines = vec![text];
        match first.as_bytes()[3] {
            b' ' => return Ok(Some((StrictReply { code, lines }, rest))),
            b'-' => {}
            _ => return Err(format!("no separator in {first:?}")),
        }
        loop {
            let Some((next, after)) = line(rest)? else {
                return Ok(None);
            };
            rest = after;
            if let Some(middle) = next.strip_prefix(' ') {
                lines.push(middle);
                continue;
            }
            let last = next.strip_prefix(&first[..3]);
            let Some(text) = last.and_then(|last| last.strip_prefix(' ')) else {
                return Err(format!("{next:?} within the reply {first:?}"));
            };
            lines.push(text);
            return Ok(Some((StrictReply { code, lines }, rest)));
        }
    }

    /// All replies in `bytes`.
    ///
    /// # Errors
    /// Why these bytes are not replies, or that the last one is incomplete.
    pub fn parse_all(mut bytes: &'a [u8]) -> Result<Vec<StrictReply<'a>>, String> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let Some((reply, rest)) = StrictReply::parse(bytes)? else {
                return Err(format!("not whole: {:?}", bytes.escape_ascii().to_string()));
            };
            replies.push(reply);
            bytes = rest;
        }
        Ok(replies)
    }

    /// The text of its last line.
    pub fn text(&self) -> &'a str {
        self.lines.last().copied().unwrap_or_default()
    }

    /// Whether another reply to the same command follows it.
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }
}

/// The first line, without its CRLF, and the rest.
fn line(bytes: &[u8]) -> Result<Option<(&str, &[u8])>, String> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
    let shown = || line.escape_ascii().to_string();
    let text = line
        .strip_suffix(b"\r")
        .ok_or_else(|| format!("LF without CR after {:?}", shown()))?;
    let text = std::str::from_utf8(text).map_err(|_| format!("no UTF-8: {:?}", shown()))?;
    if text.contains(char::is_control) {
        return Err(format!("a control character in {:?}", shown()));
    }
    Ok(Some((text, rest)))
}

fn code(line: &str) -> Option<u16> {
    let digits = line.get(..3)?;
    let in_range = matches!(digits.as_bytes()[0], b'1'..=b'5');
    let all = digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|_| in_range && all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_as_they_are_written() {
        let wire = b"220 hello\r\n211-a\r\n 211 b\r\n \r\n211 c\r\n200 \r\n";
        let replies = StrictReply::parse_all(wire).unwrap();
        let read: Vec<_> = replies
            .iter()
            .map(|reply| (reply.code, reply.lines.join("|")))
            .collect();
        let expected = [(220, "hello"), (211, "a|211 b||c"), (200, "")];
        assert_eq!(read, expected.map(|(code, text)| (code, text.to_owned())));
    }

    #[test]
    fn what_is_no_reply() {
        for wire in [
            &b"20 x\r\n"[..],
            b"600 x\r\n",
            b"099 x\r\n",
            b"+20 x\r\n",
            b"200\r\n",
            b"200x\r\n",
            b"200 x\n",
            b"200 a\rb\r\n",
            b"200 \x07\r\n",
            b"200 \xff\r\n",
            b"200-a\r\n226 b\r\n",
            b"200-a\r\nb\r\n200 c\r\n",
            b"200 a",
            b"200-a\r\n 200 b\r\n",
        ] {
            assert!(
                StrictReply::parse_all(wire).is_err(),
                "{}",
                wire.escape_ascii()
            );
        }
    }
}
