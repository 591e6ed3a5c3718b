//! What the next transfer's data connection will be, as PASV, EPSV, PORT or EPRT has set it up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::data::passive::Reservation;
use crate::data::secure::{DataConnection, DataTls};
use crate::data::{DataError, active};

/// What the client has asked for.
#[derive(Debug)]
pub(super) enum DataSetup {
    /// Nothing yet.
    None,
    /// The client will connect.
    Passive {
        /// Its port.
        reservation: Reservation,
        /// When it was told.
        since: Instant,
        /// How it is secured, under PROT P.
        tls: Option<Arc<DataTls>>,
        /// The connection, where it was taken before the transfer command so that its handshake can go on.
        arrived: Option<Result<DataConnection, DataError>>,
    },
    /// We will connect.
    Active {
        /// To this address of the client.
        target: SocketAddr,
        /// From this one of ours.
        local: IpAddr,
        /// And this port, where it can be bound.
        source_port: u16,
        /// How it is secured, under PROT P.
        tls: Option<Arc<DataTls>>,
    },
}

impl DataSetup {
    /// The data connection, within the deadline. Its handshake may still be on its way: many clients begin it when
    /// they have the 150.
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

    /// Goes on with the handshake of a passive connection, from the moment it is there: some clients finish it before
    /// they send the transfer command. Returns when there is nothing more to do. Cancel safe; the caller owns the
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
