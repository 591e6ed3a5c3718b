//! TLS on a data connection: from the socket that is there to the stream that a transfer uses.
//!
//! When the handshake begins differs from client to client. Some wait for its end before they send the transfer
//! command (aioftp), some begin it when they have read the 150 (Python's ftplib, curl). So it goes on from the moment
//! that the connection is there ([`DataConnection::progress`]), and a transfer sends its 150 first and waits for the end of
//! the handshake then ([`DataConnection::stream`]).
//!
//! Whose connection it is, is proven by resuming the control connection's session, where that is demanded; and a client
//! certificate must be the one of the control connection.

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
    /// Of them.
    pub handshakes: Handshakes,
    /// Whether they must resume the control connection's session.
    pub require_reuse: bool,
    /// The client certificate of the control connection; theirs must be the same.
    pub client: Option<CertificateDer<'static>>,
    /// Whether an upload's end may be a mere FIN.
    pub lenient_close: bool,
    /// For a handshake, from the 150 on.
    pub deadline: Duration,
}

/// A data connection that is there; under TLS its handshake may still be on its way.
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
    /// Of a socket, to be secured or not. Nothing is sent or read yet.
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

    /// Itself, unless its handshake has failed.
    ///
    /// # Errors
    /// Why it has.
    pub fn checked(self) -> Result<DataConnection, DataError> {
        match self.0 {
            ConnectionState::Failed(error) => Err(error),
            state => Ok(DataConnection(state)),
        }
    }

    /// Goes on with the handshake, and returns when it is done or has failed. Cancel safe; the caller owns the
    /// deadline.
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

    /// The stream, when the handshake is done.
    ///
    /// # Errors
    /// It failed, or was not done within its deadline from now on.
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
            // `progress` has left it.
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
    /// A connection whose handshake is done, where it is the client's of the control connection.
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
