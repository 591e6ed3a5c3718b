//! Binds the passive ports. A port that another program uses is bound when it is free.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;

use crate::data::options::PassivePorts;

/// Binds the ports of `busy`, each as soon as it is free. Tries every `retry`.
pub(super) async fn take_when_free(
    address: IpAddr,
    mut busy: Vec<u16>,
    retry: Duration,
    bound: impl Fn(u16, TcpListener),
) {
    while !busy.is_empty() {
        tokio::time::sleep(retry).await;
        busy.retain(|&port| match listen(address, port) {
            Ok(listener) => {
                tracing::info!(%address, port, "a passive port is free now, it is used");
                bound(port, listener);
                false
            }
            Err(error) => {
                tracing::debug!(%address, port, %error, "a passive port is still in use");
                true
            }
        });
    }
}

/// The ports to bind; 0 is a port that the system selects.
pub(super) fn wanted_ports(ports: PassivePorts) -> io::Result<Vec<u16>> {
    let wanted: Vec<u16> = match ports {
        PassivePorts::Range(first, last) => (first..=last).collect(),
        PassivePorts::Ephemeral(count) => vec![0; usize::from(count)],
    };
    let zero = matches!(ports, PassivePorts::Range(0, _));
    if wanted.is_empty() || zero {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no passive ports",
        ));
    }
    Ok(wanted)
}

pub(super) fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address.to_canonical(), port);
    crate::net::listen(address, |socket| {
        if port != 0 {
            // Data connections of the previous run are in TIME_WAIT on these ports.
            socket.set_reuse_address(true)?;
        }
        // Accepted sockets inherit it, which saves a call for each of them.
        socket.set_tcp_keepalive(&crate::data::keepalive())
    })
}

/// Adds the port to the text of `error`.
pub(super) fn named(port: u16, error: &io::Error) -> io::Error {
    let which = match port {
        0 => "a passive port chosen by the system".to_owned(),
        port => format!("passive port {port}"),
    };
    io::Error::new(error.kind(), format!("{which}: {error}"))
}
