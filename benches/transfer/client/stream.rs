//! A connection of the client, in plaintext or under TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use crate::tls::Tls;

/// A connection; under TLS its handshake is done.
#[derive(Debug)]
pub enum Stream {
    /// Plaintext.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<Tls>),
}

impl Stream {
    /// Ends this side: under TLS with close_notify. Dropping the connection sends the FIN.
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(tls) => tls.end(),
        }
    }
}

/// 0: the other side's FIN, or under TLS its close_notify; there a FIN alone is an error.
impl Read for Stream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.read(out),
            Stream::Tls(tls) => tls.read(out),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(tcp) => tcp.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(tcp) => tcp.flush(),
            Stream::Tls(tls) => tls.flush(),
        }
    }
}
