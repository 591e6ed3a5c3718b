//! The data connection: passive ports, active connects, ASCII conversion.
//!
//! A session gets its one data connection either from a [`passive::Reservation`] (the client
//! connects to us) or from [`active::connect`] (we connect to the client), secures it by TLS where
//! PROT P says so ([`secure::DataConnection`]), and has a [`stream::DataStream`]. From there an upload's bytes go through [`ascii::FromWire`] and a
//! download's through [`ascii::ToWire`] where the mount converts. At the end the stream is either
//! finished (and left to [`linger::Lingering`]) or reset. What a PASV reply tells the client is
//! [`advertise::Advertise`]'s business.

pub mod active;
pub mod advertise;
pub mod ascii;
pub mod linger;
pub mod options;
pub mod passive;
pub mod secure;
pub mod stream;
pub(crate) mod tcp;

use std::time::Duration;

use socket2::TcpKeepalive;

/// Why there is no data connection.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nobody connected, or the connect got no answer, in time.
    #[error("no data connection within the time")]
    Timeout,
    /// The client's port refused, or the network did.
    #[error("can't connect to the client: {0}")]
    Connect(std::io::Error),
    /// The TLS handshake failed, or was not done in time.
    #[error("the TLS handshake of the data connection failed: {0}")]
    Tls(std::io::Error),
    /// It does not resume the control connection's TLS session, as it must.
    #[error("the data connection must resume the TLS session of the control connection")]
    NotReused,
    /// It shows another client certificate than the control connection did.
    #[error("the client certificate of the data connection is not that of the control connection")]
    OtherCertificate,
}

/// Keepalive of data sockets: a peer that vanished while S3 is still at work is found after two
/// minutes, and NAT tables on the way keep the flow.
fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}
