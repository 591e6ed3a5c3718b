//! TLS on a data connection: from the accepted or connected socket to the stream of a transfer.
//!
//! Clients begin the handshake at different times. Some wait for its end before they send the
//! transfer command (aioftp), some begin it after the 150 (Python's ftplib, curl). So it is driven
//! from the moment that the connection exists ([`DataConnection::progress`]), and a transfer sends
//! its 150 first and then waits for the end of the handshake ([`DataConnection::stream`]).
//!
//! If required, the client proves that the connection is its own by resuming the control
//! connection's TLS session; and a client certificate must be the one of the control connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use crate::tls::socket::{Handshakes, TlsSocket};

use crate::data::DataError;
use crate::data::stream::DataStream;

/// How the data connections of a session are secured.
#[derive(Debug)]
pub struct DataTls {
    /// The settings of their handshakes.
    pub handshakes: Handshakes,
    /// Whether they must resume the control connection's session.
    pub require_reuse: bool,
    /// The client certificate of the control connection; theirs must be the same.
    pub client: Option<CertificateDer<'static>>,
    /// Whether an upload's end may be a mere FIN.
    pub lenient_close: bool,
    /// For a handshake, counted from the 150.
    pub deadline: Duration,
}

/// An open data connection; under TLS its handshake may be in progress.
pub struct DataConnection(ConnectionState);

enum ConnectionState {
    Ready(DataStream),
    Handshake(Box<Handshake>),
    Failed(DataError),
}

struct Handshake {
    accept: Accept<TlsSocket>,
    tls: Arc<DataTls>,
}

impl DataConnection {
    /// Takes a socket, to be secured or not. Sends and reads nothing yet.
    pub fn new(tcp: TcpStream, tls: Option<&Arc<DataTls>>) -> Self {
        DataConnection(match tls {
            None => ConnectionState::Ready(DataStream::new(tcp)),
            Some(tls) => ConnectionState::Handshake(Box::new(Handshake {
                accept: tls.handshakes.accept(tcp),
                tls: Arc::clone(tls),
            })),
        })
    }

    /// Whether its handshake is not done.
    pub fn is_pending(&self) -> bool {
        matches!(self.0, ConnectionState::Handshake(_))
    }

    /// Returns itself, unless its handshake has failed.
    ///
    /// # Errors
    /// Why the handshake has failed.
    pub fn checked(self) -> Result<DataConnection, DataError> {
        match self.0 {
            ConnectionState::Failed(error) => Err(error),
            state => Ok(DataConnection(state)),
        }
    }

    /// Continues the handshake, and returns when it is done or has failed. Cancel safe; the caller
    /// owns the deadline.
    pub async fn progress(&mut self) {
        if let ConnectionState::Handshake(handshake) = &mut self.0 {
            let ended = (&mut handshake.accept).await;
            self.0 = match ended
                .map_err(DataError::Tls)
                .and_then(|tls| handshake.tls.secured(tls))
            {
                Ok(stream) => ConnectionState::Ready(stream),
                Err(error) => ConnectionState::Failed(error),
            };
        }
    }

    /// Waits for the end of the handshake and returns the stream.
    ///
    /// # Errors
    /// It failed, or was not done within its deadline, counted from this call.
    pub async fn stream(mut self) -> Result<DataStream, DataError> {
        if let ConnectionState::Handshake(handshake) = &self.0 {
            let deadline = handshake.tls.deadline;
            timeout(deadline, self.progress())
                .await
                .map_err(|_| DataError::Tls(io::ErrorKind::TimedOut.into()))?;
        }
        match self.0 {
            ConnectionState::Ready(stream) => Ok(stream),
            ConnectionState::Failed(error) => Err(error),
            // Not reached: `progress` leaves this state.
            ConnectionState::Handshake(_) => Err(DataError::Tls(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl std::fmt::Debug for DataConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            ConnectionState::Ready(_) => "DataConnection::Ready",
            ConnectionState::Handshake(_) => "DataConnection::Handshake",
            ConnectionState::Failed(_) => "DataConnection::Failed",
        })
    }
}

impl DataTls {
    /// Returns a connection whose handshake is done, if it belongs to the client of the control
    /// connection.
    fn secured(&self, tls: TlsStream<TlsSocket>) -> Result<DataStream, DataError> {
        let connection = tls.get_ref().1;
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        let refused = if self.require_reuse && !resumed {
            Some(DataError::NotReused)
        } else if shown.is_some_and(|shown| self.client.as_ref() != Some(shown)) {
            Some(DataError::OtherCertificate)
        } else {
            None
        };
        let stream = DataStream::secure(tls, self.lenient_close);
        match refused {
            None => Ok(stream),
            Some(refused) => {
                stream.reset();
                Err(refused)
            }
        }
    }
}
