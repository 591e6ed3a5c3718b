//! Active mode: an outgoing connection to the client.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

use super::DataError;

/// Connects to `peer` from `local` and, where it can be bound, `source_port`; else from any port.
pub async fn connect(local: IpAddr, peer: SocketAddr, source_port: u16, deadline: Duration) -> Result<TcpStream, DataError> {
    let _ = (local, peer, source_port, deadline);
    todo!()
}
