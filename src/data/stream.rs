//! The bytes of a data connection: a session reads an upload from it and writes a download to it.
//!
//! How it ends matters as much as its bytes, since a client takes the end of the data connection
//! for the end of the file:
//!
//! - **A whole download** is [finished](DataStream::finish): our FIN follows the last byte. The 226
//!   follows at once: some clients close their side when they see our end, others only after the
//!   226, so waiting for the client's end first would delay each file of the latter. But closing
//!   the socket immediately isn't safe: what the client still sends (TLS clients answer our
//!   close_notify) would be answered by a reset, which may overtake data in flight; and the tail of
//!   the file, up to some MiB in the kernel's send buffer, would be lost if the process' network
//!   ended with it (a pod that stops). So the session passes the stream to [`Lingering`], which
//!   closes it when the client has, and which the server waits for at its end.
//! - **A failed download** is [reset](DataStream::reset): the client's read fails, so that it can't
//!   take what it has for the file.
//! - **An upload** ends cleanly if [`read_into`](DataStream::read_into) returns 0: a FIN, under TLS
//!   a close_notify. Every other end is an error, including a FIN without close_notify, which
//!   anything on the path can send. `lenient_close` of a user accepts such a FIN from devices that
//!   never send close_notify, but not within a TLS record, since data is missing then. The server
//!   answers close_notify at once ([`answer_end`](DataStream::answer_end)): some clients
//!   (Python's ftplib) wait for that before they read the reply.
//!
//! Sockets keep the kernel's own buffer sizes, which grow with the connection's bandwidth and
//! delay; setting them would switch that off.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::data::linger::{self, Lingering};
use crate::data::tcp::TcpState;
use crate::tls::socket::TlsSocket;

/// For the answer to a client's close_notify: a few bytes, which always fit into the send buffer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// An open data connection whose handshake is done.
#[derive(Debug)]
pub struct DataStream(Wire);

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls {
        tls: Box<TlsStream<TlsSocket>>,
        /// Whether a FIN without close_notify is the client's end if it lies between two records.
        lenient: bool,
    },
}

impl From<TcpStream> for DataStream {
    fn from(tcp: TcpStream) -> Self {
        DataStream(Wire::Plain(tcp))
    }
}

impl DataStream {
    /// A data connection without TLS.
    pub fn new(tcp: TcpStream) -> Self {
        Self::from(tcp)
    }

    /// A data connection under TLS whose handshake has just ended. `lenient`: a FIN between two
    /// records, without close_notify, is a clean end, too.
    pub fn secure(mut tls: TlsStream<TlsSocket>, lenient: bool) -> Self {
        tls.get_mut().0.established();
        // A transfer ends with several small segments, none of which should wait for the
        // acknowledgement of the one before. If the option cannot be set, the transfer is only
        // slower.
        let _ = tls.get_ref().0.tcp().set_nodelay(true);
        let tls = Box::new(tls);
        DataStream(Wire::Tls { tls, lenient })
    }

    /// The client's end.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Whether the client's FIN has arrived, even if bytes before it are unread. Asks the kernel.
    pub fn end_has_arrived(&self) -> bool {
        TcpState::of(self.tcp()).is_ok_and(|state| state.peer_has_ended())
    }

    fn tcp(&self) -> &TcpStream {
        match &self.0 {
            Wire::Plain(tcp) => tcp,
            Wire::Tls { tls, .. } => tls.get_ref().0.tcp(),
        }
    }

    /// Waits for the first byte, and appends what has arrived to `buf`, up to its spare capacity,
    /// which never grows. 0 is the client's clean end. Cancel safe: no byte is lost.
    ///
    /// The caller sets the deadline: only the caller knows whether the client stalls.
    ///
    /// # Errors
    ///
    /// Any end other than a FIN, such as a reset; under TLS, `UnexpectedEof` for a FIN without a
    /// close_notify before it, or one within a record. `InvalidInput` if `buf` has no spare
    /// capacity: a 0 there would look like the end of the file.
    pub async fn read_into(&mut self, buf: &mut BytesMut) -> io::Result<usize> {
        self.read_up_to(buf, usize::MAX).await
    }

    /// [`read_into`](Self::read_into) of at most `most` bytes, which must not be 0.
    ///
    /// # Errors
    ///
    /// As those of `read_into`.
    pub async fn read_up_to(&mut self, buf: &mut BytesMut, most: usize) -> io::Result<usize> {
        let room = most.min(buf.capacity() - buf.len());
        if room == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no room to read into",
            ));
        }
        match &mut self.0 {
            Wire::Plain(tcp) => tcp.read_buf(&mut buf.limit(room)).await,
            Wire::Tls { tls, lenient } => {
                tls.get_mut().0.read_ahead();
                match tls.read_buf(&mut buf.limit(room)).await {
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        let problem = match (tls.get_ref().0.between_records(), *lenient) {
                            (true, true) => return Ok(0),
                            (true, false) => "it ended without TLS close_notify",
                            (false, _) => "it ended within a record of TLS",
                        };
                        Err(io::Error::new(error.kind(), problem))
                    }
                    read => read,
                }
            }
        }
    }

    /// After the client's clean end: answers it, under TLS.
    pub async fn answer_end(&mut self) {
        if let Wire::Tls { tls, .. } = &mut self.0 {
            // A client that has already closed its socket misses nothing.
            let _ = timeout(ANSWER_DEADLINE, tls.shutdown()).await;
        }
    }

    /// Writes some of `bytes`, as many as the socket takes at once: at least one, unless `bytes` is
    /// empty. Cancel safe. Under TLS a few bytes may wait in memory for the next call or for
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub async fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.0 {
            Wire::Plain(tcp) => tcp.write(bytes).await,
            Wire::Tls { tls, .. } => tls.write(bytes).await,
        };
        match written {
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WriteZero.into()),
            written => written,
        }
    }

    /// Writes all of `bytes`, without a deadline. Not cancel safe: after a cancel the number of
    /// written bytes is unknown, and only [`reset`](Self::reset) is possible.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Wire::Plain(tcp) => tcp.write_all(bytes).await,
            Wire::Tls { tls, .. } => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    /// As [`write_all`](Self::write_all), for owned bytes.
    ///
    /// # Errors
    ///
    /// The connection is gone.
    pub async fn write_all_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.write_all(&bytes).await
    }

    /// Writes all of `bytes`; fails if not one byte moves for `stall`. A client that makes progress
    /// is not cut, however slow it is.
    ///
    /// # Errors
    ///
    /// `TimedOut` if the client stalls; else the connection is gone.
    pub async fn write_moving(&mut self, bytes: &[u8], stall: Duration) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = timeout(stall, self.write_some(rest)).await??;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Ends our side: flushes, sends close_notify (under TLS) and the FIN, and discards what the
    /// client has sent on a connection meant for reading. It does not wait for the client's end;
    /// pass the stream to [`linger`](Self::linger) after it.
    ///
    /// # Errors
    ///
    /// The client has reset the connection, or `TimedOut` if flushing takes until `deadline`: the
    /// download is not whole.
    pub async fn finish(&mut self, deadline: Duration) -> io::Result<()> {
        match &mut self.0 {
            Wire::Plain(tcp) => timeout(deadline, tcp.shutdown()).await??,
            Wire::Tls { tls, .. } => timeout(deadline, tls.shutdown()).await??,
        }
        linger::discard_arrived(self.tcp())
    }

    /// After [`finish`](Self::finish): a task of `lingering` closes the socket when the client has
    /// closed its side, or has everything and does not close for [`linger::LIMIT`].
    pub fn linger(self, lingering: &Lingering) {
        // The task does not decrypt: it discards the client's close_notify with the rest, and only
        // the FIN counts.
        lingering.take(match self.0 {
            Wire::Plain(tcp) => tcp,
            Wire::Tls { tls, .. } => tls.into_inner().0.into_tcp(),
        });
    }

    /// Closes with a reset (RST), and drops unsent bytes: for a transfer that failed or was
    /// aborted.
    pub fn reset(self) {
        if let Err(error) = self.tcp().set_zero_linger() {
            // Else it is an ordinary close. It fails if the connection is gone.
            tracing::debug!(%error, "can't reset a data connection");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn pair() -> (DataStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (server, _) = listener.accept().await.unwrap();
        (server.into(), client.unwrap())
    }

    #[tokio::test]
    async fn reading_never_grows_the_buffer() {
        let (mut stream, mut client) = pair().await;
        client.write_all(&[7; 5000]).await.unwrap();
        client.shutdown().await.unwrap();
        let mut buf = BytesMut::with_capacity(1000);
        let capacity = buf.capacity();
        let at = buf.as_ptr();
        while buf.len() < capacity {
            assert_ne!(stream.read_into(&mut buf).await.unwrap(), 0);
        }
        let full = stream.read_into(&mut buf).await.unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::InvalidInput);
        assert_eq!((buf.capacity(), buf.as_ptr()), (capacity, at));
        let mut total = buf.len();
        loop {
            buf.clear();
            match stream.read_into(&mut buf).await.unwrap() {
                0 => break,
                read => total += read,
            }
        }
        assert_eq!(total, 5000);
    }

    #[tokio::test]
    async fn a_reset_is_not_the_end_of_an_upload() {
        let (mut stream, client) = pair().await;
        client.set_zero_linger().unwrap();
        drop(client);
        let mut buf = BytesMut::with_capacity(100);
        let error = stream.read_into(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_finished_download_is_whole_though_the_client_keeps_its_side_open() {
        let (mut stream, mut client) = pair().await;
        let lingering = Lingering::new();
        client.write_all(b"not asked for").await.unwrap();
        let sent = Bytes::from(vec![9; 3 << 20]);
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            (got, client)
        });
        stream.write_all_bytes(sent.clone()).await.unwrap();
        stream.finish(DEADLINE).await.unwrap();
        stream.linger(&lingering);
        let (got, mut client) = timeout(DEADLINE, reading).await.unwrap().unwrap();
        assert_eq!(got, sent);
        // Whatever the client sends now, it is not a reason for a reset.
        for _ in 0..10 {
            client.write_all(b"late").await.unwrap();
        }
        assert_eq!(lingering.len(), 1);
        drop(client);
        assert!(lingering.drained(DEADLINE).await);
    }

    #[tokio::test]
    async fn finishing_fails_if_the_client_is_gone() {
        let (mut stream, client) = pair().await;
        stream.write_all(b"some").await.unwrap();
        client.set_zero_linger().unwrap();
        drop(client);
        stream.tcp().readable().await.unwrap();
        stream.finish(DEADLINE).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reset_download_fails_at_the_client() {
        let (mut stream, mut client) = pair().await;
        stream.write_all(b"half of it").await.unwrap();
        stream.reset();
        let mut got = Vec::new();
        let end = timeout(DEADLINE, client.read_to_end(&mut got))
            .await
            .unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_a_stall() {
        let (mut stream, _client) = pair().await;
        let more_than_buffers = vec![0; 64 << 20];
        let stall = Duration::from_millis(100);
        let error = stream
            .write_moving(&more_than_buffers, stall)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_slow_client_is_no_stall() {
        let (mut stream, client) = pair().await;
        let (mut reader, _writer) = client.into_split();
        let length = 16 << 20;
        let reading = tokio::spawn(async move {
            // Takes a piece whenever half of the time that counts as a stall is over.
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            let mut piece = vec![0; 2 << 20];
            let mut got = 0;
            while got < length {
                pace.tick().await;
                got += reader.read(&mut piece).await.unwrap();
            }
        });
        let stall = Duration::from_secs(5);
        stream.write_moving(&vec![0; length], stall).await.unwrap();
        timeout(DEADLINE, reading).await.unwrap().unwrap();
    }
}
