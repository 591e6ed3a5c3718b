//! The socket under a TLS connection: between TCP and rustls.
//!
//! It does four things that rustls does not do:
//!
//! - **It knows whether a connection ended between two records or within one**
//!   ([`TlsSocket::between_records`]). rustls reports an end without close_notify, but not that
//!   half a record came before it. The FIN of a device that never sends close_notify counts as its
//!   end; after a FIN within a record, data is missing.
//! - **It limits the length of a handshake.** rustls keeps up to 64 KiB of a handshake message that
//!   does not end, for every client that connects. No client needs as much, so the bytes before the
//!   handshake's end are counted ([`Handshakes`]). After its end rustls reads on to the first
//!   record of application data before it reports that the handshake is done. So such a record that
//!   has begun in time may be finished; from outside it can't be distinguished from the last one of
//!   the handshake.
//! - **It acknowledges early.** Clients send the end of a TLS 1.3 handshake in two pieces. With
//!   Nagle's algorithm on (lftp), the second waits for the acknowledgement of the first, which our
//!   kernel delays by 40 ms because there is nothing to send. So each read of a handshake is
//!   acknowledged at once.
//! - **It reads much at once** during an upload ([`TlsSocket::read_ahead`]): rustls asks for 4 KiB
//!   at a time, which would be a system call each.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{Accept, TlsAcceptor};
use tokio_util::io::poll_read_buf;

/// The limit of the bytes that are read ahead: four of the largest records.
const AHEAD: usize = 64 * 1024;

/// Content type, version and length: the head of a record (RFC 8446, 5.1).
const HEAD: usize = 5;
/// The content type of application data.
const APPLICATION_DATA: u8 = 23;

/// The settings of the handshakes of a kind of connection.
#[derive(Debug, Clone)]
pub struct Handshakes {
    /// Certificates, protocols, sessions.
    pub(super) config: Arc<ServerConfig>,
    /// The most bytes that a client may send before its handshake is done.
    pub(super) longest: usize,
}

impl Handshakes {
    /// A handshake on a connection. [`TlsSocket::established`] must be called when it is done.
    pub fn accept(&self, tcp: TcpStream) -> Accept<TlsSocket> {
        TlsAcceptor::from(Arc::clone(&self.config)).accept(TlsSocket {
            tcp,
            handshake: Some(self.longest),
            records: Records::default(),
            ahead: None,
        })
    }
}

/// TCP, for rustls.
#[derive(Debug)]
pub struct TlsSocket {
    tcp: TcpStream,
    /// Bytes that may still arrive before the handshake's end; `None` after it.
    handshake: Option<usize>,
    records: Records,
    /// Bytes that were read ahead; allocated only while there are some.
    ahead: Option<BytesMut>,
}

impl TlsSocket {
    /// The TCP stream. Bytes that were read ahead are no longer in it.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The TCP stream, without TLS. Bytes that were read ahead are lost.
    pub fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    /// The handshake is done: from now on the number of bytes is not limited.
    pub fn established(&mut self) {
        self.handshake = None;
    }

    /// From now on much is read at once. Only for a connection that is read through this socket
    /// alone.
    pub fn read_ahead(&mut self) {
        self.ahead.get_or_insert_default();
    }

    /// Whether the bytes read end with a record's end.
    pub fn between_records(&self) -> bool {
        self.records == Records::default()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match (&mut this.handshake, &mut this.ahead) {
            (Some(left), _) => {
                let most = buf
                    .remaining()
                    .min((*left).max(this.records.application_data()));
                if most == 0 {
                    let problem = "the handshake is too long";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
                }
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
                ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                acknowledge(&this.tcp);
                *left = left.saturating_sub(read);
                buf.advance(read);
            }
            (None, None) => ready!(Pin::new(&mut this.tcp).poll_read(cx, buf))?,
            (None, Some(ahead)) => {
                if ahead.is_empty() {
                    ahead.reserve(AHEAD);
                    let read = poll_read_buf(Pin::new(&mut this.tcp), cx, ahead);
                    if ahead.is_empty() {
                        // Waiting for a client costs no memory.
                        *ahead = BytesMut::new();
                    }
                    ready!(read)?;
                }
                let read = ahead.len().min(buf.remaining());
                buf.put_slice(&ahead[..read]);
                ahead.advance(read);
            }
        }
        this.records.follow(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

/// Acknowledges the bytes read, and the next ones until something is sent. A failure only makes the
/// handshake slower.
fn acknowledge(tcp: &TcpStream) {
    #[cfg(target_os = "linux")]
    let _ = tcp.set_quickack(true);
    #[cfg(not(target_os = "linux"))]
    let _ = tcp;
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// The position of the bytes read in the sequence of records. The default: after a record, or
/// before the first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Records {
    /// The type of the record, as soon as one has begun.
    kind: u8,
    /// Bytes of its head that have been read.
    head: usize,
    /// While the head is incomplete: its length as far as it is known. Then: bytes of the body that
    /// are to come.
    body: usize,
}

impl Records {
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(&byte) = bytes.first() {
            let here = match self.head {
                HEAD => {
                    let here = self.body.min(bytes.len());
                    self.body -= here;
                    here
                }
                before => {
                    match before {
                        0 => self.kind = byte,
                        1 | 2 => {}
                        _ => self.body = self.body << 8 | usize::from(byte),
                    }
                    self.head += 1;
                    1
                }
            };
            if self.head == HEAD && self.body == 0 {
                *self = Records::default();
            }
            bytes = &bytes[here..];
        }
    }

    /// Bytes to come of a record of application data; everything encrypted has that type in TLS
    /// 1.3.
    fn application_data(&self) -> usize {
        if self.head == HEAD && self.kind == APPLICATION_DATA {
            self.body
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(handshake: Option<usize>) -> (TlsSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let socket = TlsSocket {
            tcp: listener.accept().await.unwrap().0,
            handshake,
            records: Records::default(),
            ahead: None,
        };
        (socket, client.unwrap())
    }

    fn record(length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![23, 3, 3, high, low];
        bytes.resize(HEAD + usize::from(length), 23);
        bytes
    }

    proptest! {
        #[test]
        fn records_are_followed_however_they_arrive(
            lengths in proptest::collection::vec(prop_oneof![0_u16..40, Just(16_384), Just(u16::MAX)], 0..6),
            cut in 0_usize..400_000,
            pieces in proptest::collection::vec(1_usize..9000, 1..20),
        ) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| record(*length)).collect();
            let cut = cut % (bytes.len() + 1);
            let mut end = 0;
            let mut ends = vec![0];
            for length in &lengths {
                end += HEAD + usize::from(*length);
                ends.push(end);
            }
            let mut records = Records::default();
            let mut rest = &bytes[..cut];
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(rest.len().min(*piece));
                records.follow(now);
                rest = later;
            }
            prop_assert_eq!(records == Records::default(), ends.contains(&cut));
            records.follow(&bytes[cut..]);
            prop_assert_eq!(records, Records::default());
        }
    }

    #[tokio::test]
    async fn an_end_between_records_differs_from_one_within() {
        for (cut, between) in [(0, true), (3, false), (5, false), (60, false), (69, true)] {
            for ahead in [false, true] {
                let (mut socket, mut client) = pair(None).await;
                if ahead {
                    socket.read_ahead();
                }
                client.write_all(&record(64)[..cut]).await.unwrap();
                client.shutdown().await.unwrap();
                let mut got = Vec::new();
                socket.read_to_end(&mut got).await.unwrap();
                assert_eq!((got.len(), socket.between_records()), (cut, between));
            }
        }
    }

    #[tokio::test]
    async fn a_handshake_has_an_end() {
        let (mut socket, mut client) = pair(Some(1000)).await;
        client.write_all(&[0; 1500]).await.unwrap();
        let mut got = vec![0; 4096];
        let mut read = 0;
        let error = loop {
            match socket.read(&mut got).await {
                Ok(more) => read += more,
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.kind()), (1000, io::ErrorKind::InvalidData));
        // After its end anything may come.
        socket.established();
        socket.read_exact(&mut got[..500]).await.unwrap();
    }

    /// rustls reads it before it reports that the handshake is done.
    #[tokio::test]
    async fn a_record_of_application_data_that_begins_in_time_may_be_finished() {
        for (begins, kind, comes) in [
            (995, APPLICATION_DATA, 2005),
            (994, APPLICATION_DATA, 2004),
            (996, APPLICATION_DATA, 1000),
            (995, 22, 1000),
        ] {
            let (mut socket, mut client) = pair(Some(1000)).await;
            // Within one record of the handshake, and what comes after it.
            let mut bytes = record(begins - 5);
            bytes[0] = 22;
            let mut next = record(1005);
            next[0] = kind;
            client
                .write_all(&[bytes, next, record(50)].concat())
                .await
                .unwrap();
            let mut got = Vec::new();
            let error = socket.read_to_end(&mut got).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(got.len(), comes, "{begins} {kind}");
        }
    }

    #[tokio::test]
    async fn much_is_read_at_once_and_waiting_costs_no_memory() {
        let (mut socket, mut client) = pair(None).await;
        socket.read_ahead();
        let bytes: Vec<u8> = (0..3 * AHEAD).map(|n| n as u8).collect();
        client.write_all(&bytes[..10_000]).await.unwrap();
        let mut got = vec![0; 4096];
        socket.tcp().readable().await.unwrap();
        socket.read_exact(&mut got[..1]).await.unwrap();
        assert!(!socket.ahead.as_ref().unwrap().is_empty());
        let writing = tokio::spawn(async move {
            client.write_all(&bytes[10_000..]).await.unwrap();
            (client, bytes)
        });
        got.truncate(1);
        let mut rest = vec![0; 3 * AHEAD - 1];
        socket.read_exact(&mut rest).await.unwrap();
        got.extend(rest);
        let (client, bytes) = writing.await.unwrap();
        assert!(got == bytes);
        // Pending: no memory is held.
        let waiting = socket.read_u8();
        assert!(futures::FutureExt::now_or_never(waiting).is_none());
        assert_eq!(socket.ahead.as_ref().unwrap().capacity(), 0);
        drop(client);
        assert_eq!(socket.read(&mut got).await.unwrap(), 0);
    }
}
