//! PASV, EPSV, PORT, EPRT (RFC 959, 2428): what the next transfer's data connection will be.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::data::DataError;
use crate::data::active::{self, check_port_target};
use crate::data::passive::Reservation;
use crate::data::secure::{Arrival, DataTls};
use ftp_proto::Reply;
use ftp_proto::command::EpsvArgument;

use crate::session::control::ControlError;
use crate::session::transfer::{Failure, Link, Signal};
use crate::session::{Flow, Handled, Session};

/// How long a PASV waits for a port where all are taken for this client.
const PORT_WAIT: Duration = Duration::from_secs(5);

/// How long the 150 waits for a passive data connection when all else is ready.
const BEFORE_150: Duration = Duration::from_secs(1);

/// What the client has asked for.
#[derive(Debug)]
pub(in crate::session) enum DataSetup {
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
        arrived: Option<Result<Arrival, DataError>>,
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
    pub(in crate::session) async fn open(
        &mut self,
        deadline: Duration,
    ) -> Result<Arrival, DataError> {
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
                    None => Arrival::new(reservation.connection(deadline).await?, tls.as_ref()),
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
                Ok(Arrival::new(tcp, tls.as_ref()))
            }
        }
    }

    /// The data connection and `others`, all else that a transfer needs, in parallel. Then the 150 goes out, worded by
    /// what was found. A passive client may wait for the 150 before it connects: once all else is ready it is waited for
    /// [`BEFORE_150`] at most, then the 150 goes first. A refusal always comes without a 150.
    pub(in crate::session) async fn open_with<T>(
        &mut self,
        deadline: Duration,
        link: &Link,
        others: impl Future<Output = Result<T, Failure>>,
        opening: impl FnOnce(&T) -> String,
    ) -> Result<(T, Arrival), Failure> {
        let early = Instant::now() + BEFORE_150;
        let connects_later = matches!(self, DataSetup::Passive { .. }) && deadline > BEFORE_150;
        let begin = |found: &T| link.signal(Signal::Preliminary(Reply::new(150, opening(found))));
        let mut connecting = pin!(self.open(deadline));
        let mut others = pin!(others);
        let mut arrived = None;
        let found = loop {
            tokio::select! {
                biased;
                found = &mut others => break found?,
                arrival = &mut connecting, if arrived.is_none() => arrived = Some(arrival?),
            }
        };
        let arrival = match arrived {
            Some(arrival) => arrival,
            None if connects_later => match timeout_at(early, &mut connecting).await {
                Ok(arrival) => arrival?,
                Err(_) => {
                    begin(&found);
                    return Ok((found, connecting.await?));
                }
            },
            None => connecting.await?,
        };
        begin(&found);
        Ok((found, arrival))
    }

    /// Whether [`progress`](Self::progress) has something to do.
    pub(in crate::session) fn is_in_progress(&self) -> bool {
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
    pub(in crate::session) async fn progress(&mut self) {
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
                    arrived.insert(arrival.map(|tcp| Arrival::new(tcp, Some(tls))))
                }
            };
            if let Ok(arrival) = arrival {
                arrival.progress().await;
            }
        }
    }
}

impl Session {
    pub(in crate::session) async fn pasv(&mut self) -> Handled {
        self.refuse_after_epsv_all()?;
        let local = self.control.local.ip();
        if local.is_ipv6() {
            return Err(Reply::new(425, "PASV is for IPv4 only, use EPSV"));
        }
        let address = self
            .gateway
            .advertise
            .ipv4(self.control.peer.ip(), local)
            .await
            .map_err(|error| {
                tracing::error!(%error, "no address to tell in a PASV reply");
                Reply::new(425, "No address for passive mode, use EPSV")
            })?;
        let port = self.reserve_port().await?;
        let [a, b, c, d] = address.octets();
        Ok(Reply::new(
            227,
            format!(
                "Entering Passive Mode ({a},{b},{c},{d},{},{})",
                port >> 8,
                port & 0xff
            ),
        ))
    }

    pub(in crate::session) async fn epsv(&mut self, argument: EpsvArgument) -> Handled {
        let v6 = self.control.local.ip().is_ipv6();
        match argument {
            EpsvArgument::All => {
                self.epsv_all = true;
                return Ok(Reply::new(200, "Only EPSV from now on"));
            }
            EpsvArgument::V4 if v6 => {
                return Err(Reply::new(
                    522,
                    "Network protocol not supported here, use (2)",
                ));
            }
            EpsvArgument::V6 if !v6 => {
                return Err(Reply::new(
                    522,
                    "Network protocol not supported here, use (1)",
                ));
            }
            _ => {}
        }
        let port = self.reserve_port().await?;
        Ok(Reply::new(
            229,
            format!("Entering Extended Passive Mode (|||{port}|)"),
        ))
    }

    pub(in crate::session) fn port(&mut self, target: SocketAddr, extended: bool) -> Handled {
        self.refuse_after_epsv_all()?;
        let (peer, local) = (self.control.peer.ip(), self.control.local.ip());
        if target.is_ipv4() != local.is_ipv4() {
            let protocol = if local.is_ipv4() { 1 } else { 2 };
            let code = if extended { 522 } else { 501 };
            return Err(Reply::new(
                code,
                format!("Network protocol not supported here, use ({protocol})"),
            ));
        }
        if let Err(refused) = check_port_target(peer, target) {
            tracing::warn!(%peer, %target, "data connection to a foreign address or a low port refused");
            return Err(Reply::new(504, refused.to_string()));
        }
        self.data = DataSetup::Active {
            target: in_scope_of(self.control.peer, target),
            local: self.control.source_for(target.ip()),
            source_port: self.gateway.config.active.source_port,
            tls: self.data_tls(),
        };
        Ok(Reply::new(200, "Will connect to you"))
    }

    /// Takes what was set up; 425 where nothing was.
    pub(in crate::session) fn take_data(&mut self) -> Result<DataSetup, Reply> {
        self.check_data_protection()?;
        match std::mem::replace(&mut self.data, DataSetup::None) {
            DataSetup::None => Err(Reply::new(425, "Use EPSV, PASV, EPRT or PORT first")),
            setup => Ok(setup),
        }
    }

    /// Answers a transfer that is refused before it begins. A client that has connected for it must not wait for us to
    /// read; a port nobody has connected to stays his, or a client that probes for files would use up all of them.
    pub(in crate::session) async fn refuse_transfer(
        &mut self,
        reply: &Reply,
    ) -> Result<Flow, ControlError> {
        self.drop_connected_data();
        self.control.reply(reply).await?;
        Ok(Flow::Continue)
    }

    /// Keeps only a passive port that nobody has connected to.
    pub(in crate::session) fn drop_connected_data(&mut self) {
        if self.data_expires().is_none() {
            self.data = DataSetup::None;
        }
    }

    /// When a passive port that nobody has connected to is given back; `None` where there is none.
    pub(in crate::session) fn data_expires(&self) -> Option<Instant> {
        match &self.data {
            DataSetup::Passive {
                reservation, since, ..
            } if !reservation.connected() => {
                Some(*since + self.gateway.config.timeouts.data_connect)
            }
            _ => None,
        }
    }

    /// The port of the next passive connection. A PASV after a PASV nobody connected to gets the same one again.
    async fn reserve_port(&mut self) -> Result<u16, Reply> {
        if let DataSetup::Passive {
            reservation, since, ..
        } = &mut self.data
            && !reservation.connected()
        {
            *since = Instant::now();
            return Ok(reservation.port());
        }
        self.data = DataSetup::None;
        let reservation = self
            .listener
            .passive
            .reserve(self.control.peer.ip(), PORT_WAIT)
            .await
            .ok_or_else(|| {
                Reply::new(
                    425,
                    "All passive ports are taken for your address, try again",
                )
            })?;
        let port = reservation.port();
        self.data = DataSetup::Passive {
            reservation,
            since: Instant::now(),
            tls: self.data_tls(),
            arrived: None,
        };
        Ok(port)
    }

    /// RFC 2428, 4: after EPSV ALL every other way is refused.
    fn refuse_after_epsv_all(&self) -> Result<(), Reply> {
        if self.epsv_all {
            Err(Reply::new(503, "Refused after EPSV ALL, use EPSV"))
        } else {
            Ok(())
        }
    }
}

/// A link-local IPv6 address means nothing without its interface, which EPRT can't tell: it is the control
/// connection's.
fn in_scope_of(peer: SocketAddr, mut target: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(target), SocketAddr::V6(peer)) = (&mut target, peer)
        && target.ip().is_unicast_link_local()
    {
        target.set_scope_id(peer.scope_id());
    }
    target
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_link_local_target_is_on_the_interface_of_the_control_connection() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (peer, target, expected) in [
            ("[fe80::1%3]:40000", "[fe80::1]:5000", "[fe80::1%3]:5000"),
            (
                "[2001:db8::1]:40000",
                "[2001:db8::1]:5000",
                "[2001:db8::1]:5000",
            ),
            ("192.0.2.1:40000", "192.0.2.1:5000", "192.0.2.1:5000"),
        ] {
            assert_eq!(
                in_scope_of(address(peer), address(target)),
                address(expected)
            );
        }
    }
}
