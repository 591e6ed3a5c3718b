//! The transport of a control connection, TCP or TLS over TCP, and what TCP knows about the peer.
//!
//! Only [`Control`](super::control::Control) uses it. It needs bytes in, bytes out, and an answer
//! to "is input unread, or has the peer gone?" that the kernel gives at once
//! ([`Transport::pending`]). Another kind of transport is another variant here and nothing else.
//!
//! Under TLS that answer needs decryption: a record that has arrived may be a command, a key
//! update, or close_notify, which ends the peer's side as a FIN does.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::data::tcp::TcpState;
use crate::tls::socket::TlsSocket;

/// How much is read at once: more than the longest line, so that a pipelining client costs few
/// system calls.
const READ_SIZE: usize = 8 * 1024;

/// The number of reads that look for a command in TLS records. A peer that sends more records of
/// other kinds at once counts as one that has sent input.
const MOST_READS: usize = 64;

/// The unread input of a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// Nothing; the connection is open.
    Nothing,
    /// Bytes.
    Data,
    /// The end, or an error.
    Closed,
}

/// The connection under a control connection.
#[derive(Debug)]
pub(super) enum Transport {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP; boxed, so that sessions without TLS stay small.
    Tls(Box<TlsStream<TlsSocket>>),
    /// No connection: a handshake has failed.
    Closed,
    /// A pipe, for tests and fuzz targets.
    #[cfg(feature = "fuzzing")]
    Memory(tokio::io::DuplexStream),
}

impl Transport {
    /// Waits for input and appends it to `buffer`, which takes memory only then. Returns 0 at the
    /// peer's end. Cancel safe.
    pub(super) async fn read_into(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Transport::Plain(tcp) => loop {
                tcp.readable().await?;
                buffer.reserve(READ_SIZE);
                match tcp.try_read_buf(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
            },
            Transport::Tls(tls) => {
                let arrived = tls.fill_buf().await?;
                let read = arrived.len().min(READ_SIZE);
                buffer.extend_from_slice(&arrived[..read]);
                tls.consume(read);
                Ok(read)
            }
            Transport::Closed => Ok(0),
            #[cfg(feature = "fuzzing")]
            Transport::Memory(pipe) => tokio::io::AsyncReadExt::read_buf(pipe, buffer).await,
        }
    }

    /// Sends all of these bytes. The caller sets the deadline.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Plain(tcp) => tcp.write_all(bytes).await,
            Transport::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
            Transport::Closed => Err(io::ErrorKind::NotConnected.into()),
            #[cfg(feature = "fuzzing")]
            Transport::Memory(pipe) => pipe.write_all(bytes).await,
        }
    }

    /// Ends our side by a FIN, under TLS after close_notify.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Transport::Plain(tcp) => tcp.shutdown().await,
            Transport::Tls(tls) => tls.shutdown().await,
            Transport::Closed => Ok(()),
            #[cfg(feature = "fuzzing")]
            Transport::Memory(pipe) => pipe.shutdown().await,
        }
    }

    /// Discards input until the peer's end, at most `reads` times. The caller sets the deadline.
    pub(super) async fn discard(&mut self, reads: usize) -> io::Result<()> {
        let Some(tcp) = self.tcp() else {
            return Ok(());
        };
        let mut sink = [0u8; 1024];
        for _ in 0..reads {
            tcp.readable().await?;
            match tcp.try_read(&mut sink) {
                Ok(0) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
        Ok(())
    }

    /// The connection's round-trip time, as TCP measures it; `None` if it is not known.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        Some(TcpState::of(self.tcp()?).ok()?.round_trip())
    }

    /// Whether input is unread. Asks the kernel, since the runtime may not have seen it yet.
    pub(super) fn pending(&mut self) -> Pending {
        match self {
            Transport::Plain(tcp) => {
                let mut byte = [MaybeUninit::uninit()];
                match SockRef::from(&*tcp).peek(&mut byte) {
                    Ok(0) => Pending::Closed,
                    Ok(_) => Pending::Data,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => state(tcp),
                    Err(_) => Pending::Closed,
                }
            }
            Transport::Tls(tls) => tls_pending(tls),
            Transport::Closed => Pending::Closed,
            // The end of a pipe is seen when it is read.
            #[cfg(feature = "fuzzing")]
            Transport::Memory(_) => Pending::Nothing,
        }
    }

    /// Whether the peer's side is still open, even if input is unread.
    pub(super) fn established(&mut self) -> bool {
        match self {
            Transport::Plain(tcp) => state(tcp) == Pending::Nothing,
            Transport::Tls(tls) => {
                let (socket, connection) = tls.get_mut();
                let open = connection
                    .process_new_packets()
                    .is_ok_and(|state| !state.peer_has_closed());
                open && state(socket.tcp()) == Pending::Nothing
            }
            Transport::Closed => false,
            #[cfg(feature = "fuzzing")]
            Transport::Memory(_) => true,
        }
    }

    /// Whether a reset has come: then no reply reaches the client. A peer that has only closed its
    /// own side may still read.
    pub(super) fn is_reset(&self) -> bool {
        match self.tcp() {
            Some(tcp) => TcpState::of(tcp).map_or(true, |state| state.is_over()),
            None => matches!(self, Transport::Closed),
        }
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Transport::Plain(tcp) => Some(tcp),
            Transport::Tls(tls) => Some(tls.get_ref().0.tcp()),
            Transport::Closed => None,
            #[cfg(feature = "fuzzing")]
            Transport::Memory(_) => None,
        }
    }
}

/// [`Transport::pending`] under TLS: reads and decrypts what has arrived until the answer is known.
/// Nothing is lost: [`Transport::read_into`] reads what was decrypted.
fn tls_pending(tls: &mut TlsStream<TlsSocket>) -> Pending {
    let (socket, connection) = tls.get_mut();
    let tcp = socket.tcp();
    for _ in 0..MOST_READS {
        match connection.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() > 0 => return Pending::Data,
            Ok(state) if state.peer_has_closed() => return Pending::Closed,
            Ok(_) => {}
            Err(_) => return Pending::Closed,
        }
        match connection.read_tls(&mut Kernel(tcp)) {
            Ok(0) => return Pending::Closed,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return state(tcp),
            Err(_) => return Pending::Closed,
        }
    }
    Pending::Data
}

/// Reads without the runtime, which may not have seen the input yet.
struct Kernel<'a>(&'a TcpStream);

impl Read for Kernel<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*SockRef::from(self.0)).read(buffer)
    }
}

/// The state of a connection without unread input.
fn state(tcp: &TcpStream) -> Pending {
    match TcpState::of(tcp) {
        Ok(state) if state.is_established() => Pending::Nothing,
        Ok(_) | Err(_) => Pending::Closed,
    }
}
