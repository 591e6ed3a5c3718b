//! PASV, EPSV, PORT, EPRT (RFC 959, 2428): what the next transfer's data connection will be.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::data::active::check_port_target;
use ftp_proto::Reply;
use ftp_proto::command::EpsvArgument;

use crate::session::control::ControlError;
use crate::session::data_setup::DataSetup;
use crate::session::state::{Flow, Handled, Session};

/// How long a PASV waits for a port where all are taken for this client.
const PORT_WAIT: Duration = Duration::from_secs(5);

impl Session {
    pub(in crate::session) async fn pasv(&mut self) -> Handled {
        self.refuse_after_epsv_all()?;
        let local = self.control.local.ip();
        if local.is_ipv6() {
            return Err(Reply::new(425, "PASV is for IPv4 only, use EPSV"));
        }
        let address = self
            .context
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
            source_port: self.context.options.active.source_port,
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
