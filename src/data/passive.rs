//! Passive mode: shared listeners; a pair of port and peer address belongs to one waiting PASV.
//!
//! All ports are bound once, at start, so that a few of them serve thousands of sessions: the
//! client's address distinguishes two sessions on one port. A session
//! [reserves](PassivePool::reserve) a port for its client's address, sends it to the client, and
//! asks the [`Reservation`] for the connection when it needs it. One task for each port accepts;
//! the table of pairs (`port_table`) says to which reservation a connection belongs:
//!
//! ```text
//! client ── connect ──▶ listener ─▶ accept task ─▶ PortTable ─▶ Reservation ─▶ session
//!                                        └─ no session waits for it: closed
//! ```
//!
//! Clients connect as soon as they have the reply, long before STOR or RETR: the reservation keeps
//! the connection until the session asks for it.
//!
//! The client of a load balancer's connection is known only when its PROXY header has been read
//! ([`AcceptPolicy`]): a separate task does that, so that a connection without a header delays no
//! other.

mod acceptor;
mod listeners;
mod port_table;
mod strangers;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::data::DataError;
use crate::data::options::PassivePorts;
pub use crate::data::passive::acceptor::AcceptPolicy;
use crate::data::passive::acceptor::{DataAcceptor, accept_all};
use crate::data::passive::listeners::{listen, named, take_when_free, wanted_ports};
pub use crate::data::passive::port_table::PortUsage;
use crate::data::passive::port_table::{PortClaim, PortTable};

/// How long a pair rests after its reservation ended without a connection. A late connection of a
/// client that gives up comes within this time.
const QUARANTINE: Duration = Duration::from_secs(10);
/// The interval between two attempts to bind ports that another program holds.
const RETRY: Duration = Duration::from_secs(5);

/// The passive listeners on one local address.
#[derive(Debug)]
pub struct PassivePool {
    table: Arc<PortTable>,
    tasks: TaskTracker,
    /// Ends the tasks with the pool, even if `stop` is never cancelled.
    _stop: DropGuard,
}

/// A pair of port and peer address, held for one session.
///
/// It is held until the connection has arrived, without a limit: the session drops it when the
/// client sends another PASV or is gone. If it is dropped without a connection, the pair rests for
/// 10 s.
#[derive(Debug)]
pub struct Reservation {
    claim: PortClaim,
    /// A pool lives as long as one of its reservations.
    _pool: Arc<PassivePool>,
}

impl PassivePool {
    /// Binds the ports and starts to accept. `stop` closes the listeners and fails waiting
    /// reservations. An IPv6 `address` accepts IPv6 only. A port of a range that another program
    /// holds (as a listener or as the local port of an outgoing connection) is left out with a
    /// warning, and taken when it is free.
    ///
    /// # Errors
    ///
    /// The system's error for the first port that can't be bound for another reason, or for the
    /// last one if all are in use; no port stays bound then. `InvalidInput` for an empty range or
    /// port 0.
    pub async fn bind(
        address: IpAddr,
        ports: PassivePorts,
        policy: AcceptPolicy,
        stop: CancellationToken,
    ) -> io::Result<Arc<PassivePool>> {
        Self::bind_with(address, ports, policy, stop, QUARANTINE, RETRY)
    }

    /// As [`PassivePool::bind`], with the rest of a pair and the interval between two attempts to
    /// bind. Must be called on a runtime.
    fn bind_with(
        address: IpAddr,
        ports: PassivePorts,
        policy: AcceptPolicy,
        stop: CancellationToken,
        quarantine: Duration,
        retry: Duration,
    ) -> io::Result<Arc<PassivePool>> {
        let mut listeners = Vec::new();
        let mut busy = Vec::new();
        let mut in_use = None;
        for wanted in wanted_ports(ports)? {
            match listen(address, wanted) {
                Ok(listener) => listeners.push((listener.local_addr()?.port(), listener)),
                Err(error) if wanted != 0 && error.kind() == io::ErrorKind::AddrInUse => {
                    busy.push(wanted);
                    in_use = Some(named(wanted, &error));
                }
                Err(error) => return Err(named(wanted, &error)),
            }
        }
        if let Some(error) = in_use {
            if listeners.is_empty() {
                return Err(error);
            }
            tracing::warn!(%address, ports = ?busy,
                "passive ports that another program holds are left out until they are free");
        }
        let bound = listeners.iter().map(|(port, _)| *port).collect();
        let table = Arc::new(PortTable::new(bound, quarantine));
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        let acceptor = Arc::new(DataAcceptor::new(&table, policy, &tasks, &stop));
        let accept = {
            let (tasks, stop) = (tasks.clone(), stop.clone());
            move |port: u16, listener: TcpListener| {
                let (stop, acceptor) = (stop.clone(), Arc::clone(&acceptor));
                tasks.spawn(async move {
                    stop.run_until_cancelled(accept_all(listener, port, &acceptor))
                        .await;
                });
            }
        };
        for (port, listener) in listeners {
            accept(port, listener);
        }
        if !busy.is_empty() {
            let (stop, table) = (stop.clone(), Arc::clone(&table));
            tasks.spawn(async move {
                stop.run_until_cancelled(take_when_free(address, busy, retry, |port, listener| {
                    accept(port, listener);
                    table.add_port(port);
                }))
                .await;
            });
        }
        tasks.spawn({
            let (stop, table) = (stop.clone(), Arc::clone(&table));
            async move {
                stop.run_until_cancelled(table.release_rested()).await;
                table.close();
            }
        });
        tasks.close();
        Ok(Arc::new(PassivePool {
            table,
            tasks,
            _stop: stop.drop_guard(),
        }))
    }

    /// The bound ports in the order of the configuration; if the system selected them, in its
    /// order. Ports that were in use at the start come last, once they are bound.
    pub fn ports(&self) -> Vec<u16> {
        self.table.ports()
    }

    /// How the ports are used now.
    pub fn usage(&self) -> PortUsage {
        self.table.usage()
    }

    /// Returns when `stop` has taken effect: every listener is closed, and no task is left.
    pub async fn closed(&self) {
        self.tasks.wait().await;
    }

    /// Reserves a port for a connection from `peer`. If all pairs of the peer are taken, waits up
    /// to `wait`, and then returns `None`.
    ///
    /// Waiting calls are served in their order. Also `None` when the pool has been stopped.
    pub async fn reserve(self: &Arc<Self>, peer: IpAddr, wait: Duration) -> Option<Reservation> {
        let claim = self.table.claim(peer.to_canonical(), wait).await?;
        Some(Reservation {
            claim,
            _pool: Arc::clone(self),
        })
    }
}

impl Reservation {
    /// The port for the client.
    pub fn port(&self) -> u16 {
        self.claim.port()
    }

    /// Whether the client has connected, even if [`connection`](Self::connection) has not been
    /// called yet.
    pub fn connected(&self) -> bool {
        self.claim.connected()
    }

    /// Waits up to `deadline` for the client's connection. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DataError::Timeout`], after which another call is possible; [`DataError::Connect`] when
    /// the pool has been stopped, or the connection was taken before.
    pub async fn connection(&mut self, deadline: Duration) -> Result<TcpStream, DataError> {
        timeout(deadline, self.arrival())
            .await
            .map_err(|_| DataError::Timeout)?
    }

    /// As [`connection`](Self::connection); the caller owns the deadline.
    ///
    /// # Errors
    ///
    /// [`DataError::Connect`], as there.
    pub async fn arrival(&mut self) -> Result<TcpStream, DataError> {
        self.claim.arrival().await.ok_or_else(|| {
            DataError::Connect(io::Error::new(
                io::ErrorKind::NotConnected,
                "the passive port is no longer open",
            ))
        })
    }
}

#[cfg(test)]
mod tests;
