//! Active mode: an outgoing connection to the client.
//!
//! A session checks the target of PORT or EPRT with [`check_port_target`] and keeps it; the
//! transfer command then [`connect`]s. The source port serves old packet filters (RFC 959 asks for
//! port 20). If it is not available, another port is used, so that the transfer does not fail.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::data::DataError;
use crate::net::canonical;

/// The lowest port that PORT and EPRT may name: below it are services to which a server must not be
/// made to connect (RFC 2577 section 3).
const LOWEST_PORT: u16 = 1024;

/// Why PORT or EPRT is refused, before any packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActiveRefused {
    /// The address is not the one the control connection comes from (the bounce attack).
    #[error("data connections go to your own address only")]
    OtherHost,
    /// The port belongs to a well-known service.
    #[error("data connections go to ports of {LOWEST_PORT} and up only, not {0}")]
    LowPort(u16),
}

/// Checks whether a client at `control_peer` may request data connections to `target`: only to its
/// own address, ports 1024 and up (RFC 2577). An IPv4-mapped IPv6 address counts as the IPv4
/// address.
pub fn check_port_target(control_peer: IpAddr, target: SocketAddr) -> Result<(), ActiveRefused> {
    if target.ip().to_canonical() != control_peer.to_canonical() {
        return Err(ActiveRefused::OtherHost);
    }
    if target.port() < LOWEST_PORT {
        return Err(ActiveRefused::LowPort(target.port()));
    }
    Ok(())
}

/// Connects to `peer` from `local` and, if it can be bound, `source_port`; else from any port.
///
/// All attempts together take at most `deadline`. A link-local IPv6 `peer` needs its scope id,
/// which EPRT does not carry: the caller copies it from the control connection.
///
/// # Errors
///
/// [`DataError::Timeout`] if there was no answer, [`DataError::Connect`] if the client or the
/// network refused.
pub async fn connect(
    local: IpAddr,
    peer: SocketAddr,
    source_port: u16,
    deadline: Duration,
) -> Result<TcpStream, DataError> {
    let local = local.to_canonical();
    let peer = canonical(peer);
    match timeout(deadline, connect_by_preference(local, peer, source_port)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Err(DataError::Timeout),
        Ok(Err(error)) => Err(DataError::Connect(error)),
        Err(_) => Err(DataError::Timeout),
    }
}

/// From `source_port` if it is available, else from any.
async fn connect_by_preference(
    local: IpAddr,
    peer: SocketAddr,
    source_port: u16,
) -> io::Result<TcpStream> {
    if source_port != 0 {
        match connect_from(local, peer, source_port).await {
            Err(error) if is_about_source_port(&error) => {
                tracing::debug!(source_port, %peer, %error, "source port not to be had, taking any");
            }
            settled => return settled,
        }
    }
    connect_from(local, peer, 0).await
}

async fn connect_from(local: IpAddr, peer: SocketAddr, port: u16) -> io::Result<TcpStream> {
    let socket = match local {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if port != 0 {
        // Many data connections share the one source port, each to another peer.
        socket.set_reuseaddr(true)?;
    }
    SockRef::from(&socket).set_tcp_keepalive(&super::keepalive())?;
    socket.bind(bind_address(local, peer, port))?;
    let stream = socket.connect(peer).await?;
    // The system may assign a port of this host without a listener as source: TCP then connects the
    // socket to itself.
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// `local` with `port`; link-local addresses are bound in the peer's scope.
fn bind_address(local: IpAddr, peer: SocketAddr, port: u16) -> SocketAddr {
    let mut address = SocketAddr::new(local, port);
    if let (SocketAddr::V6(own), SocketAddr::V6(theirs)) = (&mut address, peer)
        && own.ip().is_unicast_link_local()
    {
        own.set_scope_id(theirs.scope_id());
    }
    address
}

/// Whether another source port may help: no privilege for this one, another user's port, or the
/// same pair of addresses and ports is connected or in TIME_WAIT.
fn is_about_source_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::AddrInUse
            | io::ErrorKind::AddrNotAvailable
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    async fn client() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// A port without a listener that only sockets with `SO_REUSEADDR` get while the socket is
    /// held.
    fn held_port() -> (TcpSocket, u16) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::new(LOOPBACK, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, port)
    }

    #[test]
    fn only_the_peers_own_high_ports_are_targets() {
        let check = |peer: &str, target: &str| {
            check_port_target(peer.parse().unwrap(), target.parse().unwrap())
        };
        assert_eq!(check("192.0.2.1", "192.0.2.1:1024"), Ok(()));
        assert_eq!(check("192.0.2.1", "[::ffff:192.0.2.1]:65535"), Ok(()));
        assert_eq!(check("::ffff:192.0.2.1", "192.0.2.1:5000"), Ok(()));
        assert_eq!(check("2001:db8::1", "[2001:db8::1]:5000"), Ok(()));
        for other in [
            "192.0.2.2:5000",
            "[2001:db8::1]:5000",
            "0.0.0.0:5000",
            "192.0.2.2:22",
        ] {
            assert_eq!(
                check("192.0.2.1", other),
                Err(ActiveRefused::OtherHost),
                "{other}"
            );
        }
        for port in [0, 20, 22, 25, 1023] {
            let target = format!("192.0.2.1:{port}");
            assert_eq!(
                check("192.0.2.1", &target),
                Err(ActiveRefused::LowPort(port))
            );
        }
    }

    #[tokio::test]
    async fn connects_from_the_source_port() {
        let (listener, peer) = client().await;
        let (_holder, source) = held_port();
        let stream = connect(LOOPBACK, peer, source, DEADLINE).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from, SocketAddr::new(LOOPBACK, source));
        assert_eq!(stream.peer_addr().unwrap(), peer);

        // The source port serves another client at the same time.
        let (other, other_peer) = client().await;
        let _second = connect(LOOPBACK, other_peer, source, DEADLINE)
            .await
            .unwrap();
        assert_eq!(other.accept().await.unwrap().1.port(), source);

        // The same pair of addresses is taken: any other port.
        let _third = connect(LOOPBACK, peer, source, DEADLINE).await.unwrap();
        assert_ne!(listener.accept().await.unwrap().1.port(), source);
    }

    #[tokio::test]
    async fn a_source_port_of_another_is_given_up() {
        let (listener, peer) = client().await;
        let (_holder, taken) = client().await;
        let _stream = connect(LOOPBACK, peer, taken.port(), DEADLINE)
            .await
            .unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip(), LOOPBACK);
        assert_ne!(from.port(), taken.port());
    }

    #[tokio::test]
    async fn mapped_addresses_are_ipv4() {
        let (listener, peer) = client().await;
        let mapped: IpAddr = "::ffff:127.0.0.1".parse().unwrap();
        let target = SocketAddr::new(mapped, peer.port());
        let _stream = connect(mapped, target, 0, DEADLINE).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip(), LOOPBACK);
    }

    #[tokio::test]
    async fn a_refused_connect_is_reported() {
        let (_holder, port) = held_port();
        let peer = SocketAddr::new(LOOPBACK, port);
        // From the target's own port the socket would connect to itself.
        for source in [0, peer.port()] {
            match connect(LOOPBACK, peer, source, DEADLINE).await {
                Err(DataError::Connect(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn no_answer_is_a_timeout() {
        // A full accept queue drops SYNs: the connect gets no answer.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(LOOPBACK, 0)).unwrap();
        let listener = socket.listen(1).unwrap();
        let peer = listener.local_addr().unwrap();
        let mut held = Vec::new();
        for _ in 0..16 {
            match connect(LOOPBACK, peer, 0, Duration::from_millis(100)).await {
                Ok(stream) => held.push(stream),
                Err(DataError::Timeout) => return,
                Err(other) => panic!("{other:?}"),
            }
        }
        panic!("the queue took {} connections", held.len());
    }
}
