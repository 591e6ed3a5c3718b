//! [`Reply`]: a code and its lines → bytes.

/// One reply, of one line or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Its lines, without code; control characters are replaced when written.
    pub lines: Vec<String>,
}

impl Reply {
    /// Of one line.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Reply { code, lines: vec![text.into()] }
    }
    /// Of many lines: `code-first`, ` middle` …, `code last`.
    pub fn lines(code: u16, lines: Vec<String>) -> Self {
        Reply { code, lines }
    }
    /// Its bytes on the wire, CRLF after each line. Middle lines begin with a space, so that none looks like the last.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
    /// `/a "b"` → `"/a ""b"""` (RFC 959, appendix II).
    pub fn quote_path(path: &str) -> String {
        let _ = path;
        todo!()
    }
}
