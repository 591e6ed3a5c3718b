//! Replies, read as strictly as RFC 959 writes them.

use std::net::SocketAddr;

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its lines as they were sent, with codes and without line ends. Bytes that are not UTF-8 are
    /// replaced.
    pub lines: Vec<String>,
    /// Its bytes.
    pub raw: Vec<u8>,
}

impl Reply {
    /// The last line without its code.
    pub fn text(&self) -> &str {
        self.lines.last().map_or("", |line| &line[4..])
    }

    /// The last line without its code and without the id of its event.
    pub fn reason(&self) -> &str {
        without_id(self.text())
    }

    /// The id of its event: of a transfer, or of a command that was refused or has failed.
    pub fn id(&self) -> Option<&str> {
        split_id(self.text()).1
    }

    /// Whether it is a 1yz: another reply follows.
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }
}

/// The text of a reply without the id of its event.
pub fn without_id(text: &str) -> &str {
    split_id(text).0
}

fn split_id(text: &str) -> (&str, Option<&str>) {
    let split = |name: &str| {
        let (before, id) = text.rsplit_once(name)?;
        let is_id = id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_id.then_some((before, Some(id)))
    };
    split(", transfer ")
        .or_else(|| split(", request "))
        .unwrap_or((text, None))
}

/// The address in the text of a 227: six numbers in parentheses.
pub(super) fn parse_pasv(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once('(')?;
    let (inner, _) = rest.split_once(')')?;
    let numbers: Result<Vec<u8>, _> = inner.split(',').map(str::parse).collect();
    let [h1, h2, h3, h4, p1, p2] = numbers.ok()?.try_into().ok()?;
    let port = u16::from_be_bytes([p1, p2]);
    Some(SocketAddr::from(([h1, h2, h3, h4], port)))
}

/// The port in the text of a 229: `(|||port|)`.
pub(super) fn parse_epsv(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("(|||")?;
    let (port, _) = rest.split_once("|)")?;
    port.parse().ok()
}

/// The first reply in `input`; `None` if it is incomplete, an error if it does not follow RFC 959
/// (section 4.2). A line ends in CRLF, and contains neither CR nor LF. The last line of several has
/// the first one's code and a space; no line between has another code.
pub(super) fn parse_reply(input: &[u8]) -> Result<Option<Reply>, String> {
    let mut lines: Vec<String> = Vec::new();
    let mut code = 0;
    let mut at = 0;
    while let Some(length) = input[at..].iter().position(|&byte| byte == b'\n') {
        let line = &input[at..at + length];
        at += length + 1;
        let line = line
            .strip_suffix(b"\r")
            .ok_or("a line that ends in a bare LF")?;
        if line.contains(&b'\r') {
            return Err("a CR within a line".to_owned());
        }
        let head = reply_head(line);
        let first = lines.is_empty();
        lines.push(String::from_utf8_lossy(line).into_owned());
        match head {
            None if first => return Err("a reply that begins with no code".to_owned()),
            None => continue,
            Some((own, _)) if !first && own != code => {
                return Err(format!("a line of code {own} within a reply {code}"));
            }
            Some((own, b'-')) => code = own,
            Some((own, _)) => {
                return Ok(Some(Reply {
                    code: own,
                    lines,
                    raw: input[..at].to_vec(),
                }));
            }
        }
    }
    Ok(None)
}

/// The code of a line and the space or hyphen after it.
fn reply_head(line: &[u8]) -> Option<(u16, u8)> {
    match line {
        [
            a @ b'1'..=b'6',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            mark @ (b' ' | b'-'),
            ..,
        ] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), *mark))
        }
        _ => None,
    }
}
