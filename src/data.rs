//! The data connection: passive ports, active connects, ASCII conversion.

pub mod active;
pub mod ascii;
pub mod passive;

/// Why there is no data connection.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Nobody connected, or the connect got no answer, in time.
    #[error("no data connection within the time")]
    Timeout,
    /// The client's port refused, or the network did.
    #[error("can't connect to the client: {0}")]
    Connect(std::io::Error),
}
