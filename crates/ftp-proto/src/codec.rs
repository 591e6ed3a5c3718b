//! The line codec of the control connection: bytes → command lines, without Telnet sequences.
//!
//! Bytes pass two state machines. The first removes the Telnet protocol (RFC 854, RFC 959, 3.1),
//! the second looks for the end of the line. Both keep their state between calls and read each byte
//! once. So a line costs the same however the network cuts it, and a line without an end costs no
//! memory.
//!
//! Clients commonly announce an ABOR with `IAC IP IAC DM` and send one byte of it as TCP urgent
//! data (the "Synch"). That byte differs between clients, and it is missing if urgent data is not
//! read in line. So after IAC IP, until the next byte of text, the codec also drops a DM without
//! its IAC and an IAC without its command.

use std::fmt;

use bytes::{Buf, BytesMut};

/// The longest command line, in bytes on the wire, with its end and its Telnet sequences.
pub const MAX_LINE: usize = 4096;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

const IAC: u8 = 0xff;
const DONT: u8 = 0xfe;
const WILL: u8 = 0xfb;
const SB: u8 = 0xfa;
const IP: u8 = 0xf4;
const DM: u8 = 0xf2;
const SE: u8 = 0xf0;

/// Removes lines from a buffer.
#[derive(Default)]
pub struct LineCodec {
    /// The line so far, without Telnet sequences.
    line: Vec<u8>,
    /// Bytes on the wire since the last line end.
    raw: usize,
    telnet: Telnet,
    /// A CR whose meaning depends on the next byte.
    carriage_return: bool,
    /// IAC IP came last: the rest of a torn Synch may follow.
    interrupted: bool,
    /// The codec drops the rest of a line that is too long.
    skipping: bool,
}

/// A line longer than [`MAX_LINE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command line too long")]
pub struct LineTooLong;

/// Position of the next byte in a Telnet sequence.
#[derive(Debug, Clone, Copy, Default)]
enum Telnet {
    /// Outside a sequence.
    #[default]
    Text,
    /// After IAC.
    Command,
    /// After IAC WILL, WONT, DO or DONT.
    Option,
    /// After IAC SB.
    Subnegotiation,
    /// After an IAC within a subnegotiation.
    SubnegotiationCommand,
}

impl LineCodec {
    /// The next whole line without its end (CRLF, or LF alone) and without Telnet commands (IAC IAC
    /// → 0xFF); `None` until there is one. Reads each byte once, however the line is cut, and
    /// removes it from `buffer`: what stays there belongs to later lines.
    ///
    /// # Errors
    ///
    /// [`LineTooLong`], once for each such line. The following calls drop the rest of it.
    pub fn next_line(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<u8>>, LineTooLong> {
        let mut used = 0;
        let mut outcome = Ok(None);
        for &byte in buffer.iter() {
            used += 1;
            outcome = self.take(byte);
            if outcome != Ok(None) {
                break;
            }
        }
        buffer.advance(used);
        outcome
    }

    fn take(&mut self, byte: u8) -> Result<Option<Vec<u8>>, LineTooLong> {
        if self.telnet_byte(byte) {
            self.raw = 0;
            let line = std::mem::take(&mut self.line);
            return Ok((!std::mem::take(&mut self.skipping)).then_some(line));
        }
        if !self.skipping {
            self.raw += 1;
            if self.raw == MAX_LINE {
                self.skipping = true;
                self.line = Vec::new();
                return Err(LineTooLong);
            }
        }
        Ok(None)
    }

    /// Handles one byte from the wire. Returns whether it ends the line.
    fn telnet_byte(&mut self, byte: u8) -> bool {
        match (self.telnet, byte) {
            (Telnet::Text, IAC) => self.telnet = Telnet::Command,
            (Telnet::Text, DM) if self.interrupted => {}
            (Telnet::Text, _) => return self.text_byte(byte),

            (Telnet::Command, SB) => self.telnet = Telnet::Subnegotiation,
            (Telnet::Command, WILL..=DONT) => self.telnet = Telnet::Option,
            (Telnet::Command, IAC) => {
                self.telnet = Telnet::Text;
                return self.text_byte(IAC);
            }
            (Telnet::Command, SE..) => {
                self.telnet = Telnet::Text;
                self.interrupted |= byte == IP;
            }
            // Not a Telnet command: unless it is a torn Synch, 0xFF is a letter in a legacy
            // charset.
            (Telnet::Command, _) => {
                self.telnet = Telnet::Text;
                if !self.interrupted {
                    self.text_byte(IAC);
                }
                return self.text_byte(byte);
            }

            (Telnet::Option, _) => self.telnet = Telnet::Text,

            (Telnet::Subnegotiation, IAC) => self.telnet = Telnet::SubnegotiationCommand,
            (Telnet::SubnegotiationCommand, SE) => self.telnet = Telnet::Text,
            (Telnet::Subnegotiation | Telnet::SubnegotiationCommand, _) => {
                self.telnet = Telnet::Subnegotiation;
            }
        }
        false
    }

    /// Handles one byte of text. Returns whether it ends the line. CR NUL is a CR within the line
    /// (RFC 854), and a CR before any other byte stays too.
    fn text_byte(&mut self, byte: u8) -> bool {
        self.interrupted = false;
        if std::mem::take(&mut self.carriage_return) && byte != LF {
            self.keep(CR);
            if byte == NUL {
                return false;
            }
        }
        match byte {
            LF => return true,
            CR => self.carriage_return = true,
            _ => self.keep(byte),
        }
        false
    }

    fn keep(&mut self, byte: u8) {
        if !self.skipping {
            self.line.push(byte);
        }
    }
}

/// Without the line, which may have a password.
impl fmt::Debug for LineCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineCodec")
            .field("raw", &self.raw)
            .field("skipping", &self.skipping)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    /// The lines from bytes that arrive in these pieces.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let mut codec = LineCodec::default();
        let mut buffer = BytesMut::new();
        let mut lines = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(line) = codec.next_line(&mut buffer).transpose() {
                lines.push(line);
            }
            assert!(buffer.is_empty(), "what was looked at is taken");
        }
        lines
    }

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        decode([bytes]).into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn lines_end_in_crlf_or_lf() {
        for (bytes, expected) in [
            (&b"NOOP\r\n"[..], &[&b"NOOP"[..]][..]),
            (b"NOOP\nPWD\r\n", &[b"NOOP", b"PWD"]),
            (b"NOOP", &[]),
            (b"NOOP\r", &[]),
            (b"\r\n\n", &[b"", b""]),
            (b"CWD a\rb\r\n", &[b"CWD a\rb"]),
            (b"CWD a\r\0b\r\n", &[b"CWD a\rb"]),
            (b"CWD a\r\0\n", &[b"CWD a\r"]),
            (b"CWD a\r\r\n", &[b"CWD a\r"]),
            (b"CWD a\r\r\0\r\n", &[b"CWD a\r\r"]),
            (b"CWD a\0b\r\n", &[b"CWD a\0b"]),
        ] {
            assert_eq!(lines(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn telnet_sequences_are_taken_out() {
        for (bytes, expected) in [
            (&b"a\xff\xffb\n"[..], &b"a\xffb"[..]),
            (b"\xff\xfb\x01NOOP\n", b"NOOP"),
            (b"\xff\xfd\x0aNOOP\n", b"NOOP"),
            (b"NO\xff\xfeqOP\r\n", b"NOOP"),
            (b"\xff\xfc\xffNOOP\r\n", b"NOOP"),
            (b"\xff\xf1NOOP\r\xff\xf1\n", b"NOOP"),
            (b"\xff\xfa\x18\x00a\nb\xff\xffc\xff\xf0NOOP\r\n", b"NOOP"),
            (b"CWD \xff\xe9t\xe9\r\n", b"CWD \xff\xe9t\xe9"),
            (b"CWD x\xff\r\n", b"CWD x\xff"),
            (b"CWD x\xff\n", b"CWD x\xff"),
            (b"CWD \xf2\r\n", b"CWD \xf2"),
        ] {
            assert_eq!(lines(bytes), [expected], "{bytes:?}");
        }
    }

    #[test]
    fn an_abort_survives_its_synch_whichever_byte_was_urgent() {
        for synch in [
            &b"\xff\xf4\xff\xf2"[..],
            b"\xff\xf4\xf2",
            b"\xff\xf4\xff",
            b"\xff\xf4",
            b"\xff\xf2",
            b"\xff\xf4\xff\xf4\xff\xf2",
        ] {
            assert_eq!(
                lines(&[synch, b"ABOR\r\n"].concat()),
                [b"ABOR"],
                "{synch:?}"
            );
        }
        // After text these bytes are text.
        assert_eq!(
            lines(b"\xff\xf4\xf2ABOR\r\nCWD \xf2\xffx\r\n"),
            [&b"ABOR"[..], b"CWD \xf2\xffx"]
        );
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let longest = [vec![b'a'; MAX_LINE - 2], b"\r\n".to_vec()].concat();
        assert_eq!(decode([&longest[..]]), [Ok(vec![b'a'; MAX_LINE - 2])]);
        let longer = [vec![b'a'; MAX_LINE - 1], b"\r\nDELE x\nNOOP\r\n".to_vec()].concat();
        // The rest of a line that is too long is never a command.
        assert_eq!(
            decode([&longer[..]]),
            [
                Err(LineTooLong),
                Ok(b"DELE x".to_vec()),
                Ok(b"NOOP".to_vec())
            ]
        );
        let much_longer = [&[b'a'; 3 * MAX_LINE][..], b"DELE x\r\nNOOP\r\n"].concat();
        assert_eq!(
            decode([&much_longer[..]]),
            [Err(LineTooLong), Ok(b"NOOP".to_vec())]
        );
    }

    #[test]
    fn telnet_sequences_count_against_the_limit() {
        assert_eq!(
            decode([&b"\xff\xfd\x01".repeat(MAX_LINE)[..]]),
            [Err(LineTooLong)]
        );
        assert_eq!(
            decode([&[b"\xff\xfa", &[0; MAX_LINE][..]].concat()[..]]),
            [Err(LineTooLong)]
        );
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut codec = LineCodec::default();
        let mut buffer = BytesMut::new();
        let mut errors = 0;
        for _ in 0..1024 {
            buffer.extend_from_slice(&[b'x'; 1024]);
            errors += usize::from(codec.next_line(&mut buffer).is_err());
            assert!(codec.line.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(errors, 1);
        assert!(buffer.capacity() <= 16 * 1024, "{}", buffer.capacity());
    }

    #[test]
    fn debug_shows_nothing_of_the_line() {
        let mut codec = LineCodec::default();
        assert_eq!(
            codec.next_line(&mut BytesMut::from(&b"PASS hunter2"[..])),
            Ok(None)
        );
        assert_eq!(
            format!("{codec:?}"),
            "LineCodec { raw: 12, skipping: false, .. }"
        );
    }

    /// Bytes in which line ends and Telnet sequences are common.
    fn traffic() -> impl Strategy<Value = Vec<u8>> {
        let special =
            proptest::sample::select(vec![CR, LF, NUL, IAC, IAC, WILL, SB, SE, IP, DM, b'A']);
        proptest::collection::vec(prop_oneof![3 => special, 1 => any::<u8>()], 0..200)
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_lines(
            bytes in traffic(),
            long in proptest::option::of(MAX_LINE - 100..MAX_LINE + 100),
            sizes in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let mut bytes = bytes;
            if let Some(long) = long {
                bytes.extend(std::iter::repeat_n(b'a', long));
                bytes.extend_from_slice(b"\r\nNOOP\r\n");
            }
            let whole = decode([&bytes[..]]);
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            prop_assert_eq!(decode(pieces), whole.clone());
            prop_assert_eq!(decode(bytes.chunks(1)), whole);
        }

        #[test]
        fn any_text_comes_through(names in proptest::collection::vec("[^\r\n]{0,40}", 0..10)) {
            let wire: String = names.iter().map(|name| format!("{name}\r\n")).collect();
            let expected: Vec<_> = names.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(lines(wire.as_bytes()), expected);
        }
    }
}
