//! The control connection of one session: bytes → lines, replies → bytes.
//!
//! Reading is cancel safe, since a session waits for a line and for its transfer at the same time.
//! It takes memory only while there is something to read: an idle session holds no buffer. A
//! [`Transport`] carries the bytes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::events::metrics::{CountedReplies, Metrics, NO_VERB};
use crate::net::canonical;
use crate::net::proxy::ConnectionAddrs;
use crate::tls::socket::Handshakes;
use ftp_proto::Reply;
use ftp_proto::codec::{LineCodec, LineTooLong};

use crate::session::transport::{Pending, Transport};

/// After the grace period of a server that stops, a client has this long to take its last reply.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why no line came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The client has ended its side by a FIN, under TLS by close_notify. It may still read
    /// replies.
    #[error("the client has closed its side of the control connection")]
    Ended,
    /// A FIN under TLS without close_notify, which anyone on the network path can send. The client
    /// may still read replies.
    #[error("the control connection ended without close_notify")]
    Torn,
    /// A reset, or an error: no reply reaches the client.
    #[error("control connection lost")]
    Lost,
    /// A line beyond the limit.
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// The peer does not take its replies.
    #[error("replies are not read by the client")]
    WriteDeadline,
}

/// Why a TLS handshake on the control connection is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection ended before its first byte: what probes a port connects and closes.
    #[error("the connection ended before the TLS handshake")]
    Unbegun,
    /// The session has to end.
    #[error("the session ended during the TLS handshake")]
    Cut,
    /// It failed, or took too long.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// The control connection.
#[derive(Debug)]
pub(super) struct Control {
    transport: Transport,
    codec: LineCodec,
    buffer: BytesMut,
    write_deadline: Duration,
    /// Cancelled when the grace period ends, or an operator ends the session.
    cut: CancellationToken,
    /// The peer has not taken its replies. Nothing more is sent to it.
    stuck: bool,
    /// The command that replies answer.
    verb: &'static str,
    counted: CountedReplies,
    /// The client's address.
    pub(super) peer: SocketAddr,
    /// The address that the client connected to: ours, or that of the load balancer in front of the
    /// server.
    pub(super) local: SocketAddr,
    /// Our own address.
    own: IpAddr,
    /// The socket ends at the client, not at a load balancer that has reported the client's
    /// address.
    direct: bool,
}

impl Control {
    /// Takes over an accepted connection: urgent data inline (ABOR comes after a Telnet Synch),
    /// keepalive on.
    pub(super) fn new(
        stream: TcpStream,
        addrs: ConnectionAddrs,
        write_deadline: Duration,
        cut: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let own = stream.local_addr()?.ip().to_canonical();
        let direct = stream.peer_addr().is_ok_and(|peer| peer == addrs.peer);
        let socket = SockRef::from(&stream);
        socket.set_out_of_band_inline(true)?;
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(Duration::from_secs(60))
                .with_interval(Duration::from_secs(15))
                .with_retries(4),
        )?;
        stream.set_nodelay(true)?;
        Ok(Control {
            transport: Transport::Plain(stream),
            codec: LineCodec::default(),
            buffer: BytesMut::new(),
            write_deadline,
            cut,
            stuck: false,
            verb: NO_VERB,
            counted: CountedReplies::new(metrics),
            peer: canonical(addrs.peer),
            local: canonical(addrs.local),
            own,
            direct,
        })
    }

    /// The local address for a data connection to `target`. Behind a load balancer the server's own
    /// address may be of another protocol than the client's; then the system chooses.
    pub(super) fn source_for(&self, target: IpAddr) -> IpAddr {
        match target {
            _ if self.own.is_ipv4() == target.is_ipv4() => self.own,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Over a pipe, which has no addresses of its own.
    #[cfg(feature = "fuzzing")]
    pub(super) fn in_memory(
        pipe: tokio::io::DuplexStream,
        addrs: ConnectionAddrs,
        write_deadline: Duration,
        cut: CancellationToken,
        metrics: Arc<Metrics>,
    ) -> Self {
        Control {
            transport: Transport::Memory(pipe),
            codec: LineCodec::default(),
            buffer: BytesMut::new(),
            write_deadline,
            cut,
            stuck: false,
            verb: NO_VERB,
            counted: CountedReplies::new(metrics),
            peer: addrs.peer,
            local: addrs.local,
            own: addrs.local.ip(),
            direct: true,
        }
    }

    /// The next command line. Cancel safe; the caller owns the deadline.
    pub(super) async fn next_line(&mut self) -> Result<Vec<u8>, ControlError> {
        loop {
            if let Some(line) = self.codec.next_line(&mut self.buffer)? {
                return Ok(line);
            }
            if self.buffer.is_empty() {
                // Give the memory back before waiting: most sessions are idle most of the time.
                self.buffer = BytesMut::new();
            }
            match self.transport.read_into(&mut self.buffer).await {
                Ok(1..) => {}
                // The kernel reports a reset once; after that the connection reads as if it had
                // ended.
                _ if self.transport.is_reset() => return Err(ControlError::Lost),
                Ok(0) => return Err(ControlError::Ended),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ControlError::Torn);
                }
                Err(_) => return Err(ControlError::Lost),
            }
        }
    }

    /// From now on replies answer this command.
    pub(super) fn answers(&mut self, verb: &'static str) {
        self.verb = verb;
    }

    /// Cancelled when the session has to end: the grace period is over, or an operator ends it.
    pub(super) fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    /// Sends a reply to the command that runs.
    pub(super) async fn reply(&mut self, reply: &Reply) -> Result<(), ControlError> {
        self.reply_to(self.verb, reply).await
    }

    /// Sends a reply to another command than the one that runs.
    pub(super) async fn reply_to(
        &mut self,
        verb: &'static str,
        reply: &Reply,
    ) -> Result<(), ControlError> {
        // Not a preliminary reply.
        if reply.code >= 200 {
            self.counted.count(verb, reply.code);
        }
        self.send(&reply.to_bytes()).await
    }

    /// Sends bytes of a reply that is too long to be held at once.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        if self.stuck {
            return Err(ControlError::WriteDeadline);
        }
        let writing = self.transport.write_all(bytes);
        match in_time(self.write_deadline, &self.cut, writing).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(ControlError::Lost),
            None => {
                self.stuck = true;
                Err(ControlError::WriteDeadline)
            }
        }
    }

    /// Begins TLS. All bytes that were read before are discarded, also whole lines after AUTH.
    ///
    /// # Errors
    /// The handshake did not begin, failed, or took longer than `deadline`. The connection can no
    /// longer be used.
    pub(super) async fn secure(
        &mut self,
        handshakes: &Handshakes,
        deadline: Duration,
    ) -> Result<(), HandshakeError> {
        self.buffer = BytesMut::new();
        self.codec = LineCodec::default();
        let Transport::Plain(tcp) = std::mem::replace(&mut self.transport, Transport::Closed)
        else {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        };
        let handshake = async {
            match tcp.peek(&mut [0]).await {
                Ok(1..) => Ok(handshakes.accept(tcp).await?),
                Ok(0) | Err(_) => Err(HandshakeError::Unbegun),
            }
        };
        let mut tls = tokio::select! {
            tls = tokio::time::timeout(deadline, handshake) => tls.map_err(io::Error::from)??,
            () = self.cut.cancelled() => return Err(HandshakeError::Cut),
        };
        tls.get_mut().0.established();
        self.transport = Transport::Tls(Box::new(tls));
        Ok(())
    }

    /// Whether the connection is under TLS.
    pub(super) fn is_secure(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// The version of TLS; `None` in the clear.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        let Transport::Tls(tls) = &self.transport else {
            return None;
        };
        Some(match tls.get_ref().1.protocol_version()? {
            ProtocolVersion::TLSv1_2 => "TLS 1.2",
            ProtocolVersion::TLSv1_3 => "TLS 1.3",
            _ => "TLS",
        })
    }

    /// The host name that the client requested in its handshake (SNI).
    pub(super) fn server_name(&self) -> Option<&str> {
        match &self.transport {
            Transport::Tls(tls) => tls.get_ref().1.server_name(),
            _ => None,
        }
    }

    /// The certificate that the client presented and the handshake verified.
    pub(super) fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match &self.transport {
            Transport::Tls(tls) => tls.get_ref().1.peer_certificates()?.first(),
            _ => None,
        }
    }

    /// Closes our side so that unread input does not destroy the last reply. A peer that does not
    /// take its replies is not waited for.
    pub(super) async fn close(&mut self) {
        if self.stuck {
            return;
        }
        let closing = self.transport.shutdown();
        if in_time(self.write_deadline, &self.cut, closing)
            .await
            .is_some()
        {
            // The kernel would answer unread input with a reset, which can overtake the reply.
            let discarded = self.transport.discard(64);
            let _ = tokio::time::timeout(Duration::from_secs(1), discarded).await;
        }
    }

    /// Sends the reason and ends the connection, without waiting for the peer: what cannot be sent
    /// at once is dropped.
    pub(super) async fn end(&mut self, why: &Reply) {
        let ending = async {
            if self.reply(why).await.is_ok() {
                // The connection ends either way.
                let _ = self.transport.shutdown().await;
            }
        };
        let _ = tokio::time::timeout(Duration::ZERO, ending).await;
    }

    /// The round-trip time to the client, as TCP measures it; `None` if it is not known. With a
    /// load balancer that reports its clients' addresses it is not: TCP measures the way to the
    /// load balancer only.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.transport.round_trip().filter(|_| self.direct)
    }

    /// Whether input is unread.
    pub(super) fn pending(&mut self) -> Pending {
        if self.buffer.contains(&b'\n') {
            return Pending::Data;
        }
        self.transport.pending()
    }

    /// Whether the peer's side is still open, even if input is unread.
    pub(super) fn established(&mut self) -> bool {
        self.transport.established()
    }

    /// Whether a reset has come.
    pub(super) fn is_reset(&self) -> bool {
        self.transport.is_reset()
    }
}

/// Waits for the peer until the deadline, and no longer than [`LAST_WORDS`] after the end of the
/// grace period.
async fn in_time<T>(
    deadline: Duration,
    cut: &CancellationToken,
    done: impl Future<Output = T>,
) -> Option<T> {
    let mut done = pin!(done);
    // It is nearly always done at once, and needs no timers then.
    if let Poll::Ready(done) = futures::poll!(done.as_mut()) {
        return Some(done);
    }
    let hurried = async {
        cut.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        biased;
        done = done => Some(done),
        () = hurried => None,
        () = tokio::time::sleep(deadline) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_ipv4_where_they_can_be_and_keep_their_scope() {
        for (address, expected) in [
            ("[::ffff:192.0.2.1]:5000", "192.0.2.1:5000"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
            ("[fe80::1%3]:5000", "[fe80::1%3]:5000"),
        ] {
            let address = canonical(address.parse().unwrap());
            assert_eq!(address, expected.parse::<SocketAddr>().unwrap());
        }
    }
}
