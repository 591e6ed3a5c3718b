//! The data connection of the next transfer, as PASV, EPSV, PORT or EPRT has set it up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::data::passive::Reservation;
use crate::data::secure::{DataConnection, DataTls};
use crate::data::{DataError, active};

/// How the next data connection is made.
#[derive(Debug)]
pub(super) enum DataSetup {
    /// Nothing was set up.
    None,
    /// The client will connect.
    Passive {
        /// Its port.
        reservation: Reservation,
        /// When the client got it.
        since: Instant,
        /// Its TLS, under PROT P.
        tls: Option<Arc<DataTls>>,
        /// The connection, if it was accepted before the transfer command so that its handshake can
        /// begin.
        arrived: Option<Result<DataConnection, DataError>>,
    },
    /// The server will connect.
    Active {
        /// To this address of the client.
        target: SocketAddr,
        /// From this one of ours.
        local: IpAddr,
        /// And this port, if it can be bound.
        source_port: u16,
        /// Its TLS, under PROT P.
        tls: Option<Arc<DataTls>>,
    },
}

impl DataSetup {
    /// Waits for the data connection until the deadline. Its handshake may not be done: many
    /// clients begin it after the 150.
    pub(super) async fn open(&mut self, deadline: Duration) -> Result<DataConnection, DataError> {
        match self {
            DataSetup::None => Err(DataError::Timeout),
            DataSetup::Passive {
                reservation,
                tls,
                arrived,
                ..
            } => {
                let arrival = match arrived.take() {
                    Some(arrived) => arrived?,
                    None => {
                        DataConnection::new(reservation.connection(deadline).await?, tls.as_ref())
                    }
                };
                arrival.checked()
            }
            DataSetup::Active {
                target,
                local,
                source_port,
                tls,
            } => {
                let tcp = active::connect(*local, *target, *source_port, deadline).await?;
                Ok(DataConnection::new(tcp, tls.as_ref()))
            }
        }
    }

    /// Whether [`progress`](Self::progress) has something to do.
    pub(super) fn is_in_progress(&self) -> bool {
        match self {
            DataSetup::Passive {
                tls: Some(_),
                arrived,
                ..
            } => match arrived {
                None => true,
                Some(Ok(arrival)) => arrival.is_pending(),
                Some(Err(_)) => false,
            },
            _ => false,
        }
    }

    /// Accepts a passive connection and runs its handshake: some clients finish it before they send
    /// the transfer command. Returns when the handshake is done. Cancel safe; the caller sets the
    /// deadline.
    pub(super) async fn progress(&mut self) {
        if let DataSetup::Passive {
            reservation,
            tls: Some(tls),
            arrived,
            ..
        } = self
        {
            let arrival = match arrived {
                Some(arrival) => arrival,
                None => {
                    let arrival = reservation.arrival().await;
                    arrived.insert(arrival.map(|tcp| DataConnection::new(tcp, Some(tls))))
                }
            };
            if let Ok(arrival) = arrival {
                arrival.progress().await;
            }
        }
    }
}
