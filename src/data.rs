//! The data connection: passive ports, active connects, ASCII conversion.
//!
//! A session gets its one data connection either from a [`passive::Reservation`] (the client
//! connects to us) or from [`active::connect`] (we connect to the client). Under PROT P,
//! [`secure::DataConnection`] secures it by TLS; the result is a [`stream::DataStream`]. On a mount
//! that converts, the bytes of an upload go through [`ascii::FromWire`] and those of a download
//! through [`ascii::ToWire`]. [`rate::RateLimiter`] holds the transfers of a user to a rate. At the end the stream is either finished (and left to
//! [`linger::Lingering`]) or reset. [`advertise::Advertise`] selects the address of a PASV reply.

pub mod active;
pub mod advertise;
pub mod ascii;
pub mod linger;
pub mod options;
pub mod passive;
pub mod rate;
pub mod secure;
pub mod stream;
pub(crate) mod tcp;

use std::time::Duration;

use socket2::TcpKeepalive;

/// Why a transfer has no data connection.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The client did not connect in time (passive mode), or did not answer in time (active mode).
    #[error("no data connection within the time")]
    Timeout,
    /// The client's port, or the network, refused the connection.
    #[error("can't connect to the client: {0}")]
    Connect(std::io::Error),
    /// The TLS handshake failed, or took too long.
    #[error("the TLS handshake of the data connection failed: {0}")]
    Tls(std::io::Error),
    /// It does not resume the TLS session of the control connection, although it must.
    #[error("the data connection must resume the TLS session of the control connection")]
    NotReused,
    /// Its client certificate differs from that of the control connection.
    #[error("the client certificate of the data connection is not that of the control connection")]
    OtherCertificate,
}

/// Keepalive of data sockets. The server notices after two minutes that a peer has vanished, even
/// while it waits for S3, and NAT tables on the path keep the connection.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}
