//! The control connection of one session: bytes → lines, replies → bytes, and what TCP knows of the peer.
//!
//! Reading is cancel safe (a session waits for a line and for its transfer at the same time) and takes memory only
//! while there is something to read: an idle session holds no buffer.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::protocol::Reply;
use crate::protocol::codec::{LineCodec, LineTooLong};
use crate::proxy::Ends;

/// How much is read at once: more than the longest line, so that a pipelining client costs few system calls.
const READ_SIZE: usize = 8 * 1024;

/// `tcpi_state` of a connection both sides of which are open (linux/tcp_states.h).
const TCP_ESTABLISHED: u8 = 1;

/// The kernel's view of a TCP connection (tcp(7), TCP_INFO).
#[derive(Debug, Clone, Copy)]
struct TcpInfo;
nix::getsockopt_impl!(
    TcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    RawTcpInfo,
    GetStruct<RawTcpInfo>
);
const _: () = assert!(size_of::<RawTcpInfo>() == 152);

/// The beginning of `struct tcp_info` (linux/tcp.h), as far as Linux 4.6 had it. Not libc's: that grows with the newest
/// kernel, and an older one fills less than was asked for, which nix takes for an error.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawTcpInfo {
    state: u8,
    _bytes: [u8; 7],
    _before_rtt: [u32; 15],
    /// Smoothed round trip, microseconds.
    rtt: u32,
    _after_rtt: [u32; 8],
    _rates_and_bytes: [u64; 4],
    _segments: [u32; 2],
    _not_sent: u32,
    /// The shortest round trip of the last minutes, microseconds.
    min_rtt: u32,
}

impl RawTcpInfo {
    /// The smoothed round trip, but at most twice the shortest one: a client that only listens on its
    /// control connection acknowledges our replies up to 40 ms late, and these waits are in the smoothed one. Measured
    /// over loopback: 20 ms smoothed, 0.01 ms shortest.
    fn round_trip(&self) -> Duration {
        let smoothed = Duration::from_micros(self.rtt.into());
        let shortest = Duration::from_micros(self.min_rtt.into());
        smoothed.min(shortest * 2)
    }
}

/// Why no line came.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The peer closed or reset the connection.
    #[error("control connection lost")]
    Lost,
    /// A line beyond the limit.
    #[error(transparent)]
    LineTooLong(#[from] LineTooLong),
    /// The peer does not take its replies.
    #[error("replies are not read by the client")]
    WriteDeadline,
}

/// What lies unread on a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// Nothing; the connection is open.
    Nothing,
    /// Bytes.
    Data,
    /// The end, or an error.
    Closed,
}

/// The control connection.
#[derive(Debug)]
pub(super) struct Control {
    stream: TcpStream,
    codec: LineCodec,
    buffer: BytesMut,
    write_deadline: Duration,
    /// Where the client is.
    pub(super) peer: SocketAddr,
    /// Which address it has reached: ours, or that of the load balancer before us.
    pub(super) local: SocketAddr,
    /// Our own address.
    own: IpAddr,
}

impl Control {
    /// Takes over an accepted connection: urgent data inline (ABOR comes behind a Telnet Synch), keepalive on.
    pub(super) fn new(stream: TcpStream, ends: Ends, write_deadline: Duration) -> io::Result<Self> {
        let own = stream.local_addr()?.ip().to_canonical();
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
            stream,
            codec: LineCodec::default(),
            buffer: BytesMut::new(),
            write_deadline,
            peer: canonical(ends.peer),
            local: canonical(ends.local),
            own,
        })
    }

    /// The address of ours from which a data connection is made to `target`. Behind a load balancer it need not be of the
    /// protocol that the client speaks; then the system chooses.
    pub(super) fn source_for(&self, target: IpAddr) -> IpAddr {
        match target {
            _ if self.own.is_ipv4() == target.is_ipv4() => self.own,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
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
            self.stream
                .readable()
                .await
                .map_err(|_| ControlError::Lost)?;
            self.buffer.reserve(READ_SIZE);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(ControlError::Lost),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(ControlError::Lost),
            }
        }
    }

    /// Sends a reply.
    pub(super) async fn reply(&mut self, reply: &Reply) -> Result<(), ControlError> {
        self.send(&reply.to_bytes()).await
    }

    /// Sends bytes of a reply that is too long to be held at once.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        match tokio::time::timeout(self.write_deadline, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(ControlError::Lost),
            Err(_) => Err(ControlError::WriteDeadline),
        }
    }

    /// Closes our side, so that the last reply is not destroyed by unread input.
    pub(super) async fn close(&mut self) {
        if tokio::time::timeout(self.write_deadline, self.stream.shutdown())
            .await
            .is_ok()
        {
            // What the client still sends would make the kernel answer with a reset, which can overtake the reply.
            let mut sink = [0u8; 1024];
            let drained = async {
                for _ in 0..64 {
                    self.stream.readable().await?;
                    match self.stream.try_read(&mut sink) {
                        Ok(0) => break,
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => break,
                        _ => {}
                    }
                }
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), drained).await;
        }
    }

    /// The connection's round trip, as TCP knows it; `None` where it does not say.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        getsockopt(&self.stream, TcpInfo)
            .ok()
            .map(|info| info.round_trip())
    }

    /// What lies unread, asked of the kernel itself: the runtime may not have seen it yet.
    pub(super) fn pending(&self) -> Pending {
        if !self.buffer.is_empty() && self.buffer.contains(&b'\n') {
            return Pending::Data;
        }
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Ok(0) => Pending::Closed,
            Ok(_) => Pending::Data,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.state(),
            Err(_) => Pending::Closed,
        }
    }

    /// Whether the peer's side is still open, whatever lies unread before its end.
    pub(super) fn established(&self) -> bool {
        self.state() == Pending::Nothing
    }

    fn state(&self) -> Pending {
        match getsockopt(&self.stream, TcpInfo) {
            Ok(info) if info.state != TCP_ESTABLISHED => Pending::Closed,
            Ok(_) => Pending::Nothing,
            Err(_) => Pending::Closed,
        }
    }
}

/// An IPv4 client on a dual-stack socket is an IPv4 client; an IPv6 one keeps its scope.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
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
