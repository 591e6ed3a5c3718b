//! The kernel's information about a TCP connection (tcp(7), TCP_INFO).

use std::io;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;
use tokio::net::TcpStream;

/// `tcpi_state` of a connection both sides of which are open (linux/tcp_states.h).
const TCP_ESTABLISHED: u8 = 1;
/// `tcpi_state` of a connection that is over: after a reset, or when both sides have ended.
const TCP_CLOSE: u8 = 7;
/// `tcpi_state` of a connection whose peer has sent its FIN while our side is open.
const TCP_CLOSE_WAIT: u8 = 8;

/// The state of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpState(RawTcpInfo);

impl TcpState {
    /// Reads the state of this connection.
    ///
    /// # Errors
    /// The system does not report it.
    pub(crate) fn of(tcp: &TcpStream) -> io::Result<TcpState> {
        Ok(TcpState(getsockopt(tcp, TcpInfo)?))
    }

    /// Whether both sides are open.
    pub(crate) fn is_established(&self) -> bool {
        self.0.state == TCP_ESTABLISHED
    }

    /// Whether the connection is over: a reset has arrived, or both sides have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.state == TCP_CLOSE
    }

    /// Whether the peer's FIN has arrived, even if bytes before it are unread.
    pub(crate) fn peer_has_ended(&self) -> bool {
        self.0.state == TCP_CLOSE_WAIT
    }

    /// Whether the peer's kernel has everything that was sent, including the end if it was sent; or
    /// nothing can reach it any more.
    pub(crate) fn is_delivered(&self) -> bool {
        self.0.state == TCP_CLOSE || (self.0.unacked == 0 && self.0.not_sent == 0)
    }

    /// Bytes that the peer's kernel has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.0.bytes_acked
    }

    /// The smoothed round trip, but at most twice the shortest one: a client that only listens on
    /// its control connection acknowledges our replies up to 40 ms late, and the smoothed value
    /// includes these waits. Measured over loopback: 20 ms smoothed, 0.01 ms shortest.
    pub(crate) fn round_trip(&self) -> Duration {
        let smoothed = Duration::from_micros(self.0.rtt.into());
        let shortest = Duration::from_micros(self.0.min_rtt.into());
        smoothed.min(shortest * 2)
    }
}

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

/// The beginning of `struct tcp_info` (linux/tcp.h), as far as Linux 4.6 has it. The struct of libc
/// is not used: it grows with the newest kernel, and an older one fills less than the size asked
/// for, which nix treats as an error.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct RawTcpInfo {
    state: u8,
    _bytes: [u8; 7],
    _before_unacked: [u32; 4],
    /// Segments that were sent and not acknowledged.
    unacked: u32,
    _before_rtt: [u32; 10],
    /// Smoothed round trip, microseconds.
    rtt: u32,
    _after_rtt: [u32; 8],
    _rates: [u64; 2],
    bytes_acked: u64,
    _bytes_received: u64,
    _segments: [u32; 2],
    /// Bytes that are not sent yet.
    not_sent: u32,
    /// The shortest round trip of the last minutes, microseconds.
    min_rtt: u32,
}
