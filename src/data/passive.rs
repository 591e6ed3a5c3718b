//! Passive mode: shared listeners; a pair of port and peer address belongs to one waiting PASV.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::DataError;
use crate::config::PassivePorts;

/// The passive listeners on one local address.
#[derive(Debug)]
pub struct PassivePool {}

/// A pair of port and peer address, held for one session.
#[derive(Debug)]
pub struct Reservation {}

impl PassivePool {
    /// Binds all ports (an error names the port) and starts to accept; ends with `stop`.
    pub async fn bind(address: IpAddr, ports: PassivePorts, stop: CancellationToken) -> io::Result<Arc<PassivePool>> {
        let _ = (address, ports, stop);
        todo!()
    }
    /// A port for a connection from `peer`; waits up to `wait` where all pairs of the peer are taken, then `None`.
    pub async fn reserve(self: &Arc<Self>, peer: IpAddr, wait: Duration) -> Option<Reservation> {
        let _ = (peer, wait);
        todo!()
    }
}

impl Reservation {
    /// The port to tell the client.
    pub fn port(&self) -> u16 {
        todo!()
    }
    /// The client's connection, within `deadline`. Cancel safe.
    pub async fn connection(&mut self, deadline: Duration) -> Result<TcpStream, DataError> {
        let _ = deadline;
        todo!()
    }
}
