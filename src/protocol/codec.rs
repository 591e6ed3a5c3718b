//! The line codec of the control connection: bytes → command lines; Telnet sequences are taken out.

use bytes::BytesMut;

/// The longest command line, bytes, its end included.
pub const MAX_LINE: usize = 4096;

/// Takes lines out of a buffer.
#[derive(Debug, Default)]
pub struct LineCodec {}

/// A line longer than [`MAX_LINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command line too long")]
pub struct LineTooLong;

impl LineCodec {
    /// The next whole line without its end (CRLF, or LF alone), Telnet commands removed (IAC IAC → 0xFF);
    /// `None` until there is one. Looks at each byte once, however the line is cut.
    pub fn next_line(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<u8>>, LineTooLong> {
        let _ = buffer;
        todo!()
    }
}
