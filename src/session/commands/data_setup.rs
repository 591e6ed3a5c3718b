//! PASV, EPSV, PORT, EPRT (RFC 959, 2428): what the next transfer's data connection will be.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::data::active::check_port_target;
use ftp_proto::command::EpsvArgument;

use crate::session::control::ControlError;
use crate::session::data_setup::DataSetup;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::state::{Flow, Session};
use crate::session::transfer::sink::Sink;

/// How long a PASV waits for a port if all are taken for this client.
const PORT_WAIT: Duration = Duration::from_secs(5);

/// The numbers of network protocols in EPSV and EPRT (RFC 2428, 2).
const IPV4: u8 = 1;
const IPV6: u8 = 2;

impl Session {
    pub(in crate::session) async fn pasv(&mut self) -> Handled {
        self.refuse_after_epsv_all()?;
        let local = self.control.local.ip();
        if local.is_ipv6() {
            return Err(Refusal::PasvOverIpv6);
        }
        let address = self
            .context
            .advertise
            .ipv4(self.control.peer.ip(), local)
            .await
            .map_err(|error| {
                tracing::error!(%error, "no address for a PASV reply");
                Refusal::NoPassiveAddress
            })?;
        let port = self.reserve_port().await?;
        Ok(success::passive(address, port))
    }

    pub(in crate::session) async fn epsv(&mut self, argument: EpsvArgument) -> Handled {
        let v6 = self.control.local.ip().is_ipv6();
        match argument {
            EpsvArgument::All => {
                self.epsv_all = true;
                return Ok(success::epsv_only());
            }
            EpsvArgument::V4 if v6 => return Err(Refusal::NetworkProtocol(IPV6)),
            EpsvArgument::V6 if !v6 => return Err(Refusal::NetworkProtocol(IPV4)),
            _ => {}
        }
        let port = self.reserve_port().await?;
        Ok(success::extended_passive(port))
    }

    pub(in crate::session) fn port(&mut self, target: SocketAddr, extended: bool) -> Handled {
        self.refuse_after_epsv_all()?;
        let (peer, local) = (self.control.peer.ip(), self.control.local.ip());
        if target.is_ipv4() != local.is_ipv4() {
            let protocol = if local.is_ipv4() { IPV4 } else { IPV6 };
            return Err(match extended {
                true => Refusal::NetworkProtocol(protocol),
                false => Refusal::PortNetworkProtocol(protocol),
            });
        }
        if let Err(refused) = check_port_target(peer, target) {
            tracing::warn!(%peer, %target, "data connection to a foreign address or a low port refused");
            return Err(refused.into());
        }
        self.data = DataSetup::Active {
            target: in_scope_of(self.control.peer, target),
            local: self.control.source_for(target.ip()),
            source_port: self.context.options.active.source_port,
            tls: self.data_tls(),
        };
        Ok(success::active())
    }

    /// Takes the data connection that was set up; 425 if none was.
    pub(in crate::session) fn take_data(&mut self) -> Result<DataSetup, Refusal> {
        self.check_data_protection()?;
        match std::mem::replace(&mut self.data, DataSetup::None) {
            DataSetup::None => Err(Refusal::NoDataSetup),
            setup => Ok(setup),
        }
    }

    /// [`take_data`](Self::take_data) for a transfer that sends.
    pub(in crate::session) fn take_sink(&mut self) -> Result<Sink, Refusal> {
        let data = self.take_data()?;
        Ok(Sink {
            data,
            budget: self.context.budget.clone(),
            timeouts: self.context.options.timeouts.clone(),
            lingering: self.context.lingering.clone(),
        })
    }

    /// Replies to a transfer that is refused before it begins. A data connection is closed, so that
    /// its client does not wait for the server to read. A port without a connection stays reserved:
    /// a client that probes for files would otherwise use up all ports.
    pub(in crate::session) async fn refuse_transfer(
        &mut self,
        refusal: Refusal,
    ) -> Result<Flow, ControlError> {
        self.drop_connected_data();
        let reply = self.refuse(refusal);
        self.control.reply(&reply).await?;
        Ok(Flow::Continue)
    }

    /// The port of the next passive connection. A second PASV gets the same port if no connection
    /// came to the first.
    async fn reserve_port(&mut self) -> Result<u16, Refusal> {
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
            .ok_or(Refusal::PassivePortsTaken)?;
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
    fn refuse_after_epsv_all(&self) -> Result<(), Refusal> {
        if self.epsv_all {
            Err(Refusal::AfterEpsvAll)
        } else {
            Ok(())
        }
    }
}

/// A link-local IPv6 address needs an interface, which EPRT cannot name: the control connection's
/// is taken.
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
