//! Listening sockets, and addresses as the rest of the server sees them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel queues until the server accepts them, for each socket.
const BACKLOG: i32 = 1024;

/// A listening socket; `options` sets what its connections inherit. An IPv6 one accepts only IPv6,
/// so that `0.0.0.0` and `[::]` can coexist.
///
/// # Errors
/// The address can't be bound, or an option can't be set.
pub fn listen(
    address: SocketAddr,
    options: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    options(&socket)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Turns the address of an IPv4 client on a dual-stack socket into an IPv4 address. An IPv6 address
/// keeps its scope.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}
